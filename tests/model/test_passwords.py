import argon2
import pytest

from jobstore.model.passwords import hashed, verify
from tests.cheap import DEAR

PASSWORD = "correct horse"


@pytest.fixture
def _dear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon2, "PasswordHasher", DEAR)


@pytest.mark.usefixtures("_dear")
def test_a_hash_is_as_dear_as_rfc_9106_recommends_where_memory_is_short() -> None:
    kept = hashed(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (verify(kept, PASSWORD), verify(kept, "battery staple")) == (True, False)


def test_a_hash_is_verified_with_its_own_parameters() -> None:
    kept = DEAR(time_cost=2, memory_cost=16, parallelism=2).hash(PASSWORD)
    assert (verify(kept, PASSWORD), verify(kept, "battery staple")) == (True, False)

"""What a message says of itself."""

import pytest

from jobstore.model.message import own_phrase


@pytest.mark.parametrize(
    ("status", "phrase", "kept"),
    [
        (200, "OK", None),
        (200, "Very Well", "Very Well"),
        (200, "", None),
        (799, "Odd", "Odd"),
        (413, "", None),
        # By the Python that reads it, 422 may be called either.
        (422, "Unprocessable Entity", "Unprocessable Entity"),
        (422, "Unprocessable Content", "Unprocessable Content"),
    ],
)
def test_a_reason_phrase_is_kept_unless_every_python_adds_the_same(
    status: int, phrase: str, kept: str | None
) -> None:
    assert own_phrase(status, phrase) == kept

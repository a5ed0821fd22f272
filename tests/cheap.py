"""Passwords that cost next to nothing: by the real parameters, each takes a fifth of a second.

Importing this is enough. A hash has its parameters in it, so verifying one is as cheap. What is
kept of a password in truth is for `tests/model/test_passwords.py`, and for each real process.
"""

from typing import Final

import argon2

DEAR: Final = argon2.PasswordHasher


class _Cheap(argon2.PasswordHasher):
    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)


vars(argon2)["PasswordHasher"] = _Cheap

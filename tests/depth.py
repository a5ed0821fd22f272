"""How far those tests go that could go on for ever; `scripts/test` says what lets them."""

import os
from typing import Final

DEEP: Final = bool(os.environ.get("DEEP"))

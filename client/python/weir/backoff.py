"""How long to wait before the next try."""

from __future__ import annotations

import random
from typing import Optional

FIRST, LONGEST = 0.1, 5.0


class Backoff:
    """Waits that double from 0.1 s to 5 s. Each is drawn from the upper half, so that clients which failed together
    come back apart. What the service asks for with Retry-After is the least."""

    def __init__(self) -> None:
        self._tries = 0

    def next(self, retry_after: Optional[float] = None) -> float:
        most = min(LONGEST, FIRST * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return max(retry_after or 0.0, random.uniform(most / 2, most)) * (1 if not retry_after else random.uniform(1, 1.2))

    def reset(self) -> None:
        self._tries = 0

"""How many submissions one process takes out of the queue before Pipedrive has taken a call of the last one.

With a burst window in force, more slots than the window feeds would hold submissions that only wait, or hand them back to
the ledger one by one. What cannot be delivered yet stays in the queue, in order, for whichever process has room first.
"""

from __future__ import annotations

import threading


class Entrance:
    """`places` None: everybody may enter. Each thread holds one place at the most."""

    def __init__(self, places: int | None = None) -> None:
        self._places = None if places is None else threading.Semaphore(max(1, places))
        self._mine = threading.local()

    def enter(self, seconds: float) -> bool:
        """Waits for a place, at most so long; whether this thread has one now."""
        if self._places is None or getattr(self._mine, "held", False):
            return True
        self._mine.held = self._places.acquire(timeout=seconds)
        return bool(self._mine.held)

    def leave(self) -> None:
        """Makes room for another thread; harmless when this one holds no place."""
        if self._places is not None and getattr(self._mine, "held", False):
            self._mine.held = False
            self._places.release()

"""What wakes the server's main process."""

from __future__ import annotations

import time

LOOK_SECONDS = 0.1


class Wake:
    """Stands in the place of a `threading.Event` that signal handlers set.

    An event's lock cannot be taken twice by one thread, so a second signal that comes while the first one's handler sets it
    holds the process for ever.
    """

    def __init__(self) -> None:
        self._called = False

    def set(self) -> None:
        self._called = True

    def clear(self) -> None:
        self._called = False

    def wait(self) -> None:
        while not self._called:
            time.sleep(LOOK_SECONDS)

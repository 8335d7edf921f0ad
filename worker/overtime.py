"""The limit of a job's time, for a process of many slots."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import ClassVar

from rq.timeouts import BaseDeathPenalty


class Overtime(BaseDeathPenalty):
    """Notes when a job's time is up; `enforce`, called every few seconds, interrupts those that are over it.

    RQ's own limit for threads starts one thread more for each job (`deploy/decisions.md`, with the slots). As there, the job's
    thread raises `exception` at its next Python instruction: what waits for a socket ends by that socket's own limit.
    """

    _until: ClassVar[dict[int, tuple[float, type[BaseException]]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def setup_death_penalty(self) -> None:
        if self._timeout > 0:
            with self._lock:
                self._until[threading.get_ident()] = (time.monotonic() + self._timeout, self._exception)

    def cancel_death_penalty(self) -> None:
        with self._lock:
            self._until.pop(threading.get_ident(), None)

    @classmethod
    def enforce(cls) -> None:
        now = time.monotonic()
        with cls._lock:
            for thread, (until, exception) in list(cls._until.items()):
                if until < now:
                    del cls._until[thread]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(exception))

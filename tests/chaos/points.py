"""Crash points: a process kills itself right before its n-th message leaves or after it arrives.

A message is a write to a socket (Redis, Pipedrive), an SQLite commit, or the answer to a sender;
what comes in is an answer on a socket, or the return of a commit. So each point is the death of a
process at an instant where the outside world differs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
from collections.abc import Callable
from enum import StrEnum
from typing import Any


class Side(StrEnum):
    BEFORE = "before"
    AFTER = "after"


class CrashPoints:
    """Counts messages; the process dies at the `point`-th of `side`, or never if that is None."""

    def __init__(self, side: Side = Side.BEFORE, point: int | None = None) -> None:
        self.side, self.point = side, point
        self.counts = {Side.BEFORE: 0, Side.AFTER: 0}

    def count_sent(self) -> None:
        self._count(Side.BEFORE)

    def count_received(self) -> None:
        self._count(Side.AFTER)

    def _count(self, side: Side) -> None:
        self.counts[side] += 1
        if side is self.side and self.counts[side] == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Count from now on: sockets of threads, asyncio and uvloop, and SQLite's commits."""
        for name in ("send", "sendall"):
            _wrap(socket.socket, name, before=self.count_sent)
        for name in ("recv", "recv_into"):
            _wrap(socket.socket, name, after=self.count_received)
        for name in ("write", "writelines"):
            _wrap(asyncio.StreamWriter, name, before=self.count_sent)
        _wrap(asyncio.StreamReader, "feed_data", before=self.count_received)
        self._wrap_sqlite()

    def _wrap_sqlite(self) -> None:
        points, connect = self, sqlite3.connect

        class Counted(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                if sql != "commit":
                    return super().execute(sql, *arguments)
                points.count_sent()
                done = super().execute(sql, *arguments)
                points.count_received()
                return done

        sqlite3.connect = lambda *arguments, **options: connect(
            *arguments, **options | {"factory": Counted}
        )


def _wrap(
    owner: type,
    name: str,
    before: Callable[[], None] | None = None,
    after: Callable[[], None] | None = None,
) -> None:
    real = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        if before is not None:
            before()
        result = real(*arguments, **options)
        if after is not None:
            after()
        return result

    setattr(owner, name, counted)

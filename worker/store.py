"""Asking Redis: its answer, or `StoreUnavailable`."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import redis
from redis.exceptions import NoPermissionError

from worker.errors import StoreUnavailable

REFUSALS = ("READONLY", "read only", "LOADING", "MISCONF", "OOM", "out of memory", "MASTERDOWN", "NOREPLICAS", "NOPERM", "BUSY ")


def ask(question: Callable[[], Any]) -> Any:
    """What `question` returns. Raises `StoreUnavailable` where Redis refuses it, hangs or is away."""
    try:
        return question()
    except redis.RedisError as error:
        raise unavailable(error) from error


class asking:
    """As `ask`, for everything within a `with`. A class, so that type checkers see that nothing is swallowed."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, redis.RedisError):
            raise unavailable(error) from error


def unavailable(error: redis.RedisError) -> Exception:
    """A Redis error as `StoreUnavailable`; a mistake of ours (a wrong script, a wrong type) stays what it is.

    The client library has classes for some refusals and cuts their code off the text; within a script both differ again.
    """
    by_class = not isinstance(error, redis.ResponseError) or isinstance(
        error, redis.ReadOnlyError | redis.OutOfMemoryError | NoPermissionError | redis.AuthenticationError
    )
    if by_class or any(code in str(error) for code in REFUSALS):
        return StoreUnavailable(f"Redis: {type(error).__name__}")
    return error

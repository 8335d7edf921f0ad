"""The log of calls: the latest in full, all of them in the totals."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec
from msgspec import Struct

MAX_BODY_BYTES = 16_384


class LoggedCall(Struct):
    """One call.

    `at` is in Unix seconds, `status` None until the response is sent. `performed` says whether the
    operation was done, whatever the caller saw of it; `fault` names the effect that hit the call.
    """

    number: int
    at: float
    operation: str | None
    method: str
    path: str
    query: str
    body: Any
    status: int | None = None
    tokens: int = 0
    performed: bool = False
    fault: str | None = None


class CallLog:
    """The latest `max_calls` calls and the sums of all."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self.reset()

    def reset(self) -> None:
        """Forget every call."""
        self.latest: deque[LoggedCall] = deque(maxlen=self._max_calls)
        self.count = 0
        self.tokens = 0
        self.by_operation: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()

    def add(
        self, at: float, operation: str | None, method: str, path: str, query: str, raw: bytes
    ) -> LoggedCall:
        """Log a call that has just arrived; `raw` is its body."""
        self.count += 1
        call = LoggedCall(
            self.count, at, operation, method, path, query, _parse_body(raw, operation)
        )
        self.latest.append(call)
        self.by_operation[operation or "unknown"] += 1
        return call

    def record_performed(self, call: LoggedCall, tokens: int) -> None:
        """Note that the operation was done and what it cost."""
        call.performed = True
        call.tokens += tokens
        self.tokens += tokens

    def record_status(self, call: LoggedCall, status: int) -> None:
        call.status = status
        self.by_status[str(status)] += 1


def _parse_body(raw: bytes, operation: str | None) -> Any:
    """A short JSON body as an object, others as text, cut; None for the token endpoint's form."""
    if not raw or operation == "oauth.token":
        return None
    if len(raw) <= MAX_BODY_BYTES:
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return raw[:MAX_BODY_BYTES].decode("utf-8", "replace")

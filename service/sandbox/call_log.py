"""Every call that came in: the latest in full, all of them in the totals."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec
from msgspec import Struct

LONGEST_BODY = 16_384


class LoggedCall(Struct):
    """One call. `at` is Unix seconds; `status` stays None until it is answered; `fault` names the
    effect that hit it.
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
    """Whether the operation was done, whatever the caller saw of it."""
    fault: str | None = None


class CallLog:
    """The latest calls and the sums over all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.reset()

    def reset(self) -> None:
        """Forgets every call."""
        self.latest: deque[LoggedCall] = deque(maxlen=self._most)
        self.count = 0
        self.tokens = 0
        self.by_operation: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()

    def add(
        self, at: float, operation: str | None, method: str, path: str, query: str, raw: bytes
    ) -> LoggedCall:
        """Notes a call that has just come in."""
        self.count += 1
        call = LoggedCall(self.count, at, operation, method, path, query, _readable(raw, operation))
        self.latest.append(call)
        self.by_operation[operation or "unknown"] += 1
        return call

    def charged(self, call: LoggedCall, tokens: int) -> None:
        """The call was performed and cost this much."""
        call.performed = True
        call.tokens += tokens
        self.tokens += tokens

    def answered(self, call: LoggedCall, status: int) -> None:
        """The call was answered."""
        call.status = status
        self.by_status[str(status)] += 1


def _readable(raw: bytes, operation: str | None) -> Any:
    """The body as JSON where it is short JSON, else its beginning as text; never the form of the
    token endpoint.
    """
    if not raw or operation == "oauth.token":
        return None
    if len(raw) <= LONGEST_BODY:
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return raw[:LONGEST_BODY].decode("utf-8", "replace")

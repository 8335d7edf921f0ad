"""Puts submissions into the store as if they had been received, and ended, at another time."""

from __future__ import annotations

from collections.abc import Iterable

from ulid import ULID

from service.context import ServiceContext
from tests.redis.store import accept_in_any_state
from worker.accept.encoding import encode_submissions
from worker.contract import Cause, Lead, Raw, State, Submission
from worker.store import keys

POSTED = Raw(
    "POST",
    "",
    "application/x-www-form-urlencoded",
    [("user-agent", "Mozilla/5.0")],
    b"email=ada%40example.com",
)


def submission(
    source: str,
    state: State,
    at: float,
    lead: Lead,
    *,
    raw: Raw = POSTED,
    cause: Cause | None = None,
    why: str | None = None,
) -> Submission:
    """One received `at` (Unix seconds)."""
    return Submission(
        id=str(ULID.from_timestamp(at)),
        source=source,
        state=state,
        received_at=at,
        lead=lead,
        raw=raw,
        cause=cause,
        why=why,
    )


def place(
    context: ServiceContext, submissions: Iterable[Submission], took: float = 4.0
) -> list[str]:
    """Each is in its state since `took` seconds after it was received; their ids. None of them is
    queued.
    """
    ids = []
    for each in submissions:
        [(_, packed)] = encode_submissions([each], context.acceptor._cipher)
        accept_in_any_state(context.redis, each.received_at + took, [packed])
        ids.append(each.id)
    return ids


def know(context: ServiceContext, id: str, **facts: str | int) -> None:
    """What a worker would have written down of it: `result`, `attempts`, `lead_id` …"""
    context.redis.hset(keys.submission(id), items=[part for pair in facts.items() for part in pair])

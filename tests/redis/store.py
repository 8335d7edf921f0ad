"""Submissions for the tests of the store."""

from __future__ import annotations

import redis as redis_py
from msgspec import structs
from ulid import ULID

from worker.contract import DuplicateKey, Lead, Precedence, Raw, State, Submission, Utm
from worker.store import scripts


def submission(
    state: State = State.QUEUED,
    *,
    email: str = "ada@example.com",
    key: str | None = None,
    kind: str = "event",
    body: bytes = b"email=ada",
    window: float | None = None,
    source: str = "contact",
    id: str | None = None,
    received_at: float = 1_700_000_000.0,
    precedence: Precedence = Precedence.WEBHOOK,
    campaign: str | None = None,
) -> Submission:
    return Submission(
        id=id or str(ULID()),
        source=source,
        state=state,
        received_at=received_at,
        lead=Lead(name="Ada", email=email, utm=Utm(campaign=campaign)),
        raw=Raw("POST", "", "application/x-www-form-urlencoded", [("accept", "*/*")], body),
        duplicate_key=DuplicateKey(kind, key, body.hex(), window) if key else None,
        precedence=precedence,
    )


def accept_in_any_state(client: redis_py.Redis, now: float, packed: list[bytes]) -> None:
    """Records encoded submissions as if they had come to their state long ago; `now` is Unix
    seconds.

    The accepting script takes only states in which something may arrive, so its check is left out.
    """
    text = scripts.source("ledger/accept").replace("(K.moves[from] or {})[to]", "true")
    client.eval(text, 0, now, scripts.pack({"spooled": False, "evicted": "%s"}), *packed)


def one_request(*emails: str, body: bytes = b"[...]", verified: bool = False) -> list[Submission]:
    """A request with an event for each of these addresses."""
    events = [submission(email=email, body=body) for email in emails]
    return [structs.replace(event, raw_of=events[0].id, verified=verified) for event in events]

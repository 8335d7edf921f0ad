"""What crosses from the service to the worker, and the life of a submission. The worker owns what
it accepts.

Every struct here is stored; a change of shape needs a new tag and a reader for the old one.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct, field

VERSION = 1
"""The shape of a record's content that this code writes, and the newest that it reads.

A newer one is left for a worker that knows it, so that old and new may run side by side. What the
ledger itself goes by (state, times, lease, lines) means the same in every version.
"""


class State(StrEnum):
    """Where a submission is. The words are the same in code, API, console, logs and docs."""

    QUEUED = "queued"
    DELIVERING = "delivering"
    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    DISCARDED = "discarded"
    ERASED = "erased"


WORKING = frozenset({State.QUEUED, State.DELIVERING, State.WAITING})
FINAL = frozenset(State) - WORKING

MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.DELIVERING, State.WAITING, State.DEAD, State.ERASED}),
    State.DELIVERING: frozenset(
        {State.DELIVERED, State.WAITING, State.QUEUED, State.DEAD, State.ERASED, State.IGNORED}
    ),
    State.WAITING: frozenset({State.QUEUED, State.DELIVERING, State.DEAD, State.ERASED}),
    State.DEAD: frozenset({State.QUEUED, State.DISCARDED, State.ERASED}),
    State.QUARANTINED: frozenset({State.QUEUED, State.DISCARDED, State.ERASED}),
    State.DELIVERED: frozenset({State.ERASED}),
    State.IGNORED: frozenset({State.ERASED}),
    State.DISCARDED: frozenset({State.ERASED, State.DEAD, State.QUARANTINED}),
    State.ERASED: frozenset(),
}
"""Every legal move. `discarded` goes back only as the undo of a discard, to where it was."""


class Precedence(IntEnum):
    """Who goes first where many wait; the order itself is decided in
    `worker/ledger/lua/prelude.lua`.
    """

    FORM = 0
    """A person at a form, or in a browser: still there when the call comes soon."""
    WEBHOOK = 1
    BACKFILL = 2
    """What a person replays, and what came late out of a spool: it waited for long, and may wait
    until there is room.
    """


class Result(StrEnum):
    """How a delivered submission ended."""

    CREATED = "created"
    LABELLED = "labelled"


class Utm(Struct, frozen=True, omit_defaults=True):
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    term: str | None = None
    content: str | None = None
    id: str | None = None


class Money(Struct, frozen=True, omit_defaults=True):
    """`amount` is a number where the sender wrote one, else the text; `currency` is ISO 4217 where
    known.
    """

    amount: int | float | str | None = None
    currency: str | None = None


class Lead(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The canonical lead: what a submission says, whatever product it came through.

    Text is NFC without control characters (line feeds in `message` stay); ids are text; `answers`
    holds, by label and in order, everything that was asked and has no field of its own: text, or a
    list of texts.
    """

    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    company: str | None = None
    job_title: str | None = None
    website: str | None = None
    message: str | None = None
    consent: bool | None = None
    value: Money | None = None
    country: str | None = None
    page_url: str | None = None
    referrer: str | None = None
    form_id: str | None = None
    form_name: str | None = None
    utm: Utm = field(default_factory=Utm)
    click_ids: dict[str, str] = field(default_factory=dict)
    event_id: str | None = None
    is_test: bool = False
    occurred_at: str | None = None
    answers: dict[str, str | list[str]] = field(default_factory=dict)

    @property
    def full_name(self) -> str | None:
        """`name`, or first and last name joined."""
        return (
            self.name
            or " ".join(part for part in (self.first_name, self.last_name) if part)
            or None
        )

    @property
    def reachable(self) -> bool:
        """Whether Pipedrive could hold it: an e-mail, a phone, a person's or an organisation's
        name.
        """
        return bool(self.email or self.phone or self.full_name or self.company)


class Raw(Struct, frozen=True, omit_defaults=True):
    """The request as it came, without the secrets that opened the door (they are replaced by
    `[removed]`).
    """

    method: str
    query: str
    content_type: str
    headers: list[tuple[str, str]]
    body: bytes


class DuplicateKey(Struct, frozen=True):
    """What makes two events of one source the same.

    `kind` is `key` (Idempotency-Key), `event` (the adapter's event id) or `content` (hash of the
    body). `value` is a digest, `fingerprint` the digest of the body. `window` (seconds) is set for
    `content` only: the others are remembered until a week after the final state.
    """

    kind: str
    value: str
    fingerprint: str
    window: float | None = None


class Cause(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a submission is dead or waiting. `hint` says what to mend, `setting` the TOML key or the
    Pipedrive setting.
    """

    step: str
    code: str
    detail: str
    field: str | None = None
    status: int | None = None
    setting: str | None = None
    hint: str | None = None


class Submission(Struct, frozen=True, tag="v1", kw_only=True):
    """One event of a source, on its way into the ledger. Made only by the intake."""

    id: str
    source: str
    state: State
    received_at: float
    lead: Lead | None
    raw: Raw
    duplicate_key: DuplicateKey | None = None
    cause: Cause | None = None
    why: str | None = None
    fetch: dict[str, str] | None = None
    """For an event that told ids alone: what `worker.delivery.fetch` needs to read its record.
    Holds nothing personal.
    """
    precedence: Precedence = Precedence.WEBHOOK


class Receipt(Struct, frozen=True):
    """What the ledger says of an accepted submission. For a duplicate, `id` and `state` are the
    first one's.
    """

    id: str
    state: State
    duplicate: bool
    conflict: bool = False
    """True when an Idempotency-Key was used before with another body: nothing was stored."""


class Attempt(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One call, or one decision, of one delivery. `at` in Unix seconds."""

    at: float
    step: str
    outcome: str
    status: int | None = None
    detail: str | None = None
    duration_ms: int | None = None


class Moment(Struct, frozen=True, omit_defaults=True):
    """One change of state. `by` is `intake`, `worker`, `sweeper` or the operator's name."""

    at: float
    state: State
    by: str
    why: str | None = None


Json = dict[str, Any]

"""The contract between service and worker: a submission, its states and their moves.

The worker owns what it accepts. All structs here except `Receipt` are stored: whoever changes their
shape must keep the old one readable.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from msgspec import Struct, field

# The version of a record's content that this code writes, and the newest that it reads. Newer
# records are left for a worker that knows them, so that old and new workers may run side by side.
# The fields that the ledger itself uses (state, times, lease, person queues) mean the same in every
# version.
VERSION = 1


# The id of a submission, in a regular expression: a ULID of 26 characters.
SUBMISSION_ID_PATTERN = "[0-7][0-9A-HJKMNP-TV-Z]{25}"


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


class Retention(NamedTuple):
    """How long content is kept in a final state.

    `key` is the state's name in `LEADLINE_RETENTION`. `default` is a duration, `never`, or the key
    of another state whose duration then applies.
    """

    key: str
    default: str


class StateFacts(NamedTuple):
    """What distinguishes one state. Code asks for these facts rather than for particular states.

    `label` is for people, `color` is one of the console's: good, wait, bad, spam, plain. `moves`
    are the states it may change to. `working` states change by themselves; all others are final.
    `actions` are what a person may do. `arrives`: the intake may record a submission in this state.
    `counted`: such arrivals are also counted under the state's name, not only as accepted.
    `reported_as` is the state that the sender's response names; None means the state itself.
    `eviction_rank`: what strangers sent makes room for newer, the lowest rank and the oldest first;
    None: never.
    """

    label: str
    color: str
    moves: frozenset[State]
    working: bool = False
    actions: frozenset[str] = frozenset()
    arrives: bool = False
    counted: bool = False
    reported_as: State | None = None
    retention: Retention | None = None
    eviction_rank: int | None = None


# Submissions of lower ranks are evicted whole; from this one on their receipts are kept.
RECEIPT_RANK = 2

STATES: dict[State, StateFacts] = {
    State.QUEUED: StateFacts(
        "Queued",
        "wait",
        frozenset({State.DELIVERING, State.WAITING, State.DEAD, State.ERASED}),
        working=True,
        arrives=True,
    ),
    State.DELIVERING: StateFacts(
        "Delivering",
        "wait",
        frozenset(
            {State.DELIVERED, State.WAITING, State.QUEUED, State.DEAD, State.ERASED, State.IGNORED}
        ),
        working=True,
    ),
    State.WAITING: StateFacts(
        "Waiting",
        "wait",
        frozenset({State.QUEUED, State.DELIVERING, State.DEAD, State.ERASED}),
        working=True,
    ),
    State.DELIVERED: StateFacts(
        "Delivered",
        "good",
        frozenset({State.ERASED}),
        retention=Retention("delivered", "30d"),
        eviction_rank=RECEIPT_RANK,
    ),
    State.DEAD: StateFacts(
        "Needs you",
        "bad",
        frozenset({State.QUEUED, State.DISCARDED, State.ERASED}),
        actions=frozenset({"retry", "discard"}),
        arrives=True,
        retention=Retention("dead", "never"),
    ),
    # A spammer must not learn that a submission was held back.
    State.QUARANTINED: StateFacts(
        "Quarantined",
        "spam",
        frozenset({State.QUEUED, State.DISCARDED, State.ERASED}),
        actions=frozenset({"accept", "discard"}),
        arrives=True,
        counted=True,
        reported_as=State.QUEUED,
        retention=Retention("quarantine", "14d"),
        eviction_rank=0,
    ),
    State.IGNORED: StateFacts(
        "Ignored",
        "plain",
        frozenset({State.ERASED}),
        arrives=True,
        counted=True,
        retention=Retention("ignored", "7d"),
        eviction_rank=1,
    ),
    # A discard can only be undone: the submission returns to the state it came from.
    State.DISCARDED: StateFacts(
        "Discarded",
        "plain",
        frozenset({State.ERASED, State.DEAD, State.QUARANTINED}),
        actions=frozenset({"undo"}),
        retention=Retention("discarded", "ignored"),
        eviction_rank=1,
    ),
    State.ERASED: StateFacts("Erased", "plain", frozenset()),
}

WORKING = frozenset(state for state in State if STATES[state].working)
FINAL = frozenset(State) - WORKING

# Every legal move. The scripts refuse all others: `move` in `prelude.lua`.
MOVES = {state: STATES[state].moves for state in State}
ARRIVALS = frozenset(state for state in State if STATES[state].arrives)


def states_for(action: str) -> tuple[State, ...]:
    """The states in which a person may do `action`: retry, accept, discard or undo."""
    return tuple(state for state in State if action in STATES[state].actions)


# The states in which a submission waits for a person to decide.
ACTIONABLE = tuple(state for state in State if STATES[state].actions - {"undo"})


class Precedence(IntEnum):
    """Who goes first when many wait; `due_score` in `prelude.lua` turns it into an order.

    FORM: sent by a person or a browser, and the person may still be there if somebody calls soon.
    BACKFILL: replayed by a person, or handed over late from a spool; it has already waited long and
    may wait until there is room.
    """

    FORM = 0
    WEBHOOK = 1
    BACKFILL = 2


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
    """`amount` is a number if the sender wrote one, else text; `currency` is ISO 4217 if known."""

    amount: int | float | str | None = None
    currency: str | None = None


# Why a lead has no contact, in the words of every message about it. A company's name counts too.
NO_CONTACT_WHY = "no e-mail, phone or name"


class Lead(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The canonical lead: what a submission says, whatever product it came through.

    Text is NFC without control characters (line feeds in `message` stay); ids are text. `answers`
    holds every answer that has no field of its own, by label and in order: a text, or a list.
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
    def has_contact(self) -> bool:
        """Whether it has an e-mail, a phone or any name; Pipedrive needs one of them."""
        return bool(self.email or self.phone or self.full_name or self.company)


class Raw(Struct, frozen=True, omit_defaults=True):
    """The request as received, with the secrets that verified it replaced by `[removed]`."""

    method: str
    query: str
    content_type: str
    headers: list[tuple[str, str]]
    body: bytes


# What is left of a request whose bytes were dropped.
EMPTY_RAW = Raw(method="", query="", content_type="", headers=[], body=b"")


class DuplicateKey(Struct, frozen=True):
    """The key by which two events of one source count as the same.

    `kind` is `key` (Idempotency-Key), `event` (the adapter's event id) or `content` (hash of the
    body). `value` is a digest, `fingerprint` the digest of the body. `window` (seconds) is set for
    `content` only; the others are remembered until a week after the final state.
    """

    kind: str
    value: str
    fingerprint: str
    window: float | None = None


class Cause(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a submission is dead or waiting.

    `hint` says what to do; `setting` is the dotted key in the source file or the environment
    variable to correct.
    """

    step: str
    code: str
    detail: str
    field: str | None = None
    status: int | None = None
    setting: str | None = None
    hint: str | None = None


class Submission(Struct, frozen=True, tag="v1", kw_only=True):
    """One event of a source, on its way into the ledger. Only the intake creates it.

    `fetch` is set for an event that contains only ids: it is what `worker.delivery.fetch` needs to
    read the record, and holds nothing personal. `verified`: its source demands a proof of origin,
    and the request gave it; anybody may have sent the others. `leads_per_hour` is how many of the
    source flow in an hour; those beyond wait in quarantine. None for no limit. `raw_of` is the id
    of the first event of a request with several: they share one raw body. None for a single event.
    `duplicate_of` is the first submission, of one that Redis has already found to be a duplicate.
    """

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
    precedence: Precedence = Precedence.WEBHOOK
    verified: bool = False
    leads_per_hour: int | None = None
    raw_of: str | None = None
    duplicate_of: str | None = None


# Why a submission beyond its source's `leads_per_hour` is in quarantine.
FLOOD = "flood"


class Receipt(Struct, frozen=True):
    """The ledger's receipt for a submission.

    For a duplicate, `id` and `state` are those of the first submission. `conflict`: the
    Idempotency-Key was used before with another body, and nothing was stored. `no_room`: what
    strangers may store is used up, and nothing was stored.
    """

    id: str
    state: State
    duplicate: bool
    conflict: bool = False
    no_room: bool = False


class Attempt(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One call, or one decision, of a delivery. `at` in Unix seconds."""

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

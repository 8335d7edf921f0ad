"""Erasing a person: every submission that holds an e-mail address or a phone number, wherever it is
kept.

    1  mark         what came before it, and is handed over from a spool or fetched later, is erased there and then
    2  spools       what lies in the spools of this machine goes into the ledger, where the mark waits for it
    3  records      each that holds it: content out, state `erased`, in one script; our memory of the person with it
    4  on the way   a create that left before says what it made; that is for a person to remove in Pipedrive
    5  disk         Redis writes its files anew

Each step can be repeated: who asks again after a crash, or after a step that failed, goes on where
it stopped and is told of everything that is still in Pipedrive. What comes later, with another
event, is a new submission and taken as any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct, field

from worker.accept.spool import SPOOL_FOLDER, damaged_spools, spools_holding_before
from worker.contract import Lead, State
from worker.erasure.persistence import FilesKept, rewrite_files
from worker.ledger import Ledger, Record
from worker.ledger.contact_cache import ContactCache
from worker.ledger.identifiers import (
    Identifier,
    cached_person_keys,
    identifiers,
    lead_identifiers,
    normalize,
)
from worker.store import keys

MARK_SECONDS = 90 * 24 * 3600
"""How long a machine that was switched off with a spool may come back and still hear of it."""

# Records read at a time.
BATCH_SIZE = 100

SPOOL_WAIT_SECONDS = 30.0
CALL_WAIT_SECONDS = 25.0
"""How long spools may take to be handed over, and a call to Pipedrive to end."""

WHY = "erased on request"


class UnansweredCreate(Struct, frozen=True):
    """A create that was sent and never answered: what it made, if it did, has the submission's id
    in its `origin_id`.
    """

    id: str
    step: str


class Erasure(Struct, frozen=True, kw_only=True):
    """`erased`: submissions erased now. `persons`, `leads`, `unknown`: what is in Pipedrive, for a
    person to remove there.

    `left` says what could not be erased, each with what to do; empty when nothing is left.
    """

    erased: int
    persons: list[int] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    unanswered: list[UnansweredCreate] = field(default_factory=list, name="unknown")
    left: list[str] = field(default_factory=list)


def erase(
    ledger: Ledger,
    who: Identifier,
    by: str,
    *,
    data_dir: Path | None = None,
    hand_over: Callable[[], object] = lambda: None,
    pause: Callable[[float], object] = time.sleep,
) -> Erasure:
    """Erases every submission of `who` and returns when the bytes are gone from disk. Blocks for
    seconds.

    `data_dir` is where the spools of this machine are; `hand_over` brings those of processes that
    are gone to the ledger. Raises `StoreUnavailable`: ask again. `Erasure.left` must be empty, or
    said to whoever asked.
    """
    who = who[0], normalize(*who)
    mark = _mark(ledger, who, by)
    before = _erased_ids(ledger, mark)
    hand_over()
    left = _await_spools(ledger, data_dir, pause)
    sent, sealed = _erase_records(ledger, who, mark, by)
    _wait_until(lambda: not _any_in_flight(ledger, sent), CALL_WAIT_SECONDS, pause)
    if sealed:
        left.append(
            f"{sealed} records cannot be opened, and may be the person's: list the key they were"
            " sealed under in LEADLINE_ENCRYPTION_KEYS and erase again"
        )
    try:
        left += rewrite_files(ledger.redis, pause=pause)
    except FilesKept as error:
        left.append(str(error))
    after = _erased_ids(ledger, mark)
    return _result(ledger, mark, len(after - before), left)


def find_submissions(ledger: Ledger, who: Identifier) -> list[str]:
    """The ids of the submissions that `erase` would erase."""
    wanted = who[0], normalize(*who)
    return [
        record.id
        for record in _candidates(ledger, wanted)
        if wanted in identifiers(record.id, record.lead, record.raw)
    ]


# -- marks
# --------------------------------------------------------------------------------------------------


def _mark(ledger: Ledger, who: Identifier, by: str) -> str:
    mark = keys.erased(*who)
    ledger.mark_erased(mark, by, MARK_SECONDS)
    return mark


def erased_before(ledger: Ledger, record: Record) -> bool:
    """Whether who asked to be erased did so after this submission came in; it is erased then.

    To be asked right before it is delivered: its lead may have been fetched only after the records
    were looked through.
    """
    if record.lead is None:
        return False
    marks = sorted(keys.erased(*each) for each in lead_identifiers(record.lead))
    return any(
        ledger.erase([record.id], "", WHY, mark=mark, by_mark=True)
        for mark in ledger.find_marks(marks)
    )


def _erased_ids(ledger: Ledger, mark: str) -> set[str]:
    return {
        name.removeprefix("submission:")
        for name in ledger.marked_names(mark)
        if name.startswith("submission:")
    }


# -- records
# --------------------------------------------------------------------------------------------------


def _erase_records(ledger: Ledger, who: Identifier, mark: str, by: str) -> tuple[list[str], int]:
    """Erases the records. Returns those that a worker may have in hand, and how many could not be
    opened.
    """
    sent: list[str] = []
    sealed = 0
    for record in _candidates(ledger, who):
        mine = who in identifiers(record.id, record.lead, record.raw)
        sealed += record.unreadable and not mine
        if mine and ledger.erase(
            [record.id], by, WHY, mark=mark, memories=_cache_entries(who, record.lead)
        ):
            sent += [record.id] * (record.state in (State.QUEUED, State.DELIVERING))
    if who[0] != "id":
        ContactCache(ledger.redis, account=ledger.account).forget_person(*who)
    return sent, sealed


def _cache_entries(who: Identifier, lead: Lead | None) -> list[str]:
    """Our memory of the person; who asks for one submission's erasure is not forgotten with it."""
    return [] if lead is None or who[0] == "id" else cached_person_keys(lead)


def _candidates(ledger: Ledger, who: Identifier) -> Iterator[Record]:
    """The records among which `who` must be looked for."""
    ids = [who[1]] if who[0] == "id" else ledger.each_id()
    for record in ledger.each_record(ids, raw=True, batch_size=BATCH_SIZE):
        if record.state is not State.ERASED:
            yield record


# -- what is on its way, and what is left
# -----------------------------------------------------------------------------------


def _any_in_flight(ledger: Ledger, ids: Sequence[str]) -> bool:
    """Whether a call to Pipedrive may still be answered for one of them."""
    since = ledger.now() - CALL_WAIT_SECONDS
    records = (ledger.get(submission_id) for submission_id in ids)
    return any(
        record.announced and (record.announced_at or 0.0) > since for record in records if record
    )


def _await_spools(
    ledger: Ledger, data_dir: Path | None, pause: Callable[[float], object]
) -> list[str]:
    """Waits until what came before now is out of the spools of this machine, bytes and all. Returns
    what is left.
    """
    if data_dir is None:
        return []
    folder, now = data_dir / SPOOL_FOLDER, ledger.now()
    _wait_until(lambda: not spools_holding_before(folder, now), SPOOL_WAIT_SECONDS, pause)
    left = [
        f"{name}: submissions wait in this spool for their process to hand them over, and are"
        " erased then: once `leadline serve` reaches Redis from this machine"
        for name in spools_holding_before(folder, now)
    ]
    return left + [
        f"{name}: this spool is damaged and cannot be looked through: remove it by hand"
        for name in damaged_spools(folder)
    ]


def _result(ledger: Ledger, mark: str, erased: int, left: list[str]) -> Erasure:
    names = ledger.marked_names(mark)
    persons = {int(name.removeprefix("person:")) for name in names if name.startswith("person:")}
    leads = {name.removeprefix("lead:") for name in names if name.startswith("lead:")}
    unknown = []
    for submission_id in sorted(
        name.removeprefix("submission:") for name in names if name.startswith("submission:")
    ):
        record = ledger.get(submission_id)
        if record is None:
            continue
        persons |= {record.person_id} if record.person_id is not None else set()
        leads |= {record.lead_id} if record.lead_id is not None else set()
        unknown += [UnansweredCreate(record.id, record.announced)] if record.announced else []
    return Erasure(
        erased=erased, persons=sorted(persons), leads=sorted(leads), unanswered=unknown, left=left
    )


def _wait_until(
    condition: Callable[[], bool], seconds: float, pause: Callable[[float], object]
) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause(0.1)
    return True

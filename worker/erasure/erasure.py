"""Erasing a person: every submission that holds their e-mail address or phone number.

    1  mark       what came before and is handed over from a spool or fetched later, is erased then
    2  spools     what lies in this machine's spools goes into the ledger, where the mark awaits it
    3  records    content out, state `erased`, in one script; the cached contact with it
    4  in flight  a create that was sent before records what it made, for a person to remove
    5  disk       Redis rewrites its files

Each step can be repeated: whoever asks again, after a crash or a step that failed, continues where
it stopped and is told of everything that is still in Pipedrive. What comes later, with another
event, is a new submission and accepted as any other.
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

# How long a machine that was switched off with a spool may come back and still find the mark.
MARK_SECONDS = 90 * 24 * 3600

# Records read at a time.
BATCH_SIZE = 100

# How long spools may take to be handed over, and a call to Pipedrive to end.
SPOOL_WAIT_SECONDS = 30.0
CALL_WAIT_SECONDS = 25.0

WHY = "erased on request"


class UnansweredCreate(Struct, frozen=True):
    """A create that was never answered; what it may have made has the submission's `id` in it.

    It stands in the `origin_id` or in the note.
    """

    id: str
    step: str


class Erasure(Struct, frozen=True, kw_only=True):
    """What an erasure did, and what is left to do.

    `erased` counts the submissions erased now. `persons`, `leads` and `unanswered` are in
    Pipedrive, for a person to remove there. `left` says what could not be erased, each with what to
    do; empty when nothing is left.
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
    """Erases every submission of `who`; returns when the bytes are gone from disk.

    Blocks for seconds. `data_dir` holds the spools of this machine; `hand_over` brings those of
    gone processes to the ledger. Raises `StoreUnavailable`: try again. Unless `Erasure.left` is
    empty, whoever asked must be told of it.
    """
    who = who[0], normalize(*who)
    mark = _set_mark(ledger, who, by)
    before = _erased_ids(ledger, mark)
    hand_over()
    left = _await_spools(ledger, data_dir, pause)
    in_flight, unreadable = _erase_records(ledger, who, mark, by)
    _wait_until(lambda: not _any_in_flight(ledger, in_flight), CALL_WAIT_SECONDS, pause)
    if unreadable:
        left.append(
            f"{unreadable} records cannot be decrypted and may be the person's: add the key they"
            " were encrypted under to LEADLINE_ENCRYPTION_KEYS and erase again"
        )
    try:
        left += rewrite_files(ledger.redis, pause=pause)
    except FilesKept as error:
        left.append(str(error))
    after = _erased_ids(ledger, mark)
    return _result(ledger, mark, len(after - before), left)


def find_submissions(ledger: Ledger, who: Identifier) -> list[str]:
    """The ids of the submissions that `erase` would erase."""
    who = who[0], normalize(*who)
    return [
        record.id
        for record in _candidates(ledger, who)
        if who in identifiers(record.id, record.lead, record.raw)
    ]


# -- marks


def _set_mark(ledger: Ledger, who: Identifier, by: str) -> str:
    mark = keys.erased(*who)
    ledger.mark_erased(mark, by, MARK_SECONDS)
    return mark


def erased_before(ledger: Ledger, record: Record) -> bool:
    """Whether its person was erased after this submission came in; then it is erased as well.

    Asked right before a delivery: the lead may have been fetched only after the records were
    searched.
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


def _erase_records(ledger: Ledger, who: Identifier, mark: str, by: str) -> tuple[list[str], int]:
    """Erases the records of `who`.

    Returns those that a worker may hold, and how many could not be decrypted.
    """
    in_flight: list[str] = []
    unreadable = 0
    for record in _candidates(ledger, who):
        if who not in identifiers(record.id, record.lead, record.raw):
            unreadable += record.unreadable
            continue
        entries = _cache_entries(who, record.lead)
        erased = ledger.erase([record.id], by, WHY, mark=mark, memories=entries)
        if erased and record.state in (State.QUEUED, State.DELIVERING):
            in_flight.append(record.id)
    if who[0] != "id":
        ContactCache(ledger.redis, account=ledger.account).forget_person(*who)
    return in_flight, unreadable


def _cache_entries(who: Identifier, lead: Lead | None) -> list[str]:
    """The cached contact to forget; erasing one submission by its id forgets nobody."""
    return [] if lead is None or who[0] == "id" else cached_person_keys(lead)


def _candidates(ledger: Ledger, who: Identifier) -> Iterator[Record]:
    """The records in which `who` must be searched for."""
    ids = [who[1]] if who[0] == "id" else ledger.each_id()
    for record in ledger.each_record(ids, raw=True, batch_size=BATCH_SIZE):
        if record.state is not State.ERASED:
            yield record


# -- what is in flight, and what is left


def _any_in_flight(ledger: Ledger, ids: Sequence[str]) -> bool:
    """Whether an answer from Pipedrive may still come for one of them."""
    since = ledger.now() - CALL_WAIT_SECONDS
    records = (ledger.get(submission_id) for submission_id in ids)
    return any(
        record.announced and (record.announced_at or 0.0) > since for record in records if record
    )


def _await_spools(
    ledger: Ledger, data_dir: Path | None, pause: Callable[[float], object]
) -> list[str]:
    """Waits until what came before now has left this machine's spools; returns what is left."""
    if data_dir is None:
        return []
    folder, now = data_dir / SPOOL_FOLDER, ledger.now()
    _wait_until(lambda: not spools_holding_before(folder, now), SPOOL_WAIT_SECONDS, pause)
    left = [
        f"{name}: submissions in this spool wait for their process to hand them over, and are"
        " erased then: once `leadline serve` reaches Redis from this machine"
        for name in spools_holding_before(folder, now)
    ]
    return left + [
        f"{name}: this spool is damaged and cannot be searched: remove it by hand"
        for name in damaged_spools(folder)
    ]


def _result(ledger: Ledger, mark: str, erased: int, left: list[str]) -> Erasure:
    names = ledger.marked_names(mark)
    persons = {int(name.removeprefix("person:")) for name in names if name.startswith("person:")}
    leads = {name.removeprefix("lead:") for name in names if name.startswith("lead:")}
    unanswered = []
    for submission_id in sorted(
        name.removeprefix("submission:") for name in names if name.startswith("submission:")
    ):
        record = ledger.get(submission_id)
        if record is None:
            continue
        if record.person_id is not None:
            persons.add(record.person_id)
        if record.lead_id is not None:
            leads.add(record.lead_id)
        if record.announced:
            unanswered.append(UnansweredCreate(record.id, record.announced))
    return Erasure(
        erased=erased,
        persons=sorted(persons),
        leads=sorted(leads),
        unanswered=unanswered,
        left=left,
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

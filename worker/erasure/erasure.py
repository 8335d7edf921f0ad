"""Erases a person: every submission that holds their e-mail address or phone number.

    1  mark       older submissions that are handed over or fetched only later are erased then
    2  spools     submissions in this machine's spools go into the ledger, where the mark applies
    3  records    one script removes the content and sets the state `erased`; the cached contact
                  goes with it
    4  in flight  a create that was already sent still records what it made, for a person to remove
    5  disk       Redis rewrites its files

Each step can be repeated: to ask again after a crash or a failed step continues where it stopped,
and lists everything that is still in Pipedrive. A later event of the same person is a new
submission and is accepted like any other.
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
    event_identifiers,
    identifiers,
    lead_identifiers,
    normalize,
)
from worker.store import keys

# How long a mark lasts: a machine switched off with a spool may come back within this time.
MARK_SECONDS = 90 * 24 * 3600

# Records read at a time.
BATCH_SIZE = 100

# How long to wait for spools to be handed over, and for a call to Pipedrive to end.
SPOOL_WAIT_SECONDS = 30.0
CALL_WAIT_SECONDS = 25.0

WHY = "erased on request"


class UnansweredCreate(Struct, frozen=True):
    """A create without an answer. What it may have made can be found by the submission's `id`.

    A lead has it in its `origin_id`, a note in its text.
    """

    id: str
    step: str


class Erasure(Struct, frozen=True, kw_only=True):
    """What an erasure did, and what is left to do.

    `erased` counts the submissions erased now. `persons`, `leads` and `unanswered` are, or may be,
    in Pipedrive, where a person has to remove them. `left` has one sentence for each thing that
    could not be erased and says what to do.
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

    May block for minutes. `data_dir` holds the spools of this machine; `hand_over` brings those of
    dead processes into the ledger. Raises `StoreUnavailable`: try again. If `Erasure.left` is not
    empty, the caller must show it.
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
    return [record.id for record in _candidates(ledger, who) if who in event_identifiers(record)]


# -- marks


def _set_mark(ledger: Ledger, who: Identifier, by: str) -> str:
    mark = keys.erased(*who)
    ledger.mark_erased(mark, by, MARK_SECONDS)
    return mark


def erase_if_marked(ledger: Ledger, record: Record) -> bool:
    """Erases the submission if its person was erased after it was received; returns whether.

    Called right before a delivery, because the lead may have been fetched only after the records
    were searched.
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

    Returns the ids that a worker may hold, and how many records could not be decrypted.
    """
    in_flight: list[str] = []
    unreadable = 0
    for record in _candidates(ledger, who):
        if who not in event_identifiers(record):
            unreadable += record.unreadable
            if who in identifiers(record.id, None, record.raw):
                # Somebody else's event, which came with this person's in one request.
                ledger.drop_raw(record.id)
            continue
        entries = _cache_entries(who, record.lead)
        erased = ledger.erase([record.id], by, WHY, mark=mark, memories=entries)
        if erased and record.state in (State.QUEUED, State.DELIVERING):
            in_flight.append(record.id)
    if who[0] != "id":
        ContactCache(ledger.redis, account=ledger.account).forget_person(*who)
    return in_flight, unreadable


def _cache_entries(who: Identifier, lead: Lead | None) -> list[str]:
    """The keys of cached contacts to forget; none if one submission is erased by its id."""
    return [] if lead is None or who[0] == "id" else cached_person_keys(lead)


def _candidates(ledger: Ledger, who: Identifier) -> Iterator[Record]:
    """The records in which to search for `who`."""
    ids = [who[1]] if who[0] == "id" else ledger.each_id()
    for record in ledger.each_record(ids, raw=True, batch_size=BATCH_SIZE):
        if record.state is not State.ERASED:
            yield record


# -- creates in flight, and the result


def _any_in_flight(ledger: Ledger, ids: Sequence[str]) -> bool:
    """Whether Pipedrive may still answer a create of one of these submissions."""
    since = ledger.now() - CALL_WAIT_SECONDS
    records = (ledger.get(submission_id) for submission_id in ids)
    return any(
        record.announced and (record.announced_at or 0.0) > since for record in records if record
    )


def _await_spools(
    ledger: Ledger, data_dir: Path | None, pause: Callable[[float], object]
) -> list[str]:
    """Waits until older submissions have left this machine's spools; says what is left."""
    if data_dir is None:
        return []
    folder, now = data_dir / SPOOL_FOLDER, ledger.now()
    _wait_until(lambda: not spools_holding_before(folder, now), SPOOL_WAIT_SECONDS, pause)
    left = [
        f"{name}: this spool still holds submissions; they are erased when its process hands them"
        " over, as soon as `leadline serve` on this machine reaches Redis"
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

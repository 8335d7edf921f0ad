"""Erases a person: every submission of theirs, and their address wherever else it stands.

    1  mark       older submissions that are handed over or fetched only later are erased then
    2  spools     submissions in this machine's spools go into the ledger, where the mark applies
    3  records    one script removes the content and sets the state `erased`; the cached contact
                  goes with it. What mentions an e-mail address only in passing is the lead of
                  somebody else: it stays, with `[erased]` in place of the address
    4  in flight  a create that was already sent still records what it made, for a person to remove
    5  elsewhere  reasons, causes, bulk edits, alerts, the audit trail: `[erased]` as well
    6  disk       Redis rewrites its files
    7  search     the address is looked for, byte by byte, in Redis's files and the data directory

Each step can be repeated: to ask again after a crash or a failed step continues where it stopped,
and lists everything that is still in Pipedrive. A later event of the same person is a new
submission and is accepted like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field

from worker.accept.spool import SPOOL_FOLDER, damaged_spools, spools_holding_before
from worker.contract import Lead, Result, State
from worker.erasure.file_search import find_files_with, redis_folder
from worker.erasure.persistence import FilesKept, rewrite_files
from worker.erasure.stored_mentions import StoredMentions
from worker.ledger import Ledger, Record
from worker.ledger.contact_cache import ContactCache
from worker.ledger.email_search import EmailPattern
from worker.ledger.identifiers import (
    Identifier,
    cached_person_keys,
    identifiers,
    is_persons,
    lead_identifiers,
    mark_keys,
    normalize,
    raw_texts,
)

# How long a mark lasts: a machine switched off with a spool may come back within this time.
MARK_SECONDS = 90 * 24 * 3600

# What the sandbox holds in the data directory is in Pipedrive, as far as we are concerned.
STAND_IN_FILE = "sandbox.sqlite"

# Records read at a time.
BATCH_SIZE = 100
REPORT_EVERY = 1_000

# How long to wait for spools to be handed over, and for a call to Pipedrive to end.
SPOOL_WAIT_SECONDS = 30.0
CALL_WAIT_SECONDS = 25.0

WHY = "erased on request"

# Where the person may be that no erasure of ours reaches.
OUT_OF_REACH = (
    "Pipedrive: persons, leads and notes are listed and stay until somebody removes them there",
    "spools of other machines: erased as they are handed over, for 90 days",
    "backups of Redis's files, and replicas: repeat the erasure after a backup is restored",
    "logs of proxies and of the system: Leadline's own hold no personal data",
    "exports that people downloaded, and the product or the form that sent the submission",
)


class UnansweredCreate(Struct, frozen=True):
    """A create without an answer. What it may have made can be found by the submission's `id`.

    A lead has it in its `origin_id`, a note in its text.
    """

    id: str
    step: str


class Erasure(Struct, frozen=True, kw_only=True):
    """What an erasure did, and what is left to do.

    `erased` counts the submissions erased now, `redacted` those of others that mentioned the
    person, `entries` other places (audit trail, bulk actions, alerts). `persons`, `leads` and
    `unanswered` are, or may be, in Pipedrive, where a person has to remove them; `created_leads`
    are those of the leads that we made. `unfinished` has one sentence for each thing that should
    have been erased and says what to do; `left` has these and what no erasure reaches.
    """

    erased: int
    redacted: int = 0
    entries: int = 0
    persons: list[int] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    created_leads: list[str] = field(default_factory=list)
    unanswered: list[UnansweredCreate] = field(default_factory=list, name="unknown")
    unfinished: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The counts, for the audit trail."""
        return f"erased: {self.erased}; redacted: {self.redacted}; left: {len(self.unfinished)}"


class Mentions(Struct, frozen=True):
    """The ids of the submissions that are the person's, and of those that only mention them."""

    erased: list[str]
    redacted: list[str]


def erase(
    ledger: Ledger,
    who: Identifier,
    by: str,
    *,
    data_dir: Path | None = None,
    hand_over: Callable[[], object] = lambda: None,
    pause: Callable[[float], object] = time.sleep,
    report: Callable[[str], object] = lambda _: None,
) -> Erasure:
    """Erases every submission of `who`; returns when the bytes are gone from disk.

    May block for minutes; `report` is told how far it is. `data_dir` holds the spools of this
    machine; `hand_over` brings those of dead processes into the ledger. Raises `StoreUnavailable`:
    try again. If `Erasure.unfinished` is not empty, the caller must show it.
    """
    who = who[0], normalize(*who)
    pattern = EmailPattern(who[1]) if who[0] == "email" else None
    marks = mark_keys(who)
    ledger.mark_erased(marks, by, MARK_SECONDS)
    before = _erased_ids(ledger, marks)
    hand_over()
    unfinished = _await_spools(ledger, data_dir, pause)
    stored = StoredMentions(ledger, pattern) if pattern else None
    in_flight, unreadable = _erase_records(ledger, who, pattern, stored, marks[0], by, report)
    _wait_until(lambda: not _any_in_flight(ledger, in_flight), CALL_WAIT_SECONDS, pause)
    if stored:
        stored.rewrite(lambda count: report(f"{count:,} keys searched"))
        unreadable = max(unreadable, stored.unreadable)
        unfinished += [
            f"{name}: the address still stands there: erase again" for name in stored.remaining
        ]
    if unreadable:
        unfinished.append(
            f"{unreadable} records cannot be decrypted and may be the person's: add the key they"
            " were encrypted under to LEADLINE_ENCRYPTION_KEYS and erase again"
        )
    report("Redis rewrites its files")
    try:
        unfinished += rewrite_files(ledger.redis, pause=pause)
    except FilesKept as error:
        unfinished.append(str(error))
    if pattern:
        report("the files are searched")
        unfinished += _search_files(ledger, pattern, data_dir, unfinished)
    after = _erased_ids(ledger, marks)
    return _result(ledger, marks, len(after - before), stored, unfinished)


def find_submissions(ledger: Ledger, who: Identifier) -> Mentions:
    """The submissions that `erase` would erase, and those in which it would redact the address."""
    who = who[0], normalize(*who)
    pattern = EmailPattern(who[1]) if who[0] == "email" else None
    mine, others = [], []
    for record in _candidates(ledger, who):
        if is_persons(who, pattern, record):
            mine.append(record.id)
        elif pattern and _is_mentioned(pattern, record):
            others.append(record.id)
    return Mentions(mine, others)


# -- marks


def erase_if_marked(ledger: Ledger, record: Record) -> bool:
    """Erases the submission if its person was erased after it was received; returns whether.

    Called right before a delivery, because the lead may have been fetched only after the records
    were searched.
    """
    if record.lead is None:
        return False
    marks = sorted(mark for each in lead_identifiers(record.lead) for mark in mark_keys(each))
    return any(
        ledger.erase([record.id], "", WHY, mark=mark, by_mark=True)
        for mark in ledger.find_marks(marks)
    )


def _erased_ids(ledger: Ledger, marks: Sequence[str]) -> set[str]:
    return {
        name.removeprefix("submission:")
        for mark in marks
        for name in ledger.marked_names(mark)
        if name.startswith("submission:")
    }


# -- records


def _erase_records(
    ledger: Ledger,
    who: Identifier,
    pattern: EmailPattern | None,
    stored: StoredMentions | None,
    mark: str,
    by: str,
    report: Callable[[str], object],
) -> tuple[list[str], int]:
    """Erases the records of `who`, and redacts those that mention them.

    Returns the ids that a worker may hold, and how many records could not be decrypted.
    """
    in_flight: list[str] = []
    unreadable = 0
    for count, record in enumerate(_candidates(ledger, who), 1):
        if count % REPORT_EVERY == 0:
            report(f"{count:,} submissions searched")
        if not is_persons(who, pattern, record):
            unreadable += record.unreadable
            if who in identifiers(record.id, None, record.raw):
                # Somebody else's event, which came with this person's in one request.
                ledger.drop_raw(record.id)
            if stored and pattern and _is_mentioned(pattern, record):
                stored.rewrite_submission(record.id)
            continue
        entries = _cache_entries(who, record.lead)
        erased = ledger.erase([record.id], by, WHY, mark=mark, memories=entries)
        if erased and record.state in (State.QUEUED, State.DELIVERING):
            in_flight.append(record.id)
    if who[0] != "id":
        ContactCache(ledger.redis, account=ledger.account).forget_person(*who)
    return in_flight, unreadable


def _is_mentioned(pattern: EmailPattern, record: Record) -> bool:
    """Whether the address stands anywhere in the record itself."""
    return pattern.occurs_in(
        [
            msgspec.to_builtins([record.lead, record.cause, record.fetch], builtin_types=(bytes,)),
            raw_texts(record.raw),
        ]
    )


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


def _search_files(
    ledger: Ledger, pattern: EmailPattern, data_dir: Path | None, unfinished: Sequence[str]
) -> list[str]:
    """Says in which files the address still stands, spools aside that are `unfinished` anyway."""
    folders = [folder for folder in (redis_folder(ledger.redis), data_dir) if folder]
    return [
        f"{path}: the address still stands in this file: erase again; if that does not help, remove"
        " the file or what is in it by hand"
        for path in find_files_with(pattern, folders)
        if not path.name.startswith(STAND_IN_FILE)
        and not any(line.startswith(path.name.removesuffix("-wal")) for line in unfinished)
    ]


def _result(
    ledger: Ledger,
    marks: Sequence[str],
    erased: int,
    stored: StoredMentions | None,
    unfinished: list[str],
) -> Erasure:
    names = {name for mark in marks for name in ledger.marked_names(mark)}
    persons = {int(name.removeprefix("person:")) for name in names if name.startswith("person:")}
    leads = {name.removeprefix("lead:") for name in names if name.startswith("lead:")}
    created, unanswered = set(), []
    for submission_id in sorted(_erased_ids(ledger, marks)):
        record = ledger.get(submission_id)
        if record is None:
            continue
        if record.person_id is not None:
            persons.add(record.person_id)
        if record.lead_id is not None:
            leads.add(record.lead_id)
            if record.result is Result.CREATED:
                created.add(record.lead_id)
        if record.announced:
            unanswered.append(UnansweredCreate(record.id, record.announced))
    return Erasure(
        erased=erased,
        redacted=len(stored.submissions) if stored else 0,
        entries=stored.entries if stored else 0,
        persons=sorted(persons),
        leads=sorted(leads),
        created_leads=sorted(created),
        unanswered=unanswered,
        unfinished=unfinished,
        left=[*unfinished, *OUT_OF_REACH],
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

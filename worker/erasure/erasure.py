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

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from msgspec import Struct, field

from worker.accept.spool import SPOOL_FOLDER, damaged_spools, spools_holding_before
from worker.contract import Lead, State
from worker.erasure.persistence import FilesKept, rewrite_files
from worker.ledger import Ledger, Record
from worker.ledger.identifiers import (
    Identifier,
    cached_person_keys,
    identifiers,
    lead_identifiers,
    normalize,
)
from worker.ledger.record import decode
from worker.store import keys
from worker.store.connection import ask, translate_errors

MARK_SECONDS = 90 * 24 * 3600
"""How long a machine that was switched off with a spool may come back and still hear of it."""

SCAN_SIZE = 500
"""Records read at a time."""

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
    mark, now = keys.erased(*who), ledger.now()
    with translate_errors(), ledger.redis.pipeline(transaction=True) as pipe:
        pipe.hset(mark, mapping={"before": now, "by": by})
        pipe.expire(mark, MARK_SECONDS)
        pipe.execute()
    return mark


def erased_before(ledger: Ledger, record: Record) -> bool:
    """Whether who asked to be erased did so after this submission came in; it is erased then.

    To be asked right before it is delivered: its lead may have been fetched only after the records
    were looked through.
    """
    if record.lead is None:
        return False
    found_marks = sorted(keys.erased(*each) for each in lead_identifiers(record.lead))
    with translate_errors(), ledger.redis.pipeline(transaction=False) as pipe:
        for mark in found_marks:
            pipe.exists(mark)
        if not any(pipe.execute()):
            return False
    return any(_erase(ledger, record.id, mark, "", by_mark=True) for mark in found_marks)


def _erased_ids(ledger: Ledger, mark: str) -> set[str]:
    return {
        name.removeprefix("submission:")
        for name in _mark_fields(ledger, mark)
        if name.startswith("submission:")
    }


def _mark_fields(ledger: Ledger, mark: str) -> list[str]:
    return [raw.decode() for raw in cast("list[bytes]", ask(lambda: ledger.redis.hkeys(mark)))]


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
        sealed += record.sealed and not mine
        if mine and _erase(ledger, record.id, mark, by, memories=_cache_entries(who, record.lead)):
            sent += [record.id] * (record.state in (State.QUEUED, State.DELIVERING))
    if who[0] != "id":
        ask(lambda: ledger.redis.delete(ledger.account.person(*who)))
    return sent, sealed


def _erase(
    ledger: Ledger,
    submission_id: str,
    mark: str,
    by: str,
    *,
    by_mark: bool = False,
    memories: Iterable[str] = (),
) -> bool:
    with translate_errors(), ledger.redis.pipeline(transaction=False) as pipe:
        ledger.erase_call(
            pipe, submission_id, by, WHY, mark=mark, by_mark=by_mark, memories=memories
        )
        return bool(pipe.execute()[0])


def _cache_entries(who: Identifier, lead: Lead | None) -> list[str]:
    """Our memory of the person; who asks for one submission's erasure is not forgotten with it."""
    return [] if lead is None or who[0] == "id" else cached_person_keys(lead)


def _candidates(ledger: Ledger, who: Identifier) -> Iterator[Record]:
    """The records among which `who` must be looked for."""
    return _read_records(ledger, [who[1]]) if who[0] == "id" else _all_records(ledger)


def _all_records(ledger: Ledger) -> Iterator[Record]:
    """Every record that is there all the while. Redis's own iteration, since one through the states
    would miss what moves.
    """
    head = keys.submission("")
    names = cast("Iterator[bytes]", ledger.redis.scan_iter(match=f"{head}*", count=SCAN_SIZE))
    while some := ask(lambda: list(itertools.islice(names, SCAN_SIZE))):
        ids = dict.fromkeys(name.decode()[len(head) :] for name in some)
        yield from _read_records(
            ledger, [submission_id for submission_id in ids if ":" not in submission_id]
        )


def _read_records(ledger: Ledger, ids: Sequence[str]) -> Iterator[Record]:
    with translate_errors(), ledger.redis.pipeline(transaction=False) as pipe:
        for submission_id in ids:
            pipe.hgetall(keys.submission(submission_id))
        found: list[dict[bytes, bytes]] = pipe.execute()
    for submission_id, fields in zip(ids, found, strict=True):
        if b"state" in fields and fields[b"state"] != State.ERASED.encode():
            yield decode(submission_id, fields, ledger.cipher)


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
    names = _mark_fields(ledger, mark)
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

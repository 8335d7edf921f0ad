"""Finds leads and persons that exist twice in Pipedrive although we looked before we made the
second.

That can only happen one way: a create with unknown outcome was looked for after it had settled, was
absent, was made again, and the first one was committed after all. So whatever was made again is
suspected, and looked at once more a few minutes later and again before a quarter of an hour is
over. What is found is reported, and left to people: merging loses data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import redis
import structlog

from worker.contract import Result
from worker.errors import LeadlineError
from worker.ledger import Ledger, Record
from worker.pipedrive.client import Pipedrive
from worker.store import keys
from worker.store.connection import ask, translate_errors

log = structlog.get_logger("leadline.doubles")

CHECK_AFTER_SECONDS = (150.0, 780.0)
"""When a suspect is looked at, after it was made again: nearly all late commits are there by the
first, rare ones later.
"""

TICK_SECONDS = 15.0
RETRY_SECONDS = 120.0
"""A look that failed is repeated after this long."""

CLOCK_SKEW_SECONDS = 600.0


class DuplicateChecks:
    """For one worker process; several may look at the same suspect without harm."""

    def __init__(self, connection: redis.Redis, ledger: Ledger, pipedrive: Pipedrive) -> None:
        self._redis = connection
        self._ledger = ledger
        self._pipedrive = pipedrive
        self._next = 0.0

    def tick(self) -> None:
        """Looks at what is due, every so often. May raise `StoreUnavailable`."""
        now = self._ledger.now()
        if now < self._next or self._ledger.gate.find_pause() is not None:
            return
        self._next = now + TICK_SECONDS
        for raw in ask(
            lambda: self._redis.zrange(
                keys.DUPLICATE_CHECKS, "-inf", now, byscore=True, offset=0, num=20
            )
        ):
            self._check(raw, now)

    def _check(self, entry: bytes, now: float) -> None:
        submission_id, _, step = entry.decode().partition(" ")
        # Another look if this one fails, or if we die in it.
        ask(lambda: self._redis.zadd(keys.DUPLICATE_CHECKS, {entry: now + RETRY_SECONDS}, xx=True))
        record = self._ledger.get(submission_id)
        try:
            ids = (
                sorted(set(FINDERS[step.split("#")[0]](self._pipedrive, record)))
                if record is not None
                else []
            )
        except LeadlineError as error:
            log.warning(
                "a suspect could not be looked at", submission=submission_id, error=error.code
            )
            return
        if len(ids) > 1:
            found = json.dumps({"step": step.split("#")[0], "ids": ids, "at": now})
            ask(lambda: self._redis.hset(keys.DUPLICATES, submission_id, found))
            log.error(
                "made twice in Pipedrive: merge them by hand",
                submission=submission_id,
                step=step,
                ids=ids,
            )
        ask(lambda: self._redis.zrem(keys.DUPLICATE_CHECKS, entry))


def schedule_duplicate_check(
    connection: redis.Redis, submission_id: str, step: str, now: float
) -> None:
    """To be called when a create that was looked for and absent is about to be made again."""
    if step not in FINDERS:
        return
    looks = {
        f"{submission_id} {step}#{number}": now + seconds
        for number, seconds in enumerate(CHECK_AFTER_SECONDS)
    }
    with translate_errors():
        connection.zadd(keys.DUPLICATE_CHECKS, looks)


def count_duplicates(connection: redis.Redis) -> int:
    """How many submissions are known to have been made twice."""
    return int(connection.hlen(keys.DUPLICATES))


def _find_leads(pipedrive: Pipedrive, record: Record) -> Iterator[str]:
    """Of the person's (else the organisation's) leads, those that carry the submission's id."""
    if record.person_id is not None:
        found = [
            *pipedrive.leads.list_all(person_id=record.person_id),
            *pipedrive.leads.list_all_archived(person_id=record.person_id),
        ]
    else:
        found = [*pipedrive.leads.list_all(organization_id=record.organization_id)]
    made = [lead.id for lead in found if record.id in (lead.origin_id or "")]
    # It may have labelled another's lead in the end; then even one of its own is one too many.
    return iter(
        [*made, record.lead_id]
        if made and record.lead_id and record.result is Result.LABELLED
        else made
    )


def _find_persons(pipedrive: Pipedrive, record: Record) -> Iterator[str]:
    """Of the persons added since the submission came, those with its e-mail."""
    email = (record.lead.email or "").casefold() if record.lead else ""
    if not email:
        return iter(())
    newest = pipedrive.persons.list_newest(since=record.received_at - CLOCK_SKEW_SECONDS)
    return (
        str(person.id)
        for person in newest
        if email in {entry.value.casefold() for entry in person.emails}
    )


FINDERS: dict[str, Callable[[Pipedrive, Record], Iterator[str]]] = {
    "lead": _find_leads,
    "person": _find_persons,
}

"""Finds leads and persons that exist twice in Pipedrive although we checked before the second one.

That can only happen in one way: a create with unknown outcome was looked for after it had settled,
was not there, was repeated, and then the first one was committed after all. So whatever was
repeated is checked once more a few minutes later, and again within a quarter of an hour. Duplicates
are reported and left to people, because merging loses data.
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
from worker.store.connection import call_redis, translate_errors

log = structlog.get_logger("leadline.duplicates")

# Nearly all late commits are there by the first check; the second is for the rare later ones.
CHECK_AFTER_SECONDS = (150.0, 780.0)

TICK_SECONDS = 15.0
# A check that failed is repeated after this long.
RETRY_SECONDS = 120.0

CLOCK_SKEW_SECONDS = 600.0


class DuplicateChecks:
    """For one worker process; several may check the same create without harm."""

    def __init__(self, connection: redis.Redis, ledger: Ledger, pipedrive: Pipedrive) -> None:
        self._redis = connection
        self._ledger = ledger
        self._pipedrive = pipedrive
        self._next = 0.0

    def tick(self) -> None:
        """Check what is due, every 15 seconds. Raises `StoreUnavailable`."""
        now = self._ledger.now()
        if now < self._next or self._ledger.gate.find_pause() is not None:
            return
        self._next = now + TICK_SECONDS
        for raw in call_redis(
            lambda: self._redis.zrange(
                keys.DUPLICATE_CHECKS, "-inf", now, byscore=True, offset=0, num=20
            )
        ):
            self._check(raw, now)

    def _check(self, entry: bytes, now: float) -> None:
        submission_id, _, step = entry.decode().partition(" ")
        # Check again if this check fails or this process dies during it.
        call_redis(
            lambda: self._redis.zadd(keys.DUPLICATE_CHECKS, {entry: now + RETRY_SECONDS}, xx=True)
        )
        record = self._ledger.get(submission_id)
        try:
            ids = (
                sorted(set(FINDERS[step.split("#")[0]](self._pipedrive, record)))
                if record is not None
                else []
            )
        except LeadlineError as error:
            log.warning(
                "a possible duplicate could not be checked",
                submission_id=submission_id,
                error=error.code,
            )
            return
        if len(ids) > 1:
            duplicate = json.dumps({"step": step.split("#")[0], "ids": ids, "at": now})
            call_redis(lambda: self._redis.hset(keys.DUPLICATES, submission_id, duplicate))
            log.error(
                "created twice in Pipedrive: merge them by hand",
                submission_id=submission_id,
                step=step,
                ids=ids,
            )
        call_redis(lambda: self._redis.zrem(keys.DUPLICATE_CHECKS, entry))


def schedule_duplicate_check(
    connection: redis.Redis, submission_id: str, step: str, now: float
) -> None:
    """Call this when a create that was looked for and absent is about to be repeated."""
    if step not in FINDERS:
        return
    checks = {
        f"{submission_id} {step}#{number}": now + seconds
        for number, seconds in enumerate(CHECK_AFTER_SECONDS)
    }
    with translate_errors():
        connection.zadd(keys.DUPLICATE_CHECKS, checks)


def count_duplicates(connection: redis.Redis) -> int:
    """Return how many submissions are known to have been created twice."""
    return int(connection.hlen(keys.DUPLICATES))


def _find_leads(pipedrive: Pipedrive, record: Record) -> Iterator[str]:
    """Yield those of the person's (else the organisation's) leads with the submission's id."""
    if record.person_id is not None:
        leads = [
            *pipedrive.leads.list_all(person_id=record.person_id),
            *pipedrive.leads.list_all_archived(person_id=record.person_id),
        ]
    else:
        leads = [*pipedrive.leads.list_all(organization_id=record.organization_id)]
    own_ids = [lead.id for lead in leads if record.id in (lead.origin_id or "")]
    # It may have labelled another lead in the end; then even one lead of its own is one too many.
    return iter(
        [*own_ids, record.lead_id]
        if own_ids and record.lead_id and record.result is Result.LABELLED
        else own_ids
    )


def _find_persons(pipedrive: Pipedrive, record: Record) -> Iterator[str]:
    """Yield those of the persons added since the submission came that have its e-mail."""
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

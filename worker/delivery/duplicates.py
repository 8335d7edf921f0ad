"""Finds leads and persons that exist twice in Pipedrive although we checked before the second one.

That can happen in one way only: a create with unknown outcome settled, was not found and was
repeated, and then Pipedrive committed the first one after all. So every repeated create is checked
again a few minutes later, and once more within a quarter of an hour. Duplicates are reported and
left to people, because merging loses data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import redis
import structlog

from worker.contract import Result
from worker.errors import LeadlineError
from worker.ledger import Ledger, Record
from worker.ledger.identifiers import is_one_of, person_identities
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.models import contact_texts
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
    """The checks of one worker process; several may safely check the same create."""

    def __init__(self, connection: redis.Redis, ledger: Ledger, pipedrive: Pipedrive) -> None:
        self._redis = connection
        self._ledger = ledger
        self._pipedrive = pipedrive
        self._next = 0.0

    def tick(self) -> None:
        """Run the checks that are due, at most every 15 seconds. Raises `StoreUnavailable`."""
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
        # Reschedule first, in case this check fails or the process dies during it.
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
    """Schedule the checks of a create that was looked for, not found, and may be made twice."""
    if step not in FINDERS:
        return
    checks = {
        f"{submission_id} {step}#{number}": now + seconds
        for number, seconds in enumerate(CHECK_AFTER_SECONDS)
    }
    with translate_errors():
        connection.zadd(keys.DUPLICATE_CHECKS, checks)


def count_duplicates(connection: redis.Redis) -> int:
    """Return how many submissions are known to exist twice in Pipedrive."""
    return int(connection.hlen(keys.DUPLICATES))


def _find_leads(pipedrive: Pipedrive, record: Record) -> Iterator[str]:
    """Yield the person's (else the organisation's) leads that hold the submission's id."""
    if record.person_id is not None:
        leads = [
            *pipedrive.leads.list_all(person_id=record.person_id),
            *pipedrive.leads.list_all_archived(person_id=record.person_id),
        ]
    else:
        leads = [*pipedrive.leads.list_all(organization_id=record.organization_id)]
    own_ids = [lead.id for lead in leads if record.id in (lead.origin_id or "")]
    # If it finally labelled another lead, even one lead of its own is one too many.
    return iter(
        [*own_ids, record.lead_id]
        if own_ids and record.lead_id and record.result is Result.LABELLED
        else own_ids
    )


def _find_persons(pipedrive: Pipedrive, record: Record) -> Iterator[str]:
    """Yield the persons with the submission's e-mail (else phone), added since it was received."""
    identities = person_identities(record.lead) if record.lead else ()
    if not identities:
        return iter(())
    newest = pipedrive.persons.list_newest(since=record.received_at - CLOCK_SKEW_SECONDS)
    return (
        str(person.id)
        for person in newest
        if is_one_of(identities[0], contact_texts(person, identities[0][0]))
    )


FINDERS: dict[str, Callable[[Pipedrive, Record], Iterator[str]]] = {
    "lead": _find_leads,
    "person": _find_persons,
}

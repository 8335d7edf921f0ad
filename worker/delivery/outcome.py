"""Ends a delivery: one move in the ledger, one line in the log, and the next submissions go.

The next submissions are those of the same person or organisation that waited for this one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from worker.causes import no_contact
from worker.contract import Attempt, Cause, State
from worker.delivery.context import DeliveryContext, DeliveryRun
from worker.delivery.fetch import FetchResult
from worker.delivery.refused import ORGANIZATION, PERSON, RECORDS, StaleIds
from worker.errors import (
    AccountFault,
    EndpointGone,
    Forbidden,
    Invalid,
    LeadlineError,
    LeaseLost,
    NotSent,
    OutcomeUnknown,
    Unavailable,
    WrongAddress,
    WrongTokenAddress,
)
from worker.fate import Abandon, Dead, Fate, ResolveAfresh, Retry, Settle, Wait, decide
from worker.lead.plan import without_quotations
from worker.lead.settings import MATCH_KINDS
from worker.ledger import Record
from worker.ledger.identifiers import person_identities
from worker.ledger.ledger import Fact
from worker.ledger.record import RefusedIds, encrypt_content
from worker.metrics import DELIVERIES, DELIVERY_SECONDS, series

# The facts of a record to forget with an id. A recorded lead stays: it was created or labelled.
FACTS_OF: Mapping[str, Mapping[str, Fact]] = {
    PERSON: {"person_id": None, "person_created": None},
    ORGANIZATION: {"organization_id": None},
}

log = structlog.get_logger("leadline.delivery")


def no_ids(_: Exception) -> StaleIds:
    """Nothing is stale, because no id was looked up yet."""
    return {}


@dataclass(frozen=True)
class DeliveryOutcome:
    """Ends the delivery that holds the lease of `token`.

    It is made before the first step, because a delivery may end at any step. `attempts` are the
    calls made so far; `check_credentials` makes one more. Every method may raise `LeaseLost` and
    `StoreUnavailable`.
    """

    context: DeliveryContext
    record: Record
    token: str
    attempts: list[Attempt]
    check_credentials: Callable[[], object]

    def succeed(self, run: DeliveryRun) -> None:
        assert run.result is not None
        for sentence in run.plan.left_out:
            run.record_attempt("plan", "left out", without_quotations(sentence))
        next_ids = self._finish(State.DELIVERED, run.result, why=run.result)
        duration = max(0.0, self.context.clock() - self.record.received_at)
        self.context.meter.observe(DELIVERY_SECONDS, duration)
        self._log(run.result, duration_ms=round(duration * 1000))
        self.context.sweeper.dispatch(next_ids)

    def store_fetched(self, result: FetchResult) -> None:
        """Store the fetched record of an event that contained only ids.

        A lead goes back into the queue: only now do we know which other submissions it must wait
        for.
        """
        record, state, cause, counted_as = self.record, State.QUEUED, None, None
        lead = (
            encrypt_content(result.lead, self.context.ledger.cipher)
            if result.lead is not None
            else None
        )
        if result.outcome == "ignored":
            state = State.IGNORED
        elif result.outcome == "no_contact":
            state, counted_as = State.DEAD, "dead"
            cause = no_contact(record.source, "fetch", result.why)
        facts: dict[str, Fact] = {"lead": lead, "fetch": None}
        next_ids = self._finish(
            state, counted_as, why=result.why or "fetched", used=0, cause=cause, facts=facts
        )
        self._log(f"fetched: {result.outcome}")
        self.context.sweeper.dispatch([*next_ids, record.id] if state is State.QUEUED else next_ids)

    def fail(
        self, step: str, error: Exception, find_stale_ids: Callable[[Exception], StaleIds] = no_ids
    ) -> None:
        """Decide and record the fate of a submission whose delivery failed at `step`.

        `find_stale_ids` is `DeliveryRun.find_stale_ids` if the delivery came that far.
        """
        context, record = self.context, self.record
        error = self._blame_account(error)
        if not isinstance(error, LeadlineError):
            log.error(
                "delivery failed",
                submission_id=record.id,
                step=step,
                error=type(error).__name__,
                exc_info=True,
            )
        now = context.ledger.now()
        fate = decide(
            error,
            step=step,
            attempts=record.attempts + 1,
            first_attempt_at=record.first_attempt_at or now,
            now=now,
            policy=context.policy,
            jitter=random.random(),
            source=record.source,
            probes=context.ledger.gate.count_probes(),
            stale_ids=find_stale_ids(error),
            outage=isinstance(error, NotSent | Unavailable)
            and context.ledger.gate.note_failure(record.id),
        )
        self._apply(step, fate)

    def _blame_account(self, error: Exception) -> Exception:
        """Return the real error: the account or the address may be at fault, and not this lead.

        A 403 means the credentials if we may not even read our own user. An answer that is not
        Pipedrive's means the address if that call gets such a one too; else Pipedrive lacks this
        one call, or something on the way spoilt the answer or refused this content. After a create
        it then stays unknown whether it happened.
        """
        unknown = isinstance(error, OutcomeUnknown) and (error.status or 500) < 400
        foreign = isinstance(error, Invalid) and error.foreign
        if not (unknown or foreign or isinstance(error, Forbidden | WrongAddress)):
            return error
        try:
            self.check_credentials()
        except LeadlineError as other:
            return error if unknown and not isinstance(other, AccountFault) else other
        if not isinstance(error, WrongAddress) or isinstance(error, WrongTokenAddress):
            return error
        kind = EndpointGone if (error.status or 0) >= 400 else Unavailable
        return kind(error.call, error.detail, status=error.status)

    def _apply(self, step: str, fate: Fate) -> None:
        """Turn a fate into a move of the ledger; no other code does that."""
        record, result = self.record, "wait"
        announced = (self.context.ledger.get(record.id) or record).announced is not None
        match fate:
            case Retry(at=at, attempts_used=used):
                result, why = "retry", fate.cause.detail
                next_ids = self._finish(
                    State.WAITING,
                    result,
                    why=why,
                    next_at=at,
                    reason="retry",
                    used=used,
                    cause=fate.cause,
                    keep_place=announced,
                )
            case Settle(until=until, attempts_used=used, queue_free=free):
                reason, keeps_place = ("retry", False) if free else ("settle", announced)
                next_ids = self._finish(
                    State.WAITING,
                    result,
                    next_at=until,
                    reason=reason,
                    used=used,
                    cause=fate.cause,
                    keep_place=keeps_place,
                )
            case Wait(until=until, reason=reason, gate=gate, probe=probe):
                if gate:
                    self.context.ledger.gate.close(
                        record.id, reason, until, probe=probe, advice=fate.cause.hint
                    )
                next_ids = self._finish(
                    State.WAITING,
                    result,
                    next_at=until,
                    reason=reason,
                    used=0,
                    cause=fate.cause,
                    keep_place=announced,
                )
            case ResolveAfresh():
                result = "retry"
                next_ids = self._resolve_afresh(fate, keep_place=announced)
            case Dead():
                result = "dead"
                next_ids = self._finish(State.DEAD, result, why=fate.cause.detail, cause=fate.cause)
            case Abandon():
                raise LeaseLost(record.id)
        self._log(result, step=step, code=fate.cause.code)
        self.context.sweeper.dispatch(next_ids)

    def _finish(
        self,
        state: State,
        counted_as: str | None,
        *,
        why: str = "",
        next_at: float | None = None,
        reason: str = "",
        used: int = 1,
        cause: Cause | None = None,
        keep_place: bool = False,
        facts: Mapping[str, Fact] | None = None,
    ) -> list[str]:
        """Make the move and count it as `counted_as`. Returns the ids that may go now."""
        return self.context.ledger.finish(
            self.record.id,
            self.token,
            state,
            why=why,
            next_at=next_at,
            reason=reason,
            used=used,
            keep_place=keep_place,
            cause=cause,
            counter=series(DELIVERIES, source=self.record.source, result=counted_as)
            if counted_as
            else "",
            facts=facts,
            attempts=self.attempts,
        )

    def _resolve_afresh(self, fate: ResolveAfresh, *, keep_place: bool) -> list[str]:
        """Forget the ids and queue the submission, as soon as names may be read again."""
        ids = fate.ids
        earlier = self.record.refused.ids if self.record.refused is not None else {}
        now = self.context.ledger.now()
        refused = RefusedIds(at=now, ids={**earlier, **ids})
        facts: dict[str, Fact] = {"refused": msgspec.json.encode(refused)}
        for what in ids:
            facts |= FACTS_OF.get(what, {})
        self._forget_contacts(ids)
        why = f"Pipedrive refused its {', '.join(sorted(ids))}; looked up again"
        seconds = self.context.metadata.seconds_to_refusal_read(ids.keys() - RECORDS)
        if seconds > 0:
            return self._finish(
                State.WAITING,
                "wait",
                why=why,
                next_at=now + seconds,
                reason="retry",
                used=0,
                cause=fate.cause,
                facts=facts,
                keep_place=keep_place,
            )
        next_ids = self._finish(
            State.QUEUED, "retry", why=why, used=0, facts=facts, keep_place=keep_place
        )
        return [*next_ids, self.record.id]

    def _forget_contacts(self, ids: Mapping[str, int | str | None]) -> None:
        lead, contacts = self.record.lead, self.context.contacts
        if lead is None:
            return
        person_id, organization_id = ids.get(PERSON), ids.get(ORGANIZATION)
        for identity in person_identities(lead, MATCH_KINDS):
            if isinstance(person_id, int):
                contacts.forget_refused_person(*identity, person_id)
        if lead.company and isinstance(organization_id, int):
            contacts.forget_refused_organization(lead.company, organization_id)

    def _log(self, outcome: str, **more: object) -> None:
        record, max_attempts = self.record, len(self.context.policy.retry_delays) + 1
        log.info(
            "delivery",
            submission_id=record.id,
            source=record.source,
            outcome=outcome,
            attempt=record.attempts + 1,
            max_attempts=max_attempts,
            **more,
        )

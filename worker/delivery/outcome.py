"""How a delivery ends: one move of the ledger, a line in the log, and those may go who waited in
line behind it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from worker.causes import no_contact
from worker.contract import Attempt, Cause, State
from worker.delivery.context import DeliveryContext, DeliveryRun, person_identity
from worker.delivery.fetch import FetchResult
from worker.errors import Forbidden, LeadlineError, LeaseLost, NotSent, Unauthorized, Unavailable
from worker.fate import Abandon, Dead, Fate, ResolveAfresh, Retry, Settle, Wait, decide
from worker.lead.plan import without_quotations
from worker.ledger import Record
from worker.ledger.ledger import Fact
from worker.ledger.record import seal
from worker.metrics import DELIVERIES, DELIVERY_SECONDS, series

RESOLVED_AFRESH: Mapping[str, Fact] = {
    "person_id": None,
    "person_created": None,
    "organization_id": None,
    "lead_id": None,
    "result": None,
    "forgotten": 1,
}

log = structlog.get_logger("leadline.delivery")


@dataclass(frozen=True)
class DeliveryOutcome:
    """What one delivery under the lease of `token` can end in; made before anything is done, for it
    may end at any step.

    `attempts` are the calls made so far; `ask_who_we_are` makes one more.

    Every method may raise `LeaseLost` and `StoreUnavailable`.
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
        woken = self._finish(State.DELIVERED, run.result, why=run.result)
        duration = max(0.0, self.context.clock() - self.record.received_at)
        self.context.meter.observe(DELIVERY_SECONDS, duration)
        self._log(run.result, took=round(duration, 3))
        self.context.sweeper.dispatch(woken)

    def store_fetched(self, result: FetchResult) -> None:
        """The record of an event that told ids alone. A lead goes back into the queue: whose line
        it joins is known only now.
        """
        record, state, cause, counted_as = self.record, State.QUEUED, None, None
        lead = seal(result.lead, self.context.ledger.cipher) if result.lead is not None else None
        if result.outcome == "ignored":
            state = State.IGNORED
        elif result.outcome == "no_contact":
            state, counted_as = State.DEAD, "dead"
            cause = no_contact(record.source, "fetch", result.why)
        facts: dict[str, Fact] = {"lead": lead, "fetch": None}
        woken = self._finish(
            state, counted_as, why=result.why or "fetched", used=0, cause=cause, facts=facts
        )
        self._log(f"fetched: {result.outcome}")
        self.context.sweeper.dispatch([*woken, record.id] if state is State.QUEUED else woken)

    def fail(self, step: str, error: Exception) -> None:
        """Whatever happened at `step` becomes the submission's fate."""
        context, record = self.context, self.record
        error = self._blame_credentials(error)
        if not isinstance(error, LeadlineError):
            log.error(
                "delivery failed",
                submission=record.id,
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
            probes=context.ledger.gate.probes(),
            resolved_afresh=record.forgotten,
            outage=isinstance(error, NotSent | Unavailable)
            and context.ledger.gate.note_failure(record.id),
        )
        self._apply(step, fate)

    def _blame_credentials(self, error: Exception) -> Exception:
        """A 403 while we may not even ask who we are refuses us, and not this lead."""
        if not isinstance(error, Forbidden):
            return error
        try:
            self.check_credentials()
        except Forbidden as refusal:
            return Unauthorized(refusal.call, refusal.detail, status=refusal.status)
        except LeadlineError as other:
            return other
        return error

    def _apply(self, step: str, fate: Fate) -> None:
        """The only place where a fate becomes a move of the ledger."""
        record, result = self.record, "wait"
        announced = (self.context.ledger.get(record.id) or record).announced is not None
        match fate:
            case Retry(at=at, attempts_used=used):
                result, why = "retry", fate.cause.detail
                woken = self._finish(
                    State.WAITING,
                    result,
                    why=why,
                    next_at=at,
                    reason="retry",
                    used=used,
                    cause=fate.cause,
                    keep_line=announced,
                )
            case Settle(until=until, attempts_used=used, queue_free=free):
                reason, line = ("retry", False) if free else ("settle", announced)
                woken = self._finish(
                    State.WAITING,
                    result,
                    next_at=until,
                    reason=reason,
                    used=used,
                    cause=fate.cause,
                    keep_line=line,
                )
            case Wait(until=until, reason=reason, gate=gate, probe=probe):
                if gate:
                    self.context.ledger.gate.close(record.id, reason, until, probe=probe)
                woken = self._finish(
                    State.WAITING,
                    result,
                    next_at=until,
                    reason=reason,
                    used=0,
                    cause=fate.cause,
                    keep_line=announced,
                )
            case ResolveAfresh():
                result = "retry"
                self._forget_contacts()
                woken = self._finish(
                    State.QUEUED, result, why="gone; resolved afresh", used=0, facts=RESOLVED_AFRESH
                )
                woken.append(record.id)
            case Dead():
                result = "dead"
                woken = self._finish(State.DEAD, result, why=fate.cause.detail, cause=fate.cause)
            case Abandon():
                raise LeaseLost(record.id)
        self._log(
            result, step=step, code=None if isinstance(fate, ResolveAfresh) else fate.cause.code
        )
        self.context.sweeper.dispatch(woken)

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
        keep_line: bool = False,
        facts: Mapping[str, Fact] | None = None,
    ) -> list[str]:
        """The move itself, `counted` as that result. Returns the ids that may go now."""
        return self.context.ledger.finish(
            self.record.id,
            self.token,
            state,
            why=why,
            next_at=next_at,
            reason=reason,
            used=used,
            keep_place=keep_line,
            cause=cause,
            counter=series(DELIVERIES, source=self.record.source, result=counted_as)
            if counted_as
            else "",
            facts=facts,
            attempts=self.attempts,
        )

    def _forget_contacts(self) -> None:
        lead = self.record.lead
        if lead is None:
            return
        identity = person_identity(lead)
        if identity:
            self.context.contacts.forget_person(*identity)
        if lead.company:
            self.context.contacts.forget_organization(lead.company)

    def _log(self, result: str, **more: object) -> None:
        record, of = self.record, len(self.context.policy.retry_delays) + 1
        log.info(
            "delivery",
            submission=record.id,
            source=record.source,
            result=result,
            attempt=record.attempts + 1,
            of=of,
            **more,
        )

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
from worker.delivery.context import Run, Workshop, identity
from worker.delivery.fetch import Fetched
from worker.errors import Forbidden, LeadlineError, LeaseLost, NotSent, Unauthorized, Unavailable
from worker.fate import Abandon, Dead, Fate, ResolveAfresh, Retry, Settle, Wait, decide
from worker.lead.plan import unquoted
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
class End:
    """What one delivery under the lease of `token` can end in; made before anything is done, for it
    may end at any step.

    `attempts` are the calls made so far; `ask_who_we_are` makes one more.

    Every method may raise `LeaseLost` and `StoreUnavailable`.
    """

    shop: Workshop
    record: Record
    token: str
    attempts: list[Attempt]
    ask_who_we_are: Callable[[], object]

    def delivered(self, run: Run) -> None:
        assert run.result is not None
        for sentence in run.plan.left_out:
            run.note_down("plan", "left out", unquoted(sentence))
        woken = self._finish(State.DELIVERED, run.result, why=run.result)
        took = max(0.0, self.shop.clock() - self.record.received_at)
        self.shop.meter.observe(DELIVERY_SECONDS, took)
        self._log(run.result, took=round(took, 3))
        self.shop.sweeper.dispatch(woken)

    def fetched(self, fetched: Fetched) -> None:
        """The record of an event that told ids alone. A lead goes back into the queue: whose line
        it joins is known only now.
        """
        record, state, cause, counted = self.record, State.QUEUED, None, None
        lead = seal(fetched.lead, self.shop.ledger.cipher) if fetched.lead is not None else None
        if fetched.outcome == "ignored":
            state = State.IGNORED
        elif fetched.outcome == "no_contact":
            state, counted = State.DEAD, "dead"
            cause = no_contact(record.source, "fetch", fetched.why)
        facts: dict[str, Fact] = {"lead": lead, "fetch": None}
        woken = self._finish(
            state, counted, why=fetched.why or "fetched", used=0, cause=cause, facts=facts
        )
        self._log(f"fetched: {fetched.outcome}")
        self.shop.sweeper.dispatch([*woken, record.id] if state is State.QUEUED else woken)

    def failed(self, step: str, error: Exception) -> None:
        """Whatever happened at `step` becomes the submission's fate."""
        shop, record = self.shop, self.record
        error = self._ourselves(error)
        if not isinstance(error, LeadlineError):
            log.error(
                "delivery failed",
                submission=record.id,
                step=step,
                error=type(error).__name__,
                exc_info=True,
            )
        now = shop.ledger.now()
        fate = decide(
            error,
            step=step,
            attempts=record.attempts + 1,
            first_attempt_at=record.first_attempt_at or now,
            now=now,
            policy=shop.policy,
            jitter=random.random(),
            source=record.source,
            probes=shop.ledger.gate.probes(),
            resolved_afresh=record.forgotten,
            outage=isinstance(error, NotSent | Unavailable)
            and shop.ledger.gate.note_failure(record.id),
        )
        self._apply(step, fate)

    def _ourselves(self, error: Exception) -> Exception:
        """A 403 while we may not even ask who we are refuses us, and not this lead."""
        if not isinstance(error, Forbidden):
            return error
        try:
            self.ask_who_we_are()
        except Forbidden as refusal:
            return Unauthorized(refusal.call, refusal.detail, status=refusal.status)
        except LeadlineError as other:
            return other
        return error

    def _apply(self, step: str, fate: Fate) -> None:
        """The only place where a fate becomes a move of the ledger."""
        record, result = self.record, "wait"
        announced = (self.shop.ledger.get(record.id) or record).announced is not None
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
                    self.shop.ledger.gate.close(record.id, reason, until, probe=probe)
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
                self._forget()
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
        self.shop.sweeper.dispatch(woken)

    def _finish(
        self,
        state: State,
        counted: str | None,
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
        return self.shop.ledger.finish(
            self.record.id,
            self.token,
            state,
            why=why,
            next_at=next_at,
            reason=reason,
            used=used,
            keep_place=keep_line,
            cause=cause,
            counter=series(DELIVERIES, source=self.record.source, result=counted)
            if counted
            else "",
            facts=facts,
            attempts=self.attempts,
        )

    def _forget(self) -> None:
        lead = self.record.lead
        if lead is None:
            return
        who = identity(lead)
        if who:
            self.shop.memory.forget_person(*who)
        if lead.company:
            self.shop.memory.forget_organization(lead.company)

    def _log(self, result: str, **more: object) -> None:
        record, of = self.record, len(self.shop.policy.retry_delays) + 1
        log.info(
            "delivery",
            submission=record.id,
            source=record.source,
            result=result,
            attempt=record.attempts + 1,
            of=of,
            **more,
        )

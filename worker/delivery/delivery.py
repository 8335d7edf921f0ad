"""One delivery, from the claim to its fate.

wanted? -> settle an announced create -> names -> organisation -> person -> lead or label -> note -> delivered
                                    \\ any error -> worker.fate -> wait, retry, dead
"""

from __future__ import annotations

import random
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from worker import keys
from worker.causes import no_contact
from worker.contract import Attempt, Cause, Lead, State
from worker.delivery import doubt, steps
from worker.delivery.resolve import Resolved, resolve
from worker.delivery.run import Run, identity
from worker.delivery.settle import settle
from worker.erasure import erased_before
from worker.errors import (
    Forbidden,
    LeadlineError,
    LeaseLost,
    NotSent,
    Restored,
    Sealed,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
    UnknownName,
    Unmappable,
)
from worker.fate import Again, Dead, Drop, Fate, Policy, Retry, Settle, Wait, decide
from worker.fetch import Fetched, Fetcher
from worker.leases import LEASE_SECONDS, Leases
from worker.ledger import Ledger, Record, Verdict
from worker.ledger.ledger import Fact
from worker.ledger.record import seal
from worker.memory import Memory, normal_name
from worker.metrics import DELIVERIES, DELIVERY_SECONDS, Meter, series
from worker.pipedrive.catalogue import Catalogue
from worker.pipedrive.client import CallReport, Pipedrive
from worker.pipedrive.names import WORDS
from worker.plan import Plan, leave_out, plan
from worker.sweeper import Sweeper
from worker.tide import Tidings
from worker.writing import SourceWriting

OURS = frozenset({"intake", "worker", "sweeper"})
"""Who puts a submission into the queue without a person's asking."""

REPLAY_GAP_SECONDS = 2.0
"""However many are replayed at once, the names are read from Pipedrive no more often than this, unless somebody asked since."""

PUT_BACK_TRIES = 20
"""A second apart: while Redis is away a slot has nothing else to do, and later the lease has run out anyway."""

SENT = re.compile(r"(?<!field )“[^”]*”")
"""What the sender wrote stands quoted in the note's sentences; attempts are not sealed, so there it does not."""

AGREE_TRIES, AGREE_SECONDS = 60, 0.5
"""After a restart of Redis a slot waits so often, so long, until all workers have said that nothing is missing."""

log = structlog.get_logger("leadline.delivery")


@dataclass(frozen=True)
class Workshop:
    """What all slots of a process share."""

    ledger: Ledger
    leases: Leases
    memory: Memory
    catalogue: Catalogue
    sweeper: Sweeper
    meter: Meter
    policy: Policy
    writings: Mapping[str, SourceWriting]
    clock: Callable[[], float]
    pause: Callable[[float], None] = time.sleep


class Delivery:
    """Delivers in one slot, with clients of its own; they report every call to `called`.

    `new_fetcher` makes what reads the records of events that told ids alone.
    """

    def __init__(
        self,
        workshop: Workshop,
        new_client: Callable[[Delivery], Pipedrive],
        new_fetcher: Callable[[Delivery], Fetcher] | None = None,
    ) -> None:
        self._shop = workshop
        self._run: Run | None = None
        self._attempts: list[Attempt] = []
        self._pipedrive = new_client(self)
        self._fetch = new_fetcher(self) if new_fetcher else None

    def __call__(self, submission_id: str) -> None:
        """Delivers the submission if it is wanted. Every failure becomes its fate in the ledger."""
        try:
            record = self._shop.ledger.get(submission_id)
            if record is not None and record.state is State.QUEUED and not erased_before(self._shop.ledger, record):
                self._take(record)
        except StoreUnavailable:
            # The sweeper brings the submission back; what was learned is in the record.
            log.warning("Redis is away", submission=submission_id)

    def _take(self, record: Record) -> None:
        shop, submission_id = self._shop, record.id
        token = secrets.token_hex(8)
        self._attempts = []
        lease = shop.leases.begin(submission_id, token)
        try:
            if self._claim(record, token) is not Verdict.CLAIMED:
                return
            tidings = self._tidings(submission_id)
            lease.horizon, lease.leap = tidings.horizon, tidings.leap
            # Read again: what an earlier worker learned may have been written between our first look and the claim.
            record = shop.ledger.get(submission_id) or record
            self._deliver(record, token, float(tidings.horizon) if tidings.doubt else None)
        except LeaseLost:
            log.warning("lease lost", submission=submission_id)
        except StoreUnavailable as error:
            self._put_back(record, token, error)
        finally:
            self._run = None
            shop.leases.end(lease)

    def _tidings(self, submission_id: str) -> Tidings:
        """What the store says of itself, once all agree. Raises `StoreUnavailable`."""
        for _ in range(AGREE_TRIES):
            tidings = self._shop.ledger.tidings(submission_id)
            if tidings.agreed:
                return tidings
            self._shop.pause(AGREE_SECONDS)
        raise StoreUnavailable("Redis was restarted, and the workers have not all been heard")

    def _put_back(self, record: Record, token: str, error: StoreUnavailable) -> None:
        """Says that the submission waits, as soon as Redis can be told: left to its lease, it would count as a worker's death."""
        for _ in range(PUT_BACK_TRIES):
            self._shop.pause(1.0)
            try:
                return self._fail(record, token, "store", error)
            except StoreUnavailable:
                continue
            except LeaseLost:
                return
        raise error

    def called(self, report: CallReport) -> None:
        """Takes what the Pipedrive client reports of each call."""
        self.attempted(
            Attempt(
                at=self._shop.clock(),
                step=report.call,
                outcome=report.outcome,
                status=report.status,
                detail=report.detail,
                duration_ms=report.duration_ms,
            )
        )

    def attempted(self, attempt: Attempt) -> None:
        """Goes on record with the delivery in hand."""
        self._attempts.append(attempt)

    @property
    def begun(self) -> bool:
        """Whether the delivery in hand has called Pipedrive before, now or in an earlier attempt."""
        run = self._run
        if run is None:
            return False
        return bool(run.attempts or run.record.announced or run.person_id or run.organization_id or run.lead_id)

    @property
    def in_hand(self) -> str:
        """The id of the submission in delivery, else empty."""
        return self._run.record.id if self._run is not None else ""

    def must_hold(self, seconds: float) -> None:
        """Asked right before a create is sent. Raises `LeaseLost`."""
        if self._run is not None:
            self._run.lease.must_hold(seconds)

    def _claim(self, record: Record, token: str) -> Verdict:
        who = identity(record.lead) if record.lead else None
        company = normal_name(record.lead.company) if record.lead and record.lead.company else ""
        return self._shop.ledger.claim(
            record.id,
            token,
            LEASE_SECONDS,
            person_line=keys.line(*who) if who else "",
            organization_line=keys.line("organization", company) if company else "",
            organization_memory=keys.organization(company) if company else "",
        )

    def _deliver(self, record: Record, token: str, horizon: float | None) -> None:
        shop = self._shop
        step = "plan"
        try:
            if record.fetch is not None and not record.sealed:
                step = "fetch"
                return self._fetched(record, token, self._record_of(record))
            run = self._begin(record, token, horizon)
            self._run = run
            step = "settle"
            if horizon is not None and shop.ledger.now() < horizon:
                raise Restored("submission", horizon)
            settle(run, shop.policy)
            step = "names"
            resolved = self._names(run)
            if resolved.left_out:
                run.plan = leave_out(run.plan, run.lead, resolved.left_out)
            step = "organization"
            steps.organization(run, resolved)
            step = "person"
            known = steps.person(run, resolved)
            step = "lead"
            doubt.look(run)
            steps.lead_or_label(run, known, resolved)
            step = "note"
            steps.note(run)
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            self._fail(record, token, step, error)
        else:
            self._delivered(run)

    def _begin(self, record: Record, token: str, horizon: float | None) -> Run:
        shop = self._shop
        if record.sealed:
            raise Sealed("its stored content cannot be opened by this worker")
        if record.lead is None:
            raise Unmappable("the submission has no lead", setting=f"sources.{record.source}.map")
        return Run(
            record=record,
            lead=record.lead,
            plan=self._plan(record, record.lead),
            lease=shop.leases.held(token),
            leases=shop.leases,
            ledger=shop.ledger,
            memory=shop.memory.of(record.id),
            pipedrive=self._pipedrive,
            clock=shop.clock,
            attempts=self._attempts,
            doubt=horizon,
        )

    def _record_of(self, record: Record) -> Fetched:
        if self._fetch is None or record.fetch is None:
            raise Unmappable("this worker cannot fetch records", setting=f"sources.{record.source}.fetch")
        return self._fetch(record.source, record.fetch)

    def _fetched(self, record: Record, token: str, fetched: Fetched) -> None:
        """The record of an event that told ids alone. A lead goes back into the queue: whose line it joins is known only now."""
        shop = self._shop
        lead = seal(fetched.lead, shop.ledger.vault) if fetched.lead is not None else None
        facts: dict[str, Fact] = {"lead": lead, "fetch": None}
        state, cause, counter = State.QUEUED, None, ""
        if fetched.outcome == "ignored":
            state = State.IGNORED
        elif fetched.outcome == "no_contact":
            state, cause = State.DEAD, no_contact(record.source, "fetch", fetched.why)
            counter = series(DELIVERIES, source=record.source, result="dead")
        woken = shop.ledger.finish(
            record.id, token, state, why=fetched.why or "fetched", used=0, cause=cause, counter=counter, facts=facts,
            attempts=self._attempts,
        )  # fmt: skip
        self._log(record, f"fetched: {fetched.outcome}", record.attempts + 1)
        shop.sweeper.dispatch([*woken, record.id] if state is State.QUEUED else woken)

    def _plan(self, record: Record, lead: Lead) -> Plan:
        writing = self._shop.writings.get(record.source)
        if writing is None:
            raise Unmappable(f"the source file has no source {record.source!r}", setting=f"sources.{record.source}")
        return plan(writing, lead, submission_id=record.id, received_at=record.received_at, now=self._shop.clock())

    def _names(self, run: Run) -> Resolved:
        """After a person's replay, a name that is missing is looked for at once: it was probably just added in Pipedrive."""
        catalogue = self._shop.catalogue
        try:
            return resolve(run.plan, catalogue)
        except UnknownName as error:
            if not run.record.replayed or run.record.attempts:
                raise
            gap = min(REPLAY_GAP_SECONDS, self._since_replay(run.record))
            catalogue.refresh([kind for kind, word in WORDS.items() if word == error.kind], gap=gap)
            return resolve(run.plan, catalogue)

    def _since_replay(self, record: Record) -> float:
        """Seconds since a person asked for it again. What was read before that may lack what they have just added."""
        ledger = self._shop.ledger
        asked = [moment.at for moment in ledger.timeline(record.id) if moment.state is State.QUEUED and moment.by not in OURS]
        return max(0.0, ledger.now() - max(asked, default=0.0))

    def _delivered(self, run: Run) -> None:
        shop = self._shop
        assert run.result is not None
        for sentence in run.plan.left_out:
            run.note_down("plan", "left out", SENT.sub("given", sentence))
        woken = shop.ledger.finish(
            run.record.id,
            run.lease.token,
            State.DELIVERED,
            why=run.result,
            counter=series(DELIVERIES, source=run.record.source, result=run.result),
            attempts=run.attempts,
        )
        took = max(0.0, shop.clock() - run.record.received_at)
        shop.meter.observe(DELIVERY_SECONDS, took)
        self._log(run.record, run.result, run.record.attempts + 1, took=round(took, 3))
        shop.sweeper.dispatch(woken)

    def _ourselves(self, error: Exception) -> Exception:
        """A 403 while we may not even ask who we are refuses us, and not this lead."""
        if not isinstance(error, Forbidden):
            return error
        try:
            self._pipedrive.users.me()
        except Forbidden as refusal:
            return Unauthorized(refusal.call, refusal.detail, status=refusal.status)
        except LeadlineError as other:
            return other
        return error

    def _fail(self, record: Record, token: str, step: str, error: Exception) -> None:
        shop = self._shop
        error = self._ourselves(error)
        if not isinstance(error, LeadlineError):
            log.error("delivery failed", submission=record.id, step=step, error=type(error).__name__, exc_info=True)
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
            forgotten=record.forgotten,
            outage=isinstance(error, NotSent | Unavailable) and shop.ledger.gate.outage(record.id),
        )
        self._apply(record, token, step, fate)

    def _apply(self, record: Record, token: str, step: str, fate: Fate) -> None:
        """The only place where a fate becomes a move of the ledger."""
        shop = self._shop
        announced = (shop.ledger.get(record.id) or record).announced is not None

        def finish(state: State, result: str, cause: Cause | None, *, free: bool = False, **more: object) -> None:
            woken = shop.ledger.finish(
                record.id,
                token,
                state,
                cause=cause,
                counter=series(DELIVERIES, source=record.source, result=result),
                attempts=self._attempts,
                keep_line=announced and state is State.WAITING and not free,
                **more,  # type: ignore[arg-type]
            )
            self._log(record, result, record.attempts + 1, step=step, code=cause.code if cause else None)
            shop.sweeper.dispatch(woken)

        match fate:
            case Retry(at=at, cause=cause, used=used):
                finish(State.WAITING, "retry", cause, why=cause.detail, next_at=at, reason="retry", used=used)
            case Settle(until=until, cause=cause, used=used, free=free):
                finish(State.WAITING, "wait", cause, next_at=until, reason="retry" if free else "settle", used=used, free=free)
            case Wait(until=until, reason=reason, gate=gate, probe=probe, cause=cause):
                if gate:
                    shop.ledger.gate.shut(record.id, reason, until, probe=probe)
                finish(State.WAITING, "wait", cause, next_at=until, reason=reason, used=0)
            case Again():
                self._forget(record)
                nothing = {"person_id": None, "person_created": None, "organization_id": None, "lead_id": None, "result": None}
                finish(State.QUEUED, "retry", None, why="gone; resolved afresh", used=0, facts=nothing | {"forgotten": 1})
                shop.sweeper.dispatch([record.id])
            case Dead(cause=cause):
                finish(State.DEAD, "dead", cause, why=cause.detail)
            case Drop():
                raise LeaseLost(record.id)

    def _forget(self, record: Record) -> None:
        if record.lead is None:
            return
        who = identity(record.lead)
        if who:
            self._shop.memory.forget_person(*who)
        if record.lead.company:
            self._shop.memory.forget_organization(record.lead.company)

    def _log(self, record: Record, result: str, attempt: int, **more: object) -> None:
        log.info(
            "delivery", submission=record.id, source=record.source, result=result, attempt=attempt,
            of=len(self._shop.policy.retry_delays) + 1, **more,
        )  # fmt: skip

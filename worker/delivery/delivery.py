"""One delivery, from the claim to its fate.

wanted? -> settle an announced create -> names -> organisation -> person -> lead or label -> note -> delivered
                                    \\ any error -> worker.fate -> wait, retry, dead (worker.delivery.outcome)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from worker.contract import Attempt, Lead, State
from worker.delivery import steps, unknown_outcome
from worker.delivery.context import Run, Workshop, identity
from worker.delivery.fetch import Fetched, Fetcher
from worker.delivery.outcome import End
from worker.delivery.resolve import resolve
from worker.delivery.unknown_outcome import settle
from worker.erasure.erasure import erased_before
from worker.errors import CannotDecrypt, LeaseLost, Restored, StoreUnavailable, Unmappable
from worker.lead.plan import Plan, leave_out, plan
from worker.ledger import ClaimResult, Record
from worker.ledger.contact_cache import normalize_name
from worker.ledger.rollback import StoreStatus
from worker.pipedrive.client import CallReport, Pipedrive
from worker.queue.leases import LEASE_SECONDS
from worker.store import keys

PUT_BACK_TRIES = 20
"""A second apart: while Redis is away a slot has nothing else to do, and later the lease has run
out anyway.
"""

AGREE_TRIES, AGREE_SECONDS = 60, 0.5
"""After a restart of Redis a slot waits so often, so long, until all workers have said that nothing
is missing.
"""

log = structlog.get_logger("leadline.delivery")


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
            if (
                record is not None
                and record.state is State.QUEUED
                and not erased_before(self._shop.ledger, record)
            ):
                self._take(record)
        except StoreUnavailable:
            # The sweeper brings the submission back; what was learned is in the record.
            log.warning("Redis is away", submission=submission_id)

    def _take(self, record: Record) -> None:
        shop, submission_id = self._shop, record.id
        token = secrets.token_hex(8)
        self._attempts = []
        lease = shop.leases.begin(submission_id, token)
        end = self._end_of(record, token)
        try:
            if self._claim(record, token) is not ClaimResult.CLAIMED:
                return
            tidings = self._tidings(submission_id)
            lease.horizon, lease.leap = tidings.restored_at, tidings.clock_jump_at
            # Read again: what an earlier worker learned may have been written between our first
            # look and the claim.
            end = self._end_of(shop.ledger.get(submission_id) or record, token)
            self._deliver(end, float(tidings.restored_at) if tidings.needs_lookup else None)
        except LeaseLost:
            log.warning("lease lost", submission=submission_id)
        except StoreUnavailable as error:
            self._put_back(end, error)
        finally:
            self._run = None
            shop.leases.end(lease)

    def _tidings(self, submission_id: str) -> StoreStatus:
        """What the store says of itself, once all agree. Raises `StoreUnavailable`."""
        for _ in range(AGREE_TRIES):
            tidings = self._shop.ledger.store_status(submission_id)
            if tidings.agreed:
                return tidings
            self._shop.pause(AGREE_SECONDS)
        raise StoreUnavailable("Redis was restarted, and the workers have not all been heard")

    def _put_back(self, end: End, error: StoreUnavailable) -> None:
        """Says that the submission waits, as soon as Redis can be told: left to its lease, it would
        count as a worker's death.
        """
        for _ in range(PUT_BACK_TRIES):
            self._shop.pause(1.0)
            try:
                return end.failed("store", error)
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
        """Whether the delivery in hand has called Pipedrive before, now or in an earlier
        attempt.
        """
        run = self._run
        if run is None:
            return False
        return bool(
            run.attempts
            or run.record.announced
            or run.person_id
            or run.organization_id
            or run.lead_id
        )

    @property
    def in_hand(self) -> str:
        """The id of the submission in delivery, else empty."""
        return self._run.record.id if self._run is not None else ""

    def must_hold(self, seconds: float) -> None:
        """Asked right before a create is sent. Raises `LeaseLost`."""
        if self._run is not None:
            self._run.lease.must_hold(seconds)

    def _claim(self, record: Record, token: str) -> ClaimResult:
        who = identity(record.lead) if record.lead else None
        company = normalize_name(record.lead.company) if record.lead and record.lead.company else ""
        return self._shop.ledger.claim(
            record.id,
            token,
            LEASE_SECONDS,
            person_queue=keys.DEFAULT_ACCOUNT.person_queue(*who) if who else "",
            organization_queue=keys.DEFAULT_ACCOUNT.person_queue("organization", company) if company else "",
            organization_key=keys.DEFAULT_ACCOUNT.organization(company) if company else "",
        )

    def _end_of(self, record: Record, token: str) -> End:
        return End(self._shop, record, token, self._attempts, self._pipedrive.users.me)

    def _deliver(self, end: End, horizon: float | None) -> None:
        shop, record = self._shop, end.record
        step = "plan"
        try:
            if record.fetch is not None and not record.sealed:
                step = "fetch"
                return end.fetched(self._record_of(record))
            run = self._begin(record, end.token, horizon)
            self._run = run
            step = "settle"
            if horizon is not None and shop.ledger.now() < horizon:
                raise Restored("submission", horizon)
            settle(run, shop.policy)
            step = "names"
            resolved = resolve(run, shop.catalogue)
            if resolved.left_out:
                run.plan = leave_out(run.plan, run.lead, resolved.left_out)
            step = "organization"
            steps.organization(run, resolved)
            step = "person"
            known = steps.person(run, resolved)
            step = "lead"
            unknown_outcome.look(run)
            steps.lead_or_label(run, known, resolved)
            step = "note"
            steps.note(run)
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            end.failed(step, error)
        else:
            end.delivered(run)

    def _begin(self, record: Record, token: str, horizon: float | None) -> Run:
        shop = self._shop
        if record.sealed:
            raise CannotDecrypt("its stored content cannot be opened by this worker")
        if record.lead is None:
            raise Unmappable("the submission has no lead", setting=f"sources.{record.source}.map")
        return Run(
            record=record,
            lead=record.lead,
            plan=self._plan(record, record.lead),
            lease=shop.leases.get(token),
            leases=shop.leases,
            ledger=shop.ledger,
            memory=shop.memory.for_submission(record.id),
            pipedrive=self._pipedrive,
            clock=shop.clock,
            attempts=self._attempts,
            doubt=horizon,
        )

    def _record_of(self, record: Record) -> Fetched:
        if self._fetch is None or record.fetch is None:
            raise Unmappable(
                "this worker cannot fetch records", setting=f"sources.{record.source}.fetch"
            )
        return self._fetch(record.source, record.fetch)

    def _plan(self, record: Record, lead: Lead) -> Plan:
        writing = self._shop.writings.get(record.source)
        if writing is None:
            raise Unmappable(
                f"the source file has no source {record.source!r}",
                setting=f"sources.{record.source}",
            )
        return plan(
            writing,
            lead,
            submission_id=record.id,
            received_at=record.received_at,
            now=self._shop.clock(),
        )

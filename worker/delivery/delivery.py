"""One delivery, from the claim to its fate.

claim -> fetch the record, or settle an announced create -> names -> organisation -> person
    -> lead or label -> note -> delivered
any error -> worker.fate -> wait, retry, dead (worker.delivery.outcome)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC

import structlog

from worker.contract import Attempt, Lead, State
from worker.delivery import attachments, contacts, create_or_label, unknown_outcome
from worker.delivery.context import DeliveryContext, DeliveryRun
from worker.delivery.fetch import Fetcher, FetchResult
from worker.delivery.outcome import DeliveryOutcome, no_ids
from worker.delivery.resolve import resolve_names, rewrite_ignored_fields
from worker.delivery.unknown_outcome import settle_announced_create
from worker.erasure.erasure import erase_if_marked
from worker.errors import CannotDecrypt, LeaseLost, Restored, StoreUnavailable, Unmappable
from worker.lead.plan import LeadPlan, build_plan, find_mapping, leave_out, needs_time_zone
from worker.lead.rules import find_match
from worker.lead.uploads import read_uploads
from worker.ledger import ClaimResult, Record
from worker.ledger.contact_cache import normalize_name
from worker.ledger.identifiers import PersonIdentity, person_identities
from worker.ledger.rollback import StoreStatus
from worker.pipedrive.client import CallReport, Pipedrive
from worker.queue.leases import LEASE_SECONDS, Lease

# Tries are one second apart: while Redis is down a slot has nothing else to do, and after that the
# lease has expired anyway.
MAX_PUT_BACK_TRIES = 20

# After a restart of Redis, how often and how long a slot waits for all workers to report that
# nothing is missing.
MAX_AGREEMENT_TRIES, AGREEMENT_WAIT_SECONDS = 60, 0.5

log = structlog.get_logger("leadline.delivery")


class Delivery:
    """Delivers submissions in one slot, with its own clients.

    The Pipedrive client reports every call to `record_call`; `new_fetcher` makes the reader of
    records for events that contain only ids.
    """

    def __init__(
        self,
        context: DeliveryContext,
        new_client: Callable[[Delivery], Pipedrive],
        new_fetcher: Callable[[Delivery], Fetcher] | None = None,
    ) -> None:
        self._context = context
        self._run: DeliveryRun | None = None
        self._attempts: list[Attempt] = []
        self._pipedrive = new_client(self)
        self._fetch = new_fetcher(self) if new_fetcher else None

    def __call__(self, submission_id: str) -> None:
        """Deliver the submission if it is queued; a failure becomes its fate in the ledger."""
        try:
            record = self._context.ledger.get(submission_id)
            if (
                record is not None
                and record.state is State.QUEUED
                and not erase_if_marked(self._context.ledger, record)
            ):
                self._take(record)
        except StoreUnavailable:
            # The sweeper will queue it again; what was learned is in the record.
            log.warning("Redis is down", submission_id=submission_id)

    def _take(self, record: Record) -> None:
        context, submission_id = self._context, record.id
        token = secrets.token_hex(8)
        self._attempts = []
        lease = context.leases.begin(submission_id, token)
        outcome = self._outcome_of(record, token)
        try:
            if self._claim(record, token) is not ClaimResult.CLAIMED:
                return
            lease.store = self._store_status(submission_id)
            # Read again: an earlier worker may have written something between our first read and
            # the claim.
            outcome = self._outcome_of(context.ledger.get(submission_id) or record, token)
            self._deliver(outcome, lease)
        except LeaseLost:
            log.warning("lease lost", submission_id=submission_id)
        except StoreUnavailable as error:
            self._put_back(outcome, error)
        finally:
            self._run = None
            context.leases.end(lease)

    def _store_status(self, submission_id: str) -> StoreStatus:
        """Return the state of the store once all workers agree on it.

        Raises `StoreUnavailable`.
        """
        for _ in range(MAX_AGREEMENT_TRIES):
            status = self._context.ledger.store_status(submission_id)
            if status.agreed:
                return status
            self._context.pause(AGREEMENT_WAIT_SECONDS)
        raise StoreUnavailable("Redis was restarted, and not all workers have reported yet")

    def _put_back(self, outcome: DeliveryOutcome, error: StoreUnavailable) -> None:
        """Record that the submission waits, as soon as Redis answers.

        If its lease simply ran out, that would count as the death of a worker.
        """
        for _ in range(MAX_PUT_BACK_TRIES):
            self._context.pause(1.0)
            try:
                return outcome.fail("store", error)
            except StoreUnavailable:
                continue
            except LeaseLost:
                return
        raise error

    def record_call(self, report: CallReport) -> None:
        """Record a call that the Pipedrive client reports."""
        self.record_attempt(
            Attempt(
                at=self._context.clock(),
                step=report.call,
                outcome=report.outcome,
                status=report.status,
                detail=report.detail,
                duration_ms=report.duration_ms,
            )
        )

    def record_attempt(self, attempt: Attempt) -> None:
        """Add an attempt to the current delivery."""
        self._attempts.append(attempt)

    @property
    def has_begun(self) -> bool:
        """Whether the current delivery has called Pipedrive, now or in an earlier attempt."""
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
    def submission_id(self) -> str:
        """The id of the submission in delivery; empty if there is none."""
        return self._run.record.id if self._run is not None else ""

    @property
    def is_unverified(self) -> bool:
        """Whether anybody may have sent the current submission, and no person has let it pass.

        Where no source verifies its senders, nothing is kept for those that do.
        """
        record = self._run.record if self._run is not None else None
        return (
            record is not None
            and not record.verified
            and not record.replayed
            and any(mapping.verified for mapping in self._context.mappings.values())
        )

    def require_lease(self, seconds: float) -> None:
        """Check the lease right before a create is sent. Raises `LeaseLost`."""
        if self._run is not None:
            self._run.lease.must_hold(seconds)

    def _claim(self, record: Record, token: str) -> ClaimResult:
        account = self._context.ledger.account
        # By kind, so that all submissions join the queues in the same order.
        identities = sorted(self._identities(record))
        person_queue, phone_queue = [
            *(account.person_queue(*identity) for identity in identities),
            "",
            "",
        ][:2]
        company = normalize_name(record.lead.company) if record.lead and record.lead.company else ""
        return self._context.ledger.claim(
            record.id,
            token,
            LEASE_SECONDS,
            person_queue=person_queue,
            phone_queue=phone_queue,
            organization_queue=account.person_queue("organization", company) if company else "",
            organization_key=account.organization(company) if company else "",
        )

    def _identities(self, record: Record) -> tuple[PersonIdentity, ...]:
        mapping = self._context.mappings.get(record.source)
        if record.lead is None:
            return ()
        match = find_match(mapping, record.lead, record.id, record.received_at) if mapping else None
        return person_identities(record.lead, match)

    def _outcome_of(self, record: Record, token: str) -> DeliveryOutcome:
        return DeliveryOutcome(
            self._context, record, token, self._attempts, self._pipedrive.check_credentials
        )

    def _deliver(self, outcome: DeliveryOutcome, lease: Lease) -> None:
        context, record = self._context, outcome.record
        step = "plan"
        try:
            if record.fetch is not None and not record.unreadable:
                step = "fetch"
                return outcome.store_fetched(self._fetch_record(record))
            run = self._begin(record, lease)
            self._run = run
            step = "settle"
            if run.lookup_before is not None and context.ledger.now() < run.lookup_before:
                raise Restored("submission", run.lookup_before)
            if run.plan.files:
                run.uploads, left_out = read_uploads(record.raw)
                run.plan = leave_out(run.plan, run.lead, left_out)
            settle_announced_create(run, context.policy)
            step = "names"
            names = resolve_names(run, context.metadata)
            if names.left_out:
                run.plan = leave_out(
                    run.plan, run.lead, names.left_out, without_value=names.lacks_currency
                )
            step = "organization"
            contacts.resolve_organization(run, names)
            step = "person"
            person = contacts.resolve_person(run, names)
            contacts.enrich_contacts(run, names)
            step = "lead"
            unknown_outcome.adopt_lost_work(run)
            unknown_outcome.adopt_moved_lead(run)
            create_or_label.create_or_label_lead(run, person, names)
            rewrite_ignored_fields(run, names, context.metadata)
            step = "note"
            attachments.add_note(run)
            step = "file"
            attachments.attach_files(run)
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            outcome.fail(step, error, self._run.find_stale_ids if self._run else no_ids)
        else:
            outcome.succeed(run)

    def _begin(self, record: Record, lease: Lease) -> DeliveryRun:
        context = self._context
        if record.unreadable:
            raise CannotDecrypt("this worker cannot decrypt its stored content")
        if record.lead is None:
            raise Unmappable("the submission has no lead", setting=f"sources.{record.source}.map")
        return DeliveryRun(
            record=record,
            lead=record.lead,
            plan=self._plan(record, record.lead),
            lease=lease,
            leases=context.leases,
            ledger=context.ledger,
            contacts=context.contacts.for_submission(record.id),
            pipedrive=self._pipedrive,
            clock=context.clock,
            attempts=self._attempts,
        )

    def _fetch_record(self, record: Record) -> FetchResult:
        if self._fetch is None or record.fetch is None:
            raise Unmappable(
                "this worker cannot fetch records", setting=f"sources.{record.source}.fetch"
            )
        return self._fetch(record.source, record.fetch)

    def _plan(self, record: Record, lead: Lead) -> LeadPlan:
        mapping = find_mapping(self._context.mappings, record.source)
        return build_plan(
            mapping,
            lead,
            submission_id=record.id,
            received_at=record.received_at,
            now=self._context.clock(),
            zone=self._context.metadata.time_zone() if needs_time_zone(mapping) else UTC,
        )

"""What one delivery needs, and what it has done so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from worker.contract import Attempt, Lead
from worker.delivery.refused import StaleIds, find_stale_ids
from worker.errors import Gated, OutcomeUnknown, OutOfAllowance, PipedriveError
from worker.fate import Policy
from worker.lead.plan import LeadPlan
from worker.lead.settings import LeadMapping
from worker.lead.uploads import UploadedFile
from worker.ledger import Ledger, Record
from worker.ledger.contact_cache import ContactCache
from worker.ledger.identifiers import PersonIdentity, person_identities
from worker.metrics import Meter
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.metadata_cache import MetadataCache
from worker.queue.leases import Lease, Leases
from worker.queue.sweeper import Sweeper

Created = TypeVar("Created")


@dataclass
class DeliveryRun:
    """One delivery of one submission.

    `record` is as it was when claimed; the fields from `organization_id` on hold what the steps
    find or create.
    """

    record: Record
    lead: Lead
    plan: LeadPlan
    lease: Lease
    leases: Leases
    ledger: Ledger
    contacts: ContactCache
    pipedrive: Pipedrive
    clock: Callable[[], float]
    organization_id: int | None = None
    person_id: int | None = None
    person_created: bool = False
    lead_id: str | None = None
    result: str | None = None
    note_id: int | None = None
    owner_id: int | None = None
    files_done: int = 0
    uploads: tuple[UploadedFile, ...] = ()
    # Where note and files go if the lead is gone: one field of a request, with an id.
    moved_to: dict[str, int | str] | None = None
    attempts: list[Attempt] = field(default_factory=list)
    # The steps in which this delivery, not an earlier attempt, created something.
    created_steps: set[str] = field(default_factory=set)
    # The keys of custom fields that are missing in the lead as Pipedrive created it.
    ignored_fields: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.organization_id = self.record.organization_id
        self.person_id = self.record.person_id
        self.person_created = self.record.person_created
        self.lead_id = self.record.lead_id
        self.result = self.record.result
        self.note_id = self.record.note_id
        self.owner_id = self.record.owner_id
        self.files_done = self.record.files_done

    @property
    def identities(self) -> tuple[PersonIdentity, ...]:
        """How the person is identified, in the order in which they are looked for."""
        return person_identities(self.lead, self.plan.person.match if self.plan.person else None)

    @property
    def lookup_before(self) -> float | None:
        """The time (Unix seconds) before which work may be lost; None if no lookup is needed.

        A submission from before it may already be delivered: `worker.delivery.unknown_outcome`.
        """
        return self.lease.store.lookup_before

    @property
    def refused(self) -> Mapping[str, int | str | None]:
        """What Pipedrive refused in an earlier attempt; it is resolved afresh."""
        return self.record.refused.ids if self.record.refused is not None else {}

    def find_stale_ids(self, error: Exception) -> StaleIds:
        """Return the remembered ids that a call may have been refused for, save the `refused`."""
        created = self.created_steps | ({"person"} if self.person_created else set())
        stale = find_stale_ids(error, created)
        return {what: value for what, value in stale.items() if what not in self.refused}

    def create(self, step: str, send: Callable[[], Created]) -> Created:
        """Announce a create and send it.

        A definite rejection withdraws the announcement; an unknown outcome leaves it. Raises
        `LeaseLost`: then nothing was sent.
        """
        self.leases.announce(self.lease, step)
        try:
            created = send()
        except OutcomeUnknown:
            raise
        except (PipedriveError, OutOfAllowance, Gated):
            self.record_facts(step)
            raise
        self.created_steps.add(step)
        return created

    def record_facts(self, step: str, **facts: str | int | None) -> None:
        """Store the result of a step before the next step begins.

        `step` is the announced create that this settles; empty for facts that were not announced.
        """
        self.ledger.learn(self.record.id, self.lease.token, step, facts)
        for name, value in facts.items():
            setattr(self, name, value)

    def record_attempt(self, step: str, outcome: str, detail: str | None = None) -> None:
        """Add a decision to the attempts of this delivery."""
        self.attempts.append(Attempt(at=self.clock(), step=step, outcome=outcome, detail=detail))


@dataclass(frozen=True)
class DeliveryContext:
    """What the deliveries of one process share.

    `clock` returns Unix seconds; `pause` sleeps for the given seconds; `mappings` says how each
    source's leads are written, by source name.
    """

    ledger: Ledger
    leases: Leases
    contacts: ContactCache
    metadata: MetadataCache
    sweeper: Sweeper
    meter: Meter
    policy: Policy
    mappings: Mapping[str, LeadMapping]
    clock: Callable[[], float]
    pause: Callable[[float], None] = time.sleep

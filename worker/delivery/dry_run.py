"""Dry runs: what a delivery would do now and what would make it fail, without asking Pipedrive.

Names are resolved from the account's metadata as last read; persons, organisations and leads from
our cache. What only a search can tell stays open ("searched, and created if nobody has it").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from typing import Any

import redis
from msgspec import Struct

from worker.causes import cause_of
from worker.contract import Cause, Lead
from worker.delivery.planned_steps import KnownIds, PlannedStep, describe_steps
from worker.delivery.resolve import resolve_plan
from worker.errors import LeadlineError, Unavailable, UnknownName
from worker.lead.owner_turns import describe_owners
from worker.lead.plan import LeadPlan, build_plan, find_mapping, leave_out, needs_time_zone
from worker.lead.settings import LeadMapping
from worker.lead.uploads import Uploads, read_uploads
from worker.ledger import Record
from worker.ledger.contact_cache import ContactCache
from worker.ledger.identifiers import person_identities
from worker.pipedrive.metadata import MetadataKind, MetadataLookup, MetadataTable
from worker.pipedrive.metadata_cache import decode_table
from worker.pipedrive.request_bodies import ResolvedNames
from worker.store import keys
from worker.store.connection import translate_errors


class DryRun(Struct, frozen=True, kw_only=True):
    """What a delivery would do.

    `problems` are what it would die of, in order. `left_out` is what would not be written; the note
    would say so. `names_read_at` (Unix seconds) is when the oldest metadata that was used was read;
    None if none was needed.
    """

    steps: list[PlannedStep]
    problems: list[Cause]
    left_out: list[str]
    tokens: int
    title: str | None = None
    labels: list[str] = []
    channel: str | None = None
    channel_id: str | None = None
    owner: str | None = None
    names_read_at: float | None = None


class DryRunner:
    """Makes dry runs. Every method may raise `StoreUnavailable`. `clock` returns Unix seconds."""

    def __init__(
        self,
        connection: redis.Redis,
        mappings: Mapping[str, LeadMapping],
        clock: Callable[[], float],
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self._redis = connection
        self._mappings = mappings
        self._contacts = ContactCache(connection)
        self._clock = clock
        self._account = account

    def run(self, record: Record, lead: Lead) -> DryRun:
        """Describe the delivery of `record` if its lead were `lead`."""
        stored = _StoredNames(self._redis, self._account, record.source)
        try:
            mapping = find_mapping(self._mappings, record.source)
            plan = build_plan(
                mapping,
                lead,
                submission_id=record.id,
                received_at=record.received_at,
                now=self._clock(),
                zone=stored.time_zone() if needs_time_zone(mapping) else UTC,
            )
        except LeadlineError as error:
            return DryRun(
                steps=[],
                problems=[cause_of(error, step="plan", source=record.source)],
                left_out=[],
                tokens=0,
            )
        names = stored.resolve(plan)
        if names.left_out:
            plan = leave_out(plan, lead, names.left_out, without_value=names.lacks_currency)
        uploads = read_uploads(record.raw) if plan.files else Uploads()
        if uploads.left_out:
            plan = leave_out(plan, lead, uploads.left_out)
        known_ids = self._known_ids(record, lead, plan)
        steps = [step for step, _ in describe_steps(plan, names, known_ids, uploads.files)]
        return DryRun(
            steps=steps,
            problems=stored.problems,
            left_out=list(plan.left_out),
            tokens=sum(step.tokens for step in steps),
            title=plan.title,
            labels=list(plan.labels),
            channel=plan.channel,
            channel_id=plan.channel_id,
            owner=describe_owners(plan.owner, plan.owners),
            names_read_at=stored.oldest,
        )

    def _known_ids(self, record: Record, lead: Lead, plan: LeadPlan) -> KnownIds:
        identities = person_identities(lead, plan.person.match if plan.person else None)
        cached = (self._contacts.find_person(*identity) for identity in identities)
        person = next((each for each in cached if each is not None), None)
        return KnownIds(
            recorded_organization=record.organization_id,
            organization=(
                self._contacts.find_organization(plan.organization) if plan.organization else None
            ),
            recorded_person=record.person_id,
            person=person.person_id if person else None,
            created_by_us=person is not None and person.created,
            open_lead=person.lead_id if person else None,
            recorded_lead=record.lead_id,
            recorded_note=record.note_id,
            files_done=record.files_done,
            result=record.result,
        )


class _StoredNames:
    """Resolves the names of a plan, and collects all problems instead of stopping at the first."""

    def __init__(self, connection: redis.Redis, account: keys.Account, source: str) -> None:
        self._redis = connection
        self._account = account
        self._source = source
        self._lookup = MetadataLookup(self._read)
        self.problems: list[Cause] = []
        self.oldest: float | None = None

    def resolve(self, plan: LeadPlan) -> ResolvedNames:
        def label_id(name: str, setting: str) -> str:
            try:
                return self._lookup.label_id(name, setting=setting)
            except UnknownName:
                if plan.create_labels:
                    return name
                raise

        return resolve_plan(plan, self._lookup, label_id, self._look_up)

    def time_zone(self) -> tzinfo:
        """Return the account's time zone; UTC if it was never read."""
        try:
            return self._lookup.time_zone()
        except Unavailable:
            return UTC

    def _look_up(self, question: Callable[[], Any], name: Any) -> Any:
        """Return the answer, or the name itself if the account's metadata was never read."""
        try:
            return question()
        except Unavailable:
            return name
        except LeadlineError as error:
            self.problems.append(cause_of(error, step="names", source=self._source))
            return None

    def _read(self, kind: MetadataKind) -> MetadataTable:
        with translate_errors():
            stored = self._redis.hget(self._account.metadata, kind)
        table = decode_table(stored if isinstance(stored, bytes) else None)
        if table is None:
            raise Unavailable("metadata", f"the account's {kind} were not read yet")
        self.oldest = min(table.at, self.oldest or table.at)
        return table

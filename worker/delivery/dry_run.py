"""What a delivery would do now: its calls, and what would refuse it, told from what is stored and
without asking Pipedrive.

Names are resolved by the catalogue as it was last read; persons, organisations and leads by our
memory. What only a search can tell stays open ("search, and create if nobody has this e-mail").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import redis
from msgspec import Struct

from worker.causes import cause_of
from worker.contract import Cause, Json, Lead, Result
from worker.delivery.context import person_identity
from worker.delivery.preview import LEAD, ORGANIZATION, PERSON
from worker.errors import LeadlineError, Unavailable, Unmappable
from worker.lead.plan import LeadPlan, build_plan
from worker.lead.settings import LeadMapping
from worker.ledger import Record
from worker.ledger.contact_cache import CachedPerson, ContactCache
from worker.pipedrive import calls
from worker.pipedrive.metadata import MetadataKind, MetadataLookup, MetadataTable
from worker.pipedrive.request_bodies import lead_body, note_body, organization_body, person_body
from worker.store import keys
from worker.store.connection import translate_errors


class PlannedStep(Struct, frozen=True):
    """One step of the delivery. `what` is done, search, create, label or none; `text` says it in
    words.

    `path` and `body` are those of the call that would write, with names resolved to ids; None where
    nothing is written. `tokens` is the most it may cost.
    """

    step: str
    what: str
    text: str
    tokens: int = 0
    path: str | None = None
    body: Json | None = None


class DryRun(Struct, frozen=True, kw_only=True):
    """`problems` are what it would be dead of, in order; `left_out` what would be left out of it
    and said in the note.

    `catalogue_at` (Unix seconds) is the age of the oldest of the account's names that were used;
    None where none was needed.
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
    """Makes dry runs. Every method may raise `StoreUnavailable`. `clock` tells Unix seconds."""

    def __init__(
        self,
        connection: redis.Redis,
        mappings: Mapping[str, LeadMapping],
        clock: Callable[[], float],
    ) -> None:
        self._redis = connection
        self._mappings = mappings
        self._contacts = ContactCache(connection)
        self._clock = clock

    def run(self, record: Record, lead: Lead) -> DryRun:
        """The delivery of `record` if its lead were `lead`."""
        try:
            made = self._plan(record, lead)
        except LeadlineError as error:
            return DryRun(
                steps=[],
                problems=[cause_of(error, step="plan", source=record.source)],
                left_out=[],
                tokens=0,
            )
        names = _Names(self._redis, record.source)
        ids = names.of(made)
        steps = list(self._steps(record, lead, made, ids))
        return DryRun(
            steps=steps,
            problems=names.problems,
            left_out=[*made.left_out, *names.left_out],
            tokens=sum(step.tokens for step in steps),
            title=made.title,
            labels=list(made.labels),
            channel=made.channel,
            channel_id=made.channel_id,
            owner=str(made.owner) if made.owner is not None else None,
            names_read_at=names.oldest,
        )

    def _plan(self, record: Record, lead: Lead) -> LeadPlan:
        writing = self._mappings.get(record.source)
        if writing is None:
            raise Unmappable(
                f"the source file has no source {record.source!r}",
                setting=f"sources.{record.source}",
            )
        return build_plan(
            writing,
            lead,
            submission_id=record.id,
            received_at=record.received_at,
            now=self._clock(),
        )

    def _steps(
        self, record: Record, lead: Lead, made: LeadPlan, ids: _Ids
    ) -> Iterator[PlannedStep]:
        organization_id = record.organization_id
        if made.organization:
            organization_id = organization_id or self._contacts.organization(made.organization)
            yield _organization(
                made.organization, organization_id, ids, done=record.organization_id is not None
            )
        who = person_identity(lead)
        known = self._contacts.person(*who) if who else None
        if made.person:
            yield _person(made, record.person_id, known, organization_id, ids)
        person_id = record.person_id or (known.person_id if known else None)
        labelled = record.result == Result.LABELLED
        if record.lead_id:
            yield PlannedStep(
                "lead", "done", f"the lead {record.lead_id} is there already; it is not made again"
            )
        elif made.existing == "label" and known is not None and known.lead_id:
            labelled = True
            yield _label(known.lead_id, made)
        else:
            yield _lead(made, person_id, known, organization_id, ids)
        content = made.note_existing_html if labelled else made.note_html
        if content:
            yield _note(record, content)


def _organization(name: str, known: int | None, ids: _Ids, *, done: bool) -> PlannedStep:
    if known is not None:
        return PlannedStep(
            "organization",
            "done" if done else "none",
            f"organisation {known} is known by this name",
        )
    text = "searched by name, and created if there is none"
    body = organization_body(name, owner_id=ids.owner)
    return PlannedStep(
        "organization",
        "search",
        text,
        calls.ORGANIZATIONS_SEARCH.cost + calls.ORGANIZATIONS_ADD.cost,
        calls.ORGANIZATIONS_ADD.path,
        body,
    )


def _person(
    made: LeadPlan,
    recorded: int | None,
    known: CachedPerson | None,
    organization_id: int | None,
    ids: _Ids,
) -> PlannedStep:
    if recorded is not None:
        return PlannedStep(
            "person", "done", f"person {recorded} was found or created by an earlier try"
        )
    if known is not None:
        return PlannedStep(
            "person", "none", f"person {known.person_id} is known by this e-mail or phone"
        )
    assert made.person is not None
    add = calls.PERSONS_ADD
    organization = organization_id or (ORGANIZATION if made.organization else None)
    body = person_body(
        made.person, organization_id=organization, owner_id=ids.owner, custom=ids.person_custom
    )
    if made.person.email or made.person.phone:
        by = "e-mail" if made.person.email else "phone"
        text = f"searched by {by}, and created if nobody has it"
        return PlannedStep(
            "person", "search", text, calls.PERSONS_SEARCH.cost + add.cost, add.path, body
        )
    return PlannedStep(
        "person",
        "create",
        "created: there is neither e-mail nor phone to search by",
        add.cost,
        add.path,
        body,
    )


def _label(lead_id: str, made: LeadPlan) -> PlannedStep:
    text = (
        f"the person's open lead {lead_id} gets the labels, if it is still open; else a new lead is"
        " made"
    )
    body = {"label_ids": list(made.labels)} if made.labels else {}
    return PlannedStep(
        "lead",
        "label",
        text,
        calls.LEADS_GET.cost + calls.LEADS_UPDATE.cost,
        f"/v1/leads/{lead_id}",
        body,
    )


def _lead(
    made: LeadPlan,
    person_id: int | None,
    known: CachedPerson | None,
    organization_id: int | None,
    ids: _Ids,
) -> PlannedStep:
    body = lead_body(
        made,
        person_id=(person_id or PERSON) if made.person else None,
        organization_id=(organization_id or ORGANIZATION) if made.organization else None,
        label_ids=ids.labels,
        channel=ids.channel,
        owner_id=ids.owner,
        custom=ids.custom,
    )
    looks = (
        made.existing == "label"
        and made.person is not None
        and not (known is not None and known.created)
    )
    text = (
        "created, unless the person has an open lead: that one gets the labels"
        if looks
        else "created"
    )
    cost = calls.LEADS_ADD.cost + (
        calls.LEADS_LIST.cost if looks and (known is not None or person_id is None) else 0
    )
    return PlannedStep("lead", "create", text, cost, calls.LEADS_ADD.path, body)


def _note(record: Record, content: str) -> PlannedStep:
    if record.note_id is not None:
        return PlannedStep("note", "done", f"note {record.note_id} is there already")
    return PlannedStep(
        "note",
        "create",
        "created",
        calls.NOTES_ADD.cost,
        calls.NOTES_ADD.path,
        note_body(content, lead_id=record.lead_id or LEAD),
    )


class _Ids(Struct, frozen=True, kw_only=True):
    """What names stand for; a name that is unknown stays out."""

    labels: list[str]
    channel: int | str | None
    owner: int | str | None
    custom: dict[str, Any]
    person_custom: dict[str, Any]


class _Names:
    """Resolves every name of a plan, and gathers what is wrong instead of stopping at the first."""

    def __init__(self, connection: redis.Redis, source: str) -> None:
        self._redis = connection
        self._source = source
        self._directory = MetadataLookup(self._read)
        self.problems: list[Cause] = []
        self.left_out: list[str] = []
        self.oldest: float | None = None

    def of(self, made: LeadPlan) -> _Ids:
        table = f"sources.{made.source}.lead"
        find = self._directory
        labels = [self._label(made, name, f"{table}.labels") for name in made.labels]
        channel, owner = made.channel, made.owner
        custom: dict[str, Any] = {}
        person_custom: dict[str, Any] = {}
        for name, of_person, text in made.custom:
            self._field(
                name, of_person, text, f"{table}.custom", person_custom if of_person else custom
            )
        return _Ids(
            labels=[label for label in labels if label is not None],
            channel=(
                self._found(lambda: find.channel_id(channel, setting=f"{table}.channel"), channel)
                if channel
                else None
            ),
            owner=(
                self._found(lambda: find.owner_id(owner, setting=f"{table}.owner_id"), owner)
                if owner is not None
                else None
            ),
            custom=custom,
            person_custom=person_custom,
        )

    def _label(self, made: LeadPlan, name: str, setting: str) -> Any:
        """A missing label that is made where it is missing is no problem."""
        before = len(self.problems)
        found = self._found(lambda: self._directory.label_id(name, setting=setting), name)
        if made.create_labels and len(self.problems) > before:
            del self.problems[before:]
            return name
        return found

    def _field(
        self, name: str, of_person: bool, text: str, table: str, into: dict[str, Any]
    ) -> None:
        find = self._directory.person_field if of_person else self._directory.field
        info = self._found(
            lambda: find(name, setting=f"{table}.{'person.' if of_person else ''}{name}"), None
        )
        if info is None:
            return
        try:
            into.update(info.encode(text))
        except ValueError as error:
            self.left_out.append(f"The field “{name}”: {error}.")

    def _found(self, ask: Callable[[], object], otherwise: object) -> Any:
        """`otherwise` where the account's names were never read: then nobody can say."""
        try:
            return ask()
        except Unavailable:
            return otherwise
        except LeadlineError as error:
            self.problems.append(cause_of(error, step="names", source=self._source))
            return None

    def _read(self, kind: MetadataKind) -> MetadataTable:
        with translate_errors():
            stored = self._redis.hget(keys.DEFAULT_ACCOUNT.metadata, kind)
        try:
            table = (
                msgspec.json.decode(stored, type=MetadataTable)
                if isinstance(stored, bytes)
                else None
            )
        except (msgspec.MsgspecError, UnicodeDecodeError):
            table = None
        if table is None:
            raise Unavailable("catalogue", f"the account's {kind} were not read yet")
        self.oldest = min(table.at, self.oldest or table.at)
        return table

"""Describes the steps of a delivery and their calls without asking Pipedrive.

The intake's preview describes them for somebody whom Pipedrive does not know yet, the dry run for a
stored submission. What only a response can tell is a placeholder (`"{person.id}"`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct, structs

from worker.contract import Json, Result
from worker.lead.plan import LeadPlan, PersonPlan
from worker.lead.uploads import UploadedFile
from worker.pipedrive import calls
from worker.pipedrive.calls import Call
from worker.pipedrive.request_bodies import (
    ONLY_WHEN_CREATED,
    Id,
    ResolvedNames,
    SearchQuery,
    lead_body,
    note_body,
    organization_body,
    organization_search,
    person_body,
    person_searches,
)

_KIND_WORDS = {"email": "e-mail", "phone": "phone"}
PERSON, ORGANIZATION, LEAD = "{person.id}", "{organization.id}", "{lead.id}"
# Whose turn it is.
OWNER = "{owner.id}"


class PlannedCall(Struct, frozen=True):
    """One request. The query is part of `path`; the body of a GET is None."""

    call: Call
    path: str
    body: Json | None = None


class PlannedStep(Struct, frozen=True):
    """One step of the delivery. `what` is done, search, create, label or none; `text` explains it.

    `path` and `body` belong to the call that would write, with names resolved to ids; both are None
    if nothing is written. `tokens` is the most that the step may cost.
    """

    step: str
    what: str
    text: str
    tokens: int = 0
    path: str | None = None
    body: Json | None = None


class KnownIds(Struct, frozen=True, kw_only=True):
    """The ids that are known before the delivery begins.

    An earlier attempt found or created the `recorded` ids; the others are remembered from other
    submissions. `created_by_us`: we created the person, so it has no leads but ours.
    """

    recorded_organization: int | None = None
    organization: int | None = None
    recorded_person: int | None = None
    person: int | None = None
    created_by_us: bool = False
    open_lead: str | None = None
    recorded_lead: str | None = None
    recorded_note: int | None = None
    files_done: int = 0
    result: Result | None = None


def describe_steps(
    plan: LeadPlan,
    names: ResolvedNames,
    known_ids: KnownIds,
    uploads: Sequence[UploadedFile] = (),
) -> Iterator[tuple[PlannedStep, list[PlannedCall]]]:
    """Yield each step with its calls, in the order of the delivery."""
    if names.owners:
        names = structs.replace(names, owner_id=OWNER)
    organization: Id | None = known_ids.recorded_organization
    if plan.organization:
        yield _describe_organization(plan, plan.organization, names, known_ids)
        organization = organization or known_ids.organization or ORGANIZATION
    person: Id | None = known_ids.recorded_person
    if plan.person:
        yield _describe_person(plan, plan.person, names, known_ids, organization)
        person = person or known_ids.person or PERSON
    result = known_ids.result
    if known_ids.recorded_lead:
        text = f"the lead {known_ids.recorded_lead} exists already and is not created again"
        yield PlannedStep("lead", "done", text), []
    elif plan.existing == "label" and known_ids.person is not None and known_ids.open_lead:
        result = Result.LABELLED
        yield _describe_label(known_ids.open_lead, names)
    else:
        body = lead_body(plan, names, person_id=person, organization_id=organization)
        yield _describe_lead(plan, body, known_ids)
    content = plan.note_for(result)
    if content:
        yield _describe_note(content, known_ids)
    for number, upload in enumerate(uploads if plan.files else (), 1):
        yield _describe_file(upload, number, known_ids)


def planned_calls(plan: LeadPlan, uploads: Sequence[UploadedFile] = ()) -> list[Json]:
    """Return the calls for somebody new: `[{"method", "path", "body"}]`, in order.

    `uploads` are the files that were posted; only their name and type are shown.
    Names that only the account can resolve stay names (`"label_ids": ["Website"]`).
    """
    steps = describe_steps(plan, ResolvedNames.unresolved(plan), KnownIds(), uploads)
    return [
        {"method": each.call.method, "path": each.path, "body": each.body}
        for _, planned in steps
        for each in planned
    ]


Described = tuple[PlannedStep, list[PlannedCall]]


def _describe_organization(
    plan: LeadPlan, name: str, names: ResolvedNames, known_ids: KnownIds
) -> Described:
    body = organization_body(name, names, plan.organization_details)
    may_enrich = plan.enrich and bool(body.keys() - ONLY_WHEN_CREATED)
    organization_id = known_ids.recorded_organization or known_ids.organization
    if organization_id is not None:
        text = f"organisation {organization_id} is known by this name"
        if known_ids.recorded_organization is not None:
            return PlannedStep("organization", "done", text), []
        if may_enrich:
            return _describe_enrichment("organization", organization_id, text, body)
        return PlannedStep("organization", "none", text), []
    search = _search(calls.ORGANIZATIONS_SEARCH, organization_search(name))
    create = _create(calls.ORGANIZATIONS_ADD, body)
    text = "searched by name, and created if there is none"
    more = _enrichment_tokens(calls.ORGANIZATIONS_GET, calls.ORGANIZATIONS_UPDATE, create)
    return _step("organization", "search", text, [search, create], more if may_enrich else 0)


def _describe_enrichment(step: str, id: int, text: str, body: Json) -> Described:
    """Describe a record that exists and gets what it lacks of `body`."""
    read, update = (
        (calls.PERSONS_GET, calls.PERSONS_UPDATE)
        if step == "person"
        else (calls.ORGANIZATIONS_GET, calls.ORGANIZATIONS_UPDATE)
    )
    path = update.path.format(id=id)
    additions = {key: value for key, value in body.items() if key not in ONLY_WHEN_CREATED}
    planned = [PlannedCall(read, path), PlannedCall(update, path, additions)]
    return _step(step, "enrich", f"{text}, and gets what it lacks of this", planned)


def _enrichment_tokens(read: Call, update: Call, create: PlannedCall) -> int:
    """Return how much more it costs to enrich than to create, at most."""
    return max(0, read.cost + update.cost - create.call.cost)


def _describe_person(
    plan: LeadPlan,
    person: PersonPlan,
    names: ResolvedNames,
    known_ids: KnownIds,
    organization: Id | None,
) -> Described:
    """Describe the step; a person without e-mail and phone is created without a search."""
    if known_ids.recorded_person is not None:
        text = f"person {known_ids.recorded_person} was found or created by an earlier attempt"
        return PlannedStep("person", "done", text), []
    if known_ids.person is not None:
        text = f"person {known_ids.person} is known by this e-mail or phone"
        if plan.enrich:
            body = person_body(person, names, organization_id=organization)
            return _describe_enrichment("person", known_ids.person, text, body)
        return PlannedStep("person", "none", text), []
    body = person_body(person, names, organization_id=organization)
    create = _create(calls.PERSONS_ADD, body)
    searches = person_searches(person)
    if not searches:
        text = "created: there is neither e-mail nor phone to search by"
        return _step("person", "create", text, [create])
    kinds = dict.fromkeys(_KIND_WORDS[kind] for kind, _ in searches)
    text = f"searched by {', then by '.join(kinds)}, and created if nobody has it"
    planned = [_search(calls.PERSONS_SEARCH, query) for _, query in searches]
    more = _enrichment_tokens(calls.PERSONS_GET, calls.PERSONS_UPDATE, create)
    return _step("person", "search", text, [*planned, create], more if plan.enrich else 0)


def _describe_label(lead_id: str, names: ResolvedNames) -> Described:
    text = (
        f"the person's open lead {lead_id} gets the labels if it is still open; else a new lead is"
        " created"
    )
    path = calls.LEADS_GET.path.format(id=lead_id)
    body = {"label_ids": names.label_ids} if names.label_ids else {}
    planned = [PlannedCall(calls.LEADS_GET, path), PlannedCall(calls.LEADS_UPDATE, path, body)]
    return _step("lead", "label", text, planned)


def _describe_lead(plan: LeadPlan, body: Json, known_ids: KnownIds) -> Described:
    create = _create(calls.LEADS_ADD, body)
    is_new = known_ids.created_by_us and not plan.existing_deals
    if plan.existing != "label" or plan.person is None or is_new:
        return _step("lead", "create", "created", [create])
    text = "created, unless the person has an open lead: that one gets the labels"
    deals = calls.DEALS_LIST.cost if plan.existing_deals else 0
    if deals:
        text = "created, unless the person has an open lead or deal: that one gets labels and note"
    # A person that an earlier attempt created has no leads to list.
    may_list = known_ids.person is not None or known_ids.recorded_person is None
    return _step("lead", "create", text, [create], calls.LEADS_LIST.cost + deals if may_list else 0)


def _describe_note(content: str, known_ids: KnownIds) -> Described:
    if known_ids.recorded_note is not None:
        return PlannedStep("note", "done", f"note {known_ids.recorded_note} exists already"), []
    body = note_body(content, lead_id=known_ids.recorded_lead or LEAD)
    return _step("note", "create", "created", [_create(calls.NOTES_ADD, body)])


def _describe_file(upload: UploadedFile, number: int, known_ids: KnownIds) -> Described:
    if number <= known_ids.files_done:
        return PlannedStep("file", "done", f"file {number} was attached already"), []
    body = {
        "lead_id": known_ids.recorded_lead or LEAD,
        "file": f"{upload.name} ({upload.media_type}, {len(upload.content)} bytes)",
    }
    return _step("file", "create", "attached", [_create(calls.FILES_ADD, body)])


def _step(
    step: str, what: str, text: str, planned: list[PlannedCall], more_tokens: int = 0
) -> Described:
    writing = planned[-1]
    tokens = sum(each.call.cost for each in planned) + more_tokens
    return PlannedStep(step, what, text, tokens, writing.path, writing.body), planned


def _search(call: Call, query: SearchQuery) -> PlannedCall:
    parameters: dict[str, Any] = {**query, "exact_match": str(query["exact_match"]).lower()}
    return PlannedCall(call, f"{call.path}?{urlencode(parameters, safe='@')}")


def _create(call: Call, body: Json) -> PlannedCall:
    return PlannedCall(call, call.path, body)

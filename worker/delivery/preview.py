"""The calls a delivery would make for somebody Pipedrive does not know yet, without asking
Pipedrive anything.

What only the account can tell stays a name (`"label_ids": ["Website"]`), what only an answer can
tell a placeholder (`"person_id": "{person.id}"`).
"""

from __future__ import annotations

from urllib.parse import urlencode

from worker.contract import Json
from worker.lead.plan import LeadPlan
from worker.pipedrive.request_bodies import (
    SearchQuery,
    lead_body,
    note_body,
    organization_body,
    organization_search,
    person_body,
    person_search,
)

PERSON, ORGANIZATION, LEAD = "{person.id}", "{organization.id}", "{lead.id}"


def planned_calls(plan: LeadPlan) -> list[Json]:
    """`[{"method", "path", "body"}]` in the order of the delivery; the body of a GET is None."""
    calls = _organization(plan) + _person(plan)
    calls.append(_post("/v1/leads", _lead(plan)))
    if plan.note_html:
        calls.append(_post("/v1/notes", note_body(plan.note_html, lead_id=LEAD)))
    return calls


def _organization(plan: LeadPlan) -> list[Json]:
    if not plan.organization:
        return []
    body = organization_body(plan.organization, owner_id=plan.owner)
    return [
        _search("organizations", organization_search(plan.organization)),
        _post("/api/v2/organizations", body),
    ]


def _person(plan: LeadPlan) -> list[Json]:
    """Somebody without e-mail and phone cannot be looked for and is created at once."""
    if not plan.person:
        return []
    organization_id = ORGANIZATION if plan.organization else None
    body = person_body(
        plan.person,
        organization_id=organization_id,
        owner_id=plan.owner,
        custom=_custom(plan, of_person=True),
    )
    query = person_search(plan.person)
    return [*([_search("persons", query)] if query else []), _post("/api/v2/persons", body)]


def _lead(plan: LeadPlan) -> Json:
    return lead_body(
        plan,
        person_id=PERSON if plan.person else None,
        organization_id=ORGANIZATION if plan.organization else None,
        label_ids=plan.labels,
        channel=plan.channel,
        owner_id=plan.owner,
        custom=_custom(plan, of_person=False),
    )


def _custom(plan: LeadPlan, *, of_person: bool) -> dict[str, str]:
    return {field: text for field, is_person, text in plan.custom if is_person == of_person}


def _search(what: str, query: SearchQuery) -> Json:
    text = urlencode(
        {**query, "exact_match": "true" if query["exact_match"] else "false"}, safe="@"
    )
    return {"method": "GET", "path": f"/api/v2/{what}/search?{text}", "body": None}


def _post(path: str, body: Json) -> Json:
    return {"method": "POST", "path": path, "body": body}

"""The calls a delivery would make for somebody Pipedrive does not know yet, without asking Pipedrive anything.

What only the account can tell stays a name (`"label_ids": ["Website"]`), what only an answer can tell a placeholder
(`"person_id": "{person.id}"`).
"""

from __future__ import annotations

from urllib.parse import urlencode

from worker.contract import Json
from worker.plan import PersonPlan, Plan, lead_body, note_body, organization_body, person_body

PERSON, ORGANIZATION, LEAD = "{person.id}", "{organization.id}", "{lead.id}"


def planned_calls(plan: Plan) -> list[Json]:
    """`[{"method", "path", "body"}]` in the order of the delivery; the body of a GET is None."""
    calls = _organization(plan) + _person(plan)
    calls.append(_post("/v1/leads", _lead(plan)))
    if plan.note_html:
        calls.append(_post("/v1/notes", note_body(plan, LEAD)))
    return calls


def _organization(plan: Plan) -> list[Json]:
    if not plan.organization:
        return []
    search = _search("organizations", plan.organization, "name")
    return [search, _post("/api/v2/organizations", organization_body(plan, owner_id=plan.owner))]


def _person(plan: Plan) -> list[Json]:
    """The person's e-mail is looked for, else the phone; somebody with neither is created at once."""
    if not plan.person:
        return []
    custom = {field: text for field, is_person, text in plan.custom if is_person}
    organization_id = ORGANIZATION if plan.organization else None
    body = person_body(plan, organization_id=organization_id, owner_id=plan.owner, custom=custom)
    return [*_known_by(plan.person), _post("/api/v2/persons", body)]


def _known_by(person: PersonPlan) -> list[Json]:
    if person.email:
        return [_search("persons", person.email, "email")]
    return [_search("persons", person.phone, "phone")] if person.phone else []


def _lead(plan: Plan) -> Json:
    return lead_body(
        plan,
        person_id=PERSON if plan.person else None,
        organization_id=ORGANIZATION if plan.organization else None,
        label_ids=plan.labels,
        channel=plan.channel,
        owner_id=plan.owner,
        custom={field: text for field, is_person, text in plan.custom if not is_person},
    )


def _search(what: str, term: str, field: str) -> Json:
    query = urlencode({"term": term, "fields": field, "exact_match": "true"}, safe="@")
    return {"method": "GET", "path": f"/api/v2/{what}/search?{query}", "body": None}


def _post(path: str, body: Json) -> Json:
    return {"method": "POST", "path": path, "body": body}

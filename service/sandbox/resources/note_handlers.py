"""Notes, which exist in v1 only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from service.sandbox.account.company import Company, OperationResult, find_user, format_note_time
from service.sandbox.api_errors import invalid_value, not_found
from service.sandbox.request_validation import ValidCall
from service.sandbox.resources.html_sanitizer import sanitize
from service.sandbox.resources.lead_handlers import index_lead
from service.sandbox.resources.paging import page_by_start, sort_records

Record = dict[str, Any]
TARGETS = ("lead_id", "person_id", "org_id", "deal_id", "project_id", "task_id")
PINS = {
    "pinned_to_lead_flag": "lead_id",
    "pinned_to_person_flag": "person_id",
    "pinned_to_organization_flag": "org_id",
    "pinned_to_deal_flag": "deal_id",
    "pinned_to_project_flag": "project_id",
    "pinned_to_task_flag": "task_id",
}
SORT_FIELDS = (
    "id",
    "user_id",
    "deal_id",
    "person_id",
    "org_id",
    "content",
    "add_time",
    "update_time",
)
NO_TARGET = "Note must be associated with at least one organization, person, deal, lead or project."


def list_notes(call: ValidCall, company: Company) -> OperationResult:
    """Notes, oldest first, of one target if the query names it."""
    query = call.query
    notes = (
        company.store.notes.find_by("lead_id", query["lead_id"].lower())
        if "lead_id" in query
        else list(company.store.notes)
    )
    for field in ("user_id", *TARGETS[1:], *PINS):
        if field in query:
            notes = [note for note in notes if note[field] == query[field]]
    orders = query.get("sort", [])
    if any(field not in SORT_FIELDS for field, _ in orders):
        raise invalid_value('"sort" must be made of known fields, each with ASC or DESC')
    page, about = page_by_start(sort_records(_filter_by_dates(notes, query), orders), query)
    return OperationResult(
        [_build_view(note, company, call.user_id) for note in page], {"pagination": about}
    )


def get_note(call: ValidCall, company: Company) -> OperationResult:
    """One note."""
    return OperationResult(_build_view(_find_note(call, company), company, call.user_id))


def add_note(call: ValidCall, company: Company) -> OperationResult:
    """Create a note; the status is 200, not 201."""
    body = call.body
    if not any(body.get(target) is not None for target in TARGETS):
        raise invalid_value(NO_TARGET)
    _check_references(body, company)
    company.require_room(company.store.notes)
    now = format_note_time(company.now())
    note = {
        "id": company.store.next_number("note"),
        "user_id": call.user_id,
        "active_flag": True,
        "add_time": now,
        "update_time": now,
        "last_update_user_id": None,
        **dict.fromkeys(TARGETS),
        **dict.fromkeys(PINS, False),
    }
    return OperationResult(_save(note, body, company, call.user_id))


def update_note(call: ValidCall, company: Company) -> OperationResult:
    """Change the fields that the body names."""
    note = _find_note(call, company)
    _check_references(call.body, company)
    changed = note | {
        "update_time": format_note_time(company.now()),
        "last_update_user_id": call.user_id,
    }
    return OperationResult(_save(changed, call.body, company, call.user_id))


def delete_note(call: ValidCall, company: Company) -> OperationResult:
    """Delete a note; `data` is true."""
    note = _find_note(call, company)
    company.store.notes.remove(note["id"])
    _reindex(note["lead_id"], company)
    return OperationResult(True)


def _check_references(body: Record, company: Company) -> None:
    store = company.store
    company.require_user(body.get("user_id"), "user_id")
    references = (
        ("lead_id", "Lead", store.leads),
        ("person_id", "Person", store.persons),
        ("org_id", "Organization", store.organizations),
        ("deal_id", "Deal", store.deals),
    )
    for field, label, table in references:
        key = body.get(field)
        if key is not None:
            table.require(key.lower() if field == "lead_id" else key, label)
    # The account has no projects and no tasks.
    for field, label in (("project_id", "Project"), ("task_id", "Task")):
        if body.get(field) is not None:
            raise not_found(label)


def _save(note: Record, body: Record, company: Company, user_id: int) -> Record:
    changed = note | body | {pin: bool(body[pin]) for pin in PINS if pin in body}
    if "content" in body:
        changed["content"] = sanitize(body["content"])
    if changed["lead_id"] is not None:
        changed["lead_id"] = changed["lead_id"].lower()
    changed["add_time"] = _parse_note_time(changed["add_time"])
    for pin, target in PINS.items():
        if changed[pin] and changed[target] is None:
            raise invalid_value(f'"{pin}" needs "{target}"')
    company.store.notes.put(changed)
    for lead_id in {note["lead_id"], changed["lead_id"]}:
        _reindex(lead_id, company)
    return _build_view(changed, company, user_id)


def _parse_note_time(text: str) -> str:
    try:
        return format_note_time(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC))
    except ValueError as error:
        raise invalid_value('"add_time" must be in YYYY-MM-DD HH:MM:SS format') from error


def _reindex(lead_id: str | None, company: Company) -> None:
    if lead_id is not None and (lead := company.store.leads.get(lead_id)):
        index_lead(lead, company)


def _build_view(note: Record, company: Company, user_id: int) -> Record:
    store = company.store
    author = find_user(note["user_id"])
    deal, person, organization = (
        store.deals.get(note["deal_id"]),
        store.persons.get(note["person_id"]),
        store.organizations.get(note["org_id"]),
    )
    return note | {
        "deal": {"title": deal["title"]} if deal else None,
        "person": {"name": person["name"]} if person else None,
        "organization": {"name": organization["name"]} if organization else None,
        "project": None,
        "task": None,
        "user": {
            "email": author.email,
            "icon_url": None,
            "is_you": author.id == user_id,
            "name": author.name,
        },
    }


def _filter_by_dates(notes: list[Record], query: Record) -> list[Record]:
    if "start_date" in query:
        notes = [note for note in notes if note["add_time"][:10] >= query["start_date"]]
    if "end_date" in query:
        notes = [note for note in notes if note["add_time"][:10] <= query["end_date"]]
    if "updated_since" in query:
        since = datetime.fromisoformat(query["updated_since"])
        notes = [
            note
            for note in notes
            if datetime.fromisoformat(note["update_time"]).replace(tzinfo=UTC) >= since
        ]
    return notes


def _find_note(call: ValidCall, company: Company) -> Record:
    return company.store.notes.require(call.path["id"], "Note")

"""Notes, which exist in v1 only."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from html import escape
from html.parser import HTMLParser
from typing import Any

from service.sandbox.account.company import Answer, Company, plain, user_by_id
from service.sandbox.account.paging import page_by_start
from service.sandbox.errors import invalid, missing
from service.sandbox.resources.leads import index_lead
from service.sandbox.validation import Call

# Note content as Pipedrive keeps it: harmless HTML only. Comments, scripts, handlers and strange
# addresses are gone.

TEXT = {"b", "code", "em", "i", "s", "small", "span", "strong", "sub", "sup", "u"}
BLOCKS = {"blockquote", "br", "div", "h1", "h2", "h3", "hr", "p", "pre"}
LISTS = {"li", "ol", "table", "tbody", "td", "th", "thead", "tr", "ul"}
KEPT = frozenset({"a", "img"} | TEXT | BLOCKS | LISTS)
DROPPED = frozenset({"script", "style", "iframe", "object", "embed", "template", "noscript"})
VOID = frozenset({"br", "hr", "img"})
ATTRIBUTES = frozenset({"href", "src", "title", "alt"})
SCHEMES = ("http://", "https://", "mailto:", "tel:")


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self._inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in DROPPED:
            self._inside += 1
        elif tag in KEPT and not self._inside:
            self.parts.append(f"<{tag}{''.join(_attribute(name, value) for name, value in attrs)}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in DROPPED:
            self._inside = max(0, self._inside - 1)
        elif tag in KEPT and tag not in VOID and not self._inside:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.parts.append(data.replace("<", "&lt;").replace(">", "&gt;"))

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")


def sanitised(html: str) -> str:
    """The part of `html` that is kept."""
    cleaner = _Cleaner()
    cleaner.feed(html)
    cleaner.close()
    return "".join(cleaner.parts)


def _attribute(name: str, value: str | None) -> str:
    if name not in ATTRIBUTES or value is None:
        return ""
    if name in ("href", "src") and not value.strip().lower().startswith(SCHEMES):
        return ""
    return f' {name}="{escape(value)}"'


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
SORTED = ("id", "user_id", "deal_id", "person_id", "org_id", "content", "add_time", "update_time")
NO_TARGET = "Note must be associated with at least one organization, person, deal, lead or project."


def list_notes(call: Call, company: Company) -> Answer:
    """Notes, oldest first, of one target if the query names it."""
    query = call.query
    notes = (
        company.store.notes.where("lead_id", query["lead_id"].lower())
        if "lead_id" in query
        else list(company.store.notes)
    )
    for field in ("user_id", *TARGETS[1:], *PINS):
        if field in query:
            notes = [note for note in notes if note[field] == query[field]]
    notes = _between(notes, query)
    for field, down in reversed(query.get("sort", [])):
        if field not in SORTED:
            raise invalid('"sort" must be made of known fields, each with ASC or DESC')
        notes = sorted(notes, key=partial(_rank, field), reverse=down)
    page, about = page_by_start(notes, query)
    return Answer([_view(note, company, call.user_id) for note in page], {"pagination": about})


def get_note(call: Call, company: Company) -> Answer:
    """One note."""
    return Answer(_view(_found(call, company), company, call.user_id))


def add_note(call: Call, company: Company) -> Answer:
    """Creates a note; answers 200, not 201."""
    body = call.body
    if not any(body.get(target) is not None for target in TARGETS):
        raise invalid(NO_TARGET)
    _check(body, company)
    company.require_room(company.store.notes)
    now = plain(company.now())
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
    return Answer(_kept(note, body, company, call.user_id))


def update_note(call: Call, company: Company) -> Answer:
    """Changes what is given."""
    note = _found(call, company)
    _check(call.body, company)
    changed = note | {"update_time": plain(company.now()), "last_update_user_id": call.user_id}
    return Answer(_kept(changed, call.body, company, call.user_id))


def delete_note(call: Call, company: Company) -> Answer:
    """Deletes a note; `data` is true."""
    note = _found(call, company)
    company.store.notes.remove(note["id"])
    _reindex(note["lead_id"], company)
    return Answer(True)


def _check(body: Record, company: Company) -> None:
    store = company.store
    company.require_user(body.get("user_id"), "user_id")
    known = (
        ("lead_id", "Lead", store.leads),
        ("person_id", "Person", store.persons),
        ("org_id", "Organization", store.organizations),
        ("deal_id", "Deal", store.deals),
    )
    for field, what, table in known:
        key = body.get(field)
        if key is not None and table.get(key.lower() if field == "lead_id" else key) is None:
            raise missing(what)
    for field in ("project_id", "task_id"):
        if body.get(field) is not None:
            raise missing("Project" if field == "project_id" else "Task")


def _kept(note: Record, body: Record, company: Company, user_id: int) -> Record:
    changed = note | body | {pin: bool(body[pin]) for pin in PINS if pin in body}
    if "content" in body:
        changed["content"] = sanitised(body["content"])
    if changed["lead_id"] is not None:
        changed["lead_id"] = changed["lead_id"].lower()
    changed["add_time"] = _stamp(changed["add_time"])
    for pin, target in PINS.items():
        if changed[pin] and changed[target] is None:
            raise invalid(f'"{pin}" needs "{target}"')
    company.store.notes.put(changed)
    for lead_id in {note["lead_id"], changed["lead_id"]}:
        _reindex(lead_id, company)
    return _view(changed, company, user_id)


def _stamp(text: str) -> str:
    try:
        return plain(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC))
    except ValueError as error:
        raise invalid('"add_time" must be in YYYY-MM-DD HH:MM:SS format') from error


def _reindex(lead_id: str | None, company: Company) -> None:
    if lead_id is not None and (lead := company.store.leads.get(lead_id)):
        index_lead(lead, company)


def _view(note: Record, company: Company, user_id: int) -> Record:
    store = company.store
    author = user_by_id(note["user_id"])
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


def _between(notes: list[Record], query: Record) -> list[Record]:
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


def _rank(field: str, note: Record) -> tuple[bool, Any]:
    return note[field] is not None, note[field]


def _found(call: Call, company: Company) -> Record:
    note = company.store.notes.get(call.path["id"])
    if note is None:
        raise missing("Note")
    return note

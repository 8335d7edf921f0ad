"""The typed form of a lead: which inputs a canonical lead has, and what an edit of them is.

An edit holds what was changed and nothing else, so that two people who mend different fields do not
undo each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from worker.contract import Utm

PREFIX = "lead."
"""Of the inputs' names, so that no field of a lead can pass for one of the form's own."""

NEW = ("new.label", "new.value")
"""The pair of inputs that adds an answer; there may be several of them."""


class Input(Struct, frozen=True, kw_only=True):
    """One input. `name` is the field of an edit, `kind` an HTML input type, `text` or `choice`;
    `value` its text now.
    """

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    group: str = ""
    many: bool = False
    error: str | None = None
    hint: str | None = None

    @property
    def key(self) -> str:
        return PREFIX + self.name

    @property
    def id(self) -> str:
        """For `label for=`: unique on the page, and without what a stranger wrote."""
        return "f-" + hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:10]


PERSON, ENQUIRY, CAME_FROM, ORIGIN, ANSWERS = (
    "Person",
    "Enquiry",
    "Where from",
    "The form",
    "Answers",
)
GROUPS = (PERSON, ENQUIRY, ANSWERS, CAME_FROM, ORIGIN)

PLAIN: tuple[Input, ...] = (
    Input(name="name", label="Name", group=PERSON),
    Input(name="first_name", label="First name", group=PERSON),
    Input(name="last_name", label="Last name", group=PERSON),
    Input(name="email", label="E-mail", kind="email", group=PERSON),
    Input(
        name="phone",
        label="Phone",
        kind="tel",
        group=PERSON,
        hint="with the country's code, such as +44 20 7946 0000",
    ),
    Input(name="job_title", label="Job title", group=PERSON),
    Input(name="company", label="Company", group=PERSON),
    Input(name="website", label="Website", kind="url", group=PERSON),
    Input(name="country", label="Country", group=PERSON),
    Input(name="message", label="Message", kind="area", group=ENQUIRY),
    Input(name="value.amount", label="Value", kind="decimal", group=ENQUIRY),
    Input(
        name="value.currency",
        label="Currency",
        kind="currency",
        group=ENQUIRY,
        hint="three letters, such as EUR",
    ),
    Input(name="consent", label="Consent", kind="choice", group=ENQUIRY),
    *(
        Input(name=f"utm_{part}", label=f"utm_{part}", group=CAME_FROM)
        for part in Utm.__struct_fields__
    ),
    Input(name="page_url", label="Page", kind="url", group=CAME_FROM),
    Input(name="referrer", label="Referrer", kind="url", group=CAME_FROM),
    Input(name="form_name", label="Form name", group=ORIGIN),
    Input(name="form_id", label="Form id", group=ORIGIN),
    Input(name="event_id", label="Event id", group=ORIGIN),
    Input(
        name="occurred_at",
        label="Occurred at",
        group=ORIGIN,
        hint="ISO 8601, such as 2026-05-01T09:30:00Z",
    ),
    Input(name="is_test", label="Test event", kind="choice", group=ORIGIN),
)
ALWAYS = frozenset({"name", "email", "phone", "company", "message"})
"""Shown even where they are empty; the other empty ones are folded."""

SYNONYMS = {"emails": "email", "phones": "phone", "org_id": "company", "organization_id": "company", "person_id": "email",
            "amount": "value.amount", "currency": "value.currency",
            "value": "value.amount"}  # fmt: skip
"""Pipedrive's names of fields by ours, to put its complaint where it can be mended."""


class Group(Struct, frozen=True):
    """Inputs under one heading: those to show, and the empty ones to fold."""

    title: str
    shown: list[Input]
    folded: list[Input]


def inputs(lead: Mapping[str, Any], errors: Mapping[str, str] | None = None) -> list[Input]:
    """Every input of the form, filled from a canonical lead; `errors` says by field what is wrong
    with it.
    """
    wrong = {field_of(name) or name: text for name, text in (errors or {}).items()}
    found = [msgspec.structs.replace(each, value=_text(_get(lead, each.name))) for each in PLAIN]
    found += [Input(name=f"click_ids.{name}", label=name, value=_text(value), group=CAME_FROM)
              for name, value in lead.get("click_ids", {}).items()]  # fmt: skip
    found += [_answer(label, value) for label, value in lead.get("answers", {}).items()]
    return [msgspec.structs.replace(each, error=wrong.get(each.name)) for each in found]


def groups(found: Iterable[Input]) -> list[Group]:
    """The inputs under their headings, in the order in which people read a lead."""
    every = list(found)
    made = []
    for title in GROUPS:
        mine = [each for each in every if each.group == title]
        shown = [each for each in mine if each.value or each.error or each.name in ALWAYS]
        made.append(Group(title, shown, [each for each in mine if each not in shown]))
    return made


def field_of(name: str | None) -> str | None:
    """The input at which a complaint about `name` belongs: ours or Pipedrive's name of a field;
    None where there is none.
    """
    if not name:
        return None
    first = name.split("[")[0].split(".")[0]
    known = {each.name for each in PLAIN}
    for guess in (name, SYNONYMS.get(name), SYNONYMS.get(first), first):
        if guess and (guess in known or guess.startswith(("answers.", "click_ids."))):
            return guess
    return None


def edit_of(form: Mapping[str, list[str]], lead: Mapping[str, Any]) -> dict[str, Any]:
    """What the form changes of the lead it was filled from, as `worker.lead.edit` takes it."""
    edit: dict[str, Any] = {}
    for each in inputs(lead):
        given = form.get(each.key)
        if given is not None and _lines(given[0]) != _lines(each.value):
            edit[each.name] = _value(each, given[0])
    return edit | _added(form)


def edit_for_all(form: Mapping[str, list[str]]) -> dict[str, Any]:
    """What the form sets on every lead of a cause: the fields that were filled in, as they
    stand.
    """
    known = {each.key: each for each in PLAIN}
    named = {
        key: known.get(key) or Input(name=key.removeprefix(PREFIX), label="")
        for key in form
        if key.startswith(PREFIX)
    }
    return {
        each.name: _value(each, form[key][0]) for key, each in named.items() if form[key][0].strip()
    } | _added(form)


def fingerprint(lead: Mapping[str, Any] | None) -> str:
    """Tells whether a lead is still the one that the form was filled from."""
    return hashlib.sha256(msgspec.json.encode(lead)).hexdigest()[:16]


def _added(form: Mapping[str, list[str]]) -> dict[str, Any]:
    pairs = zip(form.get(NEW[0], []), form.get(NEW[1], []), strict=False)
    return {
        f"answers.{label.strip()}": value
        for label, value in pairs
        if label.strip() and value.strip()
    }


def _answer(label: str, value: object) -> Input:
    many = isinstance(value, list)
    text = _text(value)
    kind = "area" if many or len(text) > 60 or "\n" in text else "text"
    hint = "one choice a line" if many else None
    return Input(
        name=f"answers.{label}",
        label=label,
        kind=kind,
        value=text,
        group=ANSWERS,
        many=many,
        hint=hint,
    )


def _get(lead: Mapping[str, Any], name: str) -> object:
    if name.startswith("utm_"):
        return lead.get("utm", {}).get(name.removeprefix("utm_"))
    table, _, key = name.partition(".")
    return (lead.get(table) or {}).get(key) if key else lead.get(name)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _lines(text: str) -> str:
    """A text as it is compared: browsers write a line's end as CR LF."""
    return text.replace("\r\n", "\n").strip()


def _value(of: Input, text: str) -> str | list[str]:
    clean = _lines(text)
    return (
        [line for line in (part.strip() for part in clean.split("\n")) if line]
        if of.many
        else clean
    )

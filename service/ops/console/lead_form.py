"""The form of a lead: which inputs a canonical lead has, and the edit that a posted form makes.

An edit holds only what was changed, so two people who edit different fields don't overwrite each
other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from service.ops.schemas import CauseCard
from worker.causes import CANONICAL_BY_API_FIELD
from worker.lead.canonical import CANONICAL_FIELDS, FieldGroup, FieldKind

# Starts the names of inputs, so that no field of a lead can pass for one of the form's own.
PREFIX = "lead."

# The pair of inputs that adds an answer; a form may have several.
NEW_ANSWER = ("new.label", "new.value")

# A longer answer gets a text area.
MAX_INPUT_CHARS = 60


class FormInput(Struct, frozen=True, kw_only=True):
    """One input: `name` is the field that it edits, `value` its current text.

    `kind` is an HTML input type, or `area`, `choice`, `decimal` or `currency`. `is_list`: the field
    is a list, one element a line.
    """

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    group: str = ""
    is_list: bool = False
    error: str | None = None
    hint: str | None = None

    @property
    def key(self) -> str:
        """The input's name in the posted form."""
        return PREFIX + self.name

    @property
    def id(self) -> str:
        """The element's id: unique on the page, and without text that a stranger chose."""
        return "f-" + hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:10]


# How a field is edited; other kinds get a text input.
INPUT_KINDS = {
    FieldKind.EMAIL: "email",
    FieldKind.PHONE: "tel",
    FieldKind.LONG_TEXT: "area",
    FieldKind.WEBSITE: "url",
    FieldKind.PAGE_URL: "url",
    FieldKind.BOOLEAN: "choice",
    FieldKind.AMOUNT: "decimal",
    FieldKind.CURRENCY: "currency",
}

PLAIN_INPUTS = tuple(
    FormInput(
        name=field.name,
        label=field.label,
        kind=INPUT_KINDS.get(field.kind, "text"),
        group=field.group,
        hint=field.hint,
    )
    for field in CANONICAL_FIELDS
)

# Shown even if they are empty; other empty inputs are collapsed.
ALWAYS_VISIBLE = frozenset(field.name for field in CANONICAL_FIELDS if field.is_prominent)

# Pipedrive's names of fields by ours, so that its complaint is shown where it can be fixed.
PIPEDRIVE_FIELDS = CANONICAL_BY_API_FIELD | {
    "amount": "value.amount",
    "currency": "value.currency",
    "value": "value.amount",
}


class InputGroup(Struct, frozen=True):
    """Inputs under one heading; `collapsed` are the empty ones."""

    title: str
    visible: list[FormInput]
    collapsed: list[FormInput]


def build_inputs(
    lead: Mapping[str, Any], errors: Mapping[str, str] | None = None
) -> list[FormInput]:
    """Every input of the form, filled from a canonical lead; `errors` are messages by field."""
    errors = {find_input_name(name) or name: text for name, text in (errors or {}).items()}
    inputs = [structs.replace(each, value=_to_text(_get(lead, each.name))) for each in PLAIN_INPUTS]
    inputs += [
        FormInput(
            name=f"click_ids.{name}", label=name, value=_to_text(value), group=FieldGroup.CAMPAIGN
        )
        for name, value in lead.get("click_ids", {}).items()
    ]
    inputs += [_answer_input(label, value) for label, value in lead.get("answers", {}).items()]
    return [structs.replace(each, error=errors.get(each.name)) for each in inputs]


def group_inputs(inputs: Iterable[FormInput]) -> list[InputGroup]:
    """The inputs under their headings, in the order in which people read a lead."""
    inputs = list(inputs)
    groups = []
    for title in FieldGroup:
        members = [each for each in inputs if each.group == title]
        visible = [each for each in members if _is_visible(each)]
        groups.append(InputGroup(title, visible, [each for each in members if each not in visible]))
    return groups


def _is_visible(input: FormInput) -> bool:
    return bool(input.value or input.error or input.name in ALWAYS_VISIBLE)


def find_input_name(field: str | None) -> str | None:
    """The input to which an error about `field` (our name or Pipedrive's) belongs, if any."""
    if not field:
        return None
    first = field.split("[")[0].split(".")[0]
    names = {each.name for each in PLAIN_INPUTS}
    for name in (field, PIPEDRIVE_FIELDS.get(field), PIPEDRIVE_FIELDS.get(first), first):
        if name and (name in names or name.startswith(("answers.", "click_ids."))):
            return name
    return None


def can_edit_leads(cause: CauseCard | None) -> bool:
    """Whether editing the leads may help: the cause names a field of theirs, or no setting."""
    if cause is None:
        return False
    return find_input_name(cause.field) is not None or not cause.setting


def parse_edit(form: Mapping[str, list[str]], lead: Mapping[str, Any]) -> dict[str, Any]:
    """What the form changes in the lead that filled it, in the form of `worker.lead.edit`."""
    edit: dict[str, Any] = {}
    for each in build_inputs(lead):
        values = form.get(each.key)
        if values is not None and _clean(values[0]) != _clean(each.value):
            edit[each.name] = _parse_value(each, values[0])
    return edit | _new_answers(form)


def parse_bulk_edit(form: Mapping[str, list[str]]) -> dict[str, Any]:
    """What the form sets on every lead of a cause: the fields that were filled in."""
    inputs = {each.key: each for each in PLAIN_INPUTS}
    edit: dict[str, Any] = {}
    for key, values in form.items():
        if key.startswith(PREFIX) and values[0].strip():
            name = key.removeprefix(PREFIX)
            edit[name] = _parse_value(inputs.get(key) or FormInput(name=name, label=""), values[0])
    return edit | _new_answers(form)


def fingerprint(lead: Mapping[str, Any] | None) -> str:
    """A hash of the lead, to tell whether it is still the one that filled the form."""
    return hashlib.sha256(msgspec.json.encode(lead)).hexdigest()[:16]


def _new_answers(form: Mapping[str, list[str]]) -> dict[str, Any]:
    pairs = zip(form.get(NEW_ANSWER[0], []), form.get(NEW_ANSWER[1], []), strict=False)
    return {
        f"answers.{label.strip()}": value
        for label, value in pairs
        if label.strip() and value.strip()
    }


def _answer_input(label: str, value: object) -> FormInput:
    is_list = isinstance(value, list)
    text = _to_text(value)
    is_long = is_list or len(text) > MAX_INPUT_CHARS or "\n" in text
    return FormInput(
        name=f"answers.{label}",
        label=label,
        kind="area" if is_long else "text",
        value=text,
        group=FieldGroup.ANSWERS,
        is_list=is_list,
        hint="one choice per line" if is_list else None,
    )


def _get(lead: Mapping[str, Any], name: str) -> object:
    if name.startswith("utm_"):
        return lead.get("utm", {}).get(name.removeprefix("utm_"))
    table, _, key = name.partition(".")
    return (lead.get(table) or {}).get(key) if key else lead.get(name)


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _clean(text: str) -> str:
    """Text as it is compared: browsers end lines with CR LF."""
    return text.replace("\r\n", "\n").strip()


def _parse_value(input: FormInput, text: str) -> str | list[str]:
    text = _clean(text)
    if not input.is_list:
        return text
    return [line for line in (part.strip() for part in text.split("\n")) if line]

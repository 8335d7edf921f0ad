"""The parts of Pipedrive's responses that we use.

Decoding is lenient: unknown fields are ignored, and ids may come as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import (
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Struct, field

# The key of a custom field or of its companion (`…_currency`, `…_until`).
CUSTOM_KEY = re.compile(r"[0-9a-f]{40}(_[a-z0-9_]+)?")

# The fields of persons that contact sync adds. They have readable keys and stand beside the
# built-in fields: https://pipedrive.readme.io/docs/core-api-concepts-custom-fields
JOB_TITLE_FIELD = "job_title"
SYNCED_FIELDS = frozenset({JOB_TITLE_FIELD, "birthday", "postal_address", "notes", "im"})

T = TypeVar("T")
M = TypeVar("M", bound=Struct)


class UnreadableResponse(ValueError):
    """The response is JSON, but not of the shape that the operation should return."""


class ResultPage(Struct, Generic[T], frozen=True):
    """One page of a list.

    v1 continues at `next_start`, v2 at `next_cursor`; both are None on the last page.
    """

    items: list[T]
    next_start: int | None = None
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class LeadValue(Struct, frozen=True):
    amount: float | None = None
    currency: str | None = None


class PipedriveLead(Struct, frozen=True, kw_only=True):
    """A lead as Pipedrive returns it. Times are ISO 8601.

    `custom` holds the custom fields by key; Pipedrive leaves out those that are not set.
    """

    id: str
    title: str = ""
    owner_id: int | None = None
    creator_id: int | None = None
    label_ids: list[str] = field(default_factory=list)
    person_id: int | None = None
    organization_id: int | None = None
    source_name: str | None = None
    origin: str | None = None
    origin_id: str | None = None
    channel: int | None = None
    channel_id: str | None = None
    is_archived: bool = False
    is_deleted: bool = False
    was_seen: bool | None = None
    value: LeadValue | None = None
    expected_close_date: str | None = None
    visible_to: str | None = None
    add_time: str | None = None
    update_time: str | None = None
    custom: dict[str, Any] = field(default_factory=dict)


class Label(Struct, frozen=True, kw_only=True):
    id: str
    name: str = ""
    color: str | None = None
    add_time: str | None = None


class LeadSource(Struct, frozen=True):
    """A lead source. Pipedrive defines the list; leads created through the API have `API`."""

    name: str


class Note(Struct, frozen=True, kw_only=True):
    id: int
    content: str | None = None
    lead_id: str | None = None
    person_id: int | None = None
    add_time: str | None = None


class PipedriveFile(Struct, frozen=True, kw_only=True):
    """A file that was added to a lead or another record. `name` is the one that people see."""

    id: int
    name: str | None = None
    lead_id: str | None = None
    deal_id: int | None = None
    person_id: int | None = None
    org_id: int | None = None
    add_time: str | None = None


class PipedriveUser(Struct, frozen=True, kw_only=True):
    """A user. Only `users.me` returns `company_domain` and `company_name`.

    `timezone_name` is as in the tz database; `timezone_offset` is today's, such as `+02:00`.
    """

    id: int
    name: str = ""
    email: str | None = None
    active_flag: bool = True
    is_you: bool = False
    default_currency: str | None = None
    timezone_name: str | None = None
    timezone_offset: str | None = None
    company_name: str | None = None
    company_domain: str | None = None


class Currency(Struct, frozen=True):
    """A currency of the account; `code` is that of ISO 4217, unless the account defined it."""

    code: str
    name: str = ""
    active_flag: bool = True


class Contact(Struct, frozen=True):
    """An e-mail address or phone number of a person."""

    value: str = ""
    primary: bool = False
    label: str | None = None


class Person(Struct, frozen=True, kw_only=True):
    """A person. Only `persons.get` returns `marketing_status`, and only on request."""

    id: int
    name: str | None = None
    emails: list[Contact] = field(default_factory=list)
    phones: list[Contact] = field(default_factory=list)
    org_id: int | None = None
    owner_id: int | None = None
    is_deleted: bool = False
    add_time: str | None = None
    label_ids: list[int] = field(default_factory=list)
    marketing_status: str | None = None
    job_title: str | None = None
    birthday: str | None = None
    postal_address: Any = None
    notes: str | None = None
    im: list[Any] = field(default_factory=list)
    custom_fields: dict[str, Any] = field(default_factory=dict)


class PersonHit(Struct, frozen=True, kw_only=True):
    """A search result: e-mails and phones are plain text."""

    id: int
    name: str | None = None
    emails: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)


def contact_texts(person: Person | PersonHit, kind: Literal["email", "phone"]) -> list[str]:
    """Return the e-mails or phones of a person as they were typed."""
    entries = person.emails if kind == "email" else person.phones
    return [entry if isinstance(entry, str) else entry.value for entry in entries]


class Organization(Struct, frozen=True, kw_only=True):
    id: int
    name: str | None = None
    address: Any = None
    website: str | None = None
    owner_id: int | None = None
    is_deleted: bool = False
    add_time: str | None = None


class OrganizationHit(Struct, frozen=True, kw_only=True):
    id: int
    name: str | None = None


class Deal(Struct, frozen=True, kw_only=True):
    """A deal. One that was converted from a lead keeps the lead's `origin_id`.

    `status` is open, won or lost.
    """

    id: int
    title: str | None = None
    person_id: int | None = None
    org_id: int | None = None
    status: str | None = None
    value: float | None = None
    currency: str | None = None
    origin_id: str | None = None
    channel: int | None = None
    channel_id: str | None = None
    source_lead_id: str | None = None
    label_ids: list[int] = field(default_factory=list)
    is_deleted: bool = False
    add_time: str | None = None
    update_time: str | None = None


class FieldOption(Struct, frozen=True):
    """An option of a field. Built-in fields have text ids, custom fields whole numbers."""

    id: int | str
    label: str = ""


class PipedriveField(Struct, frozen=True, kw_only=True):
    """A deal or person field. A custom field has a 40-digit hash as its `field_code`."""

    field_code: str
    field_name: str = ""
    field_type: str = "varchar"
    is_custom_field: bool = False
    options: list[FieldOption] = field(default_factory=list)


def decode(model: type[M], data: Any) -> M:
    """Decode `data` as a `model`; raise `UnreadableResponse` if it is none.

    A null means the default. Numbers in place of text, text in place of numbers, and objects in
    place of the id they stand for (v1: `{"id": 5, …}` or `{"value": 5, …}`) are converted.
    """
    if not isinstance(data, dict):
        raise UnreadableResponse(f"expected {noun_of(model)}, got {_describe_type(data)}")
    values = {
        name: _coerce(data[name], hint)
        for name, hint in _type_hints(model).items()
        if data.get(name) is not None
    }
    if model is PipedriveLead:
        values["custom"] = {
            key: value
            for key, value in data.items()
            if isinstance(key, str) and CUSTOM_KEY.fullmatch(key)
        }
    try:
        return msgspec.convert(values, model, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise UnreadableResponse(f"not {noun_of(model)}: {error}") from error


def noun_of(model: type) -> str:
    """Return what people call a record of this type: `a lead`, `an organization hit`."""
    words = re.findall(r"[A-Z][a-z]+", model.__name__.removeprefix("Pipedrive"))
    noun = " ".join(words).lower()
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class _TypeHint(NamedTuple):
    """The types that a field may have and, for a list, those of its items."""

    types: frozenset[Any]
    item_types: frozenset[Any]


def _coerce(value: Any, hint: _TypeHint) -> Any:
    if list in hint.types and isinstance(value, list):
        return [_coerce_item(item, hint.item_types) for item in value]
    return _coerce_item(value, hint.types)


def _coerce_item(value: Any, types: frozenset[Any]) -> Any:
    if isinstance(value, dict) and types & {int, str}:
        value = value.get("value", value.get("id"))
    elif isinstance(value, dict):
        value = {key: part for key, part in value.items() if part is not None}
    if (
        str in types
        and int not in types
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return str(value)
    return value


@cache
def _type_hints(model: type[Struct]) -> dict[str, _TypeHint]:
    hints = {}
    for name, hint in get_type_hints(model).items():
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        entry = next((get_args(part)[0] for part in parts if get_origin(part) is list), None)
        hints[name] = _TypeHint(
            frozenset(get_origin(part) or part for part in parts), frozenset({entry})
        )
    return hints


def _describe_type(data: Any) -> str:
    return {type(None): "nothing", list: "a list", dict: "an object", str: "text"}.get(
        type(data), "a number"
    )


def parse_timestamp(text: str | None) -> float:
    """Return the Unix seconds of a time as Pipedrive writes it; 0.0 for anything else.

    That is ISO 8601, or `2024-01-31 10:20:30` in UTC.
    """
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

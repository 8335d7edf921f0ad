"""What the catalogue holds of each kind, and how it is read from Pipedrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from msgspec import Struct, field

from worker.errors import Forbidden, Gone, Invalid
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.fields import Option
from worker.pipedrive.models import CUSTOM_KEY, Field, User

CHANNEL_FIELD = "channel"


class Kind(StrEnum):
    LABELS = "labels"
    CHANNELS = "channels"
    OWNERS = "owners"
    DEAL_FIELDS = "deal_fields"
    PERSON_FIELDS = "person_fields"


class Entry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One label, channel, owner or field. `id` is a field's key."""

    id: int | str
    name: str
    color: str | None = None
    email: str | None = None
    type: str | None = None
    options: list[Option] = field(default_factory=list)


class Table(Struct, frozen=True, omit_defaults=True):
    """All entries of a kind, read `at` (Unix seconds). `partial`: the credentials may not see them all."""

    at: float
    items: list[Entry]
    partial: bool = False


def read(kind: Kind, client: Pipedrive, now: float) -> Table:
    """Asks Pipedrive: labels 10 tokens, channels 1, owners 20, fields 10 each. May raise `PipedriveError`."""
    return READERS[kind](client, now)


def _labels(client: Pipedrive, now: float) -> Table:
    return Table(now, [Entry(id=label.id, name=label.name, color=label.color) for label in client.labels.list()])


def _channels(client: Pipedrive, now: float) -> Table:
    """The options of the deal field `channel`; the id of an option is a number of its own in every account."""
    try:
        found: Field | None = client.deal_fields.get(CHANNEL_FIELD)
    except (Gone, Invalid):  # that the field can be had by this name is nowhere promised; the list surely has it
        found = next((each for each in client.deal_fields.all() if each.field_code == CHANNEL_FIELD), None)
    options = found.options if found else []
    return Table(now, [Entry(id=int(option.id), name=option.label) for option in options if str(option.id).isdecimal()])


def _owners(client: Pipedrive, now: float) -> Table:
    """Active users. Without the right to list them (OAuth: `users:read`) only ourselves."""
    try:
        users, partial = client.users.list(), False
    except Forbidden:
        users, partial = [client.users.me()], True
    return Table(now, [_owner(user) for user in users if user.active_flag], partial)


def _owner(user: User) -> Entry:
    return Entry(id=user.id, name=user.name, email=user.email)


def _deal_fields(client: Pipedrive, now: float) -> Table:
    return Table(now, _custom(client.deal_fields.all()))


def _person_fields(client: Pipedrive, now: float) -> Table:
    return Table(now, _custom(client.person_fields.all()))


def _custom(fields: Iterable[Field]) -> list[Entry]:
    return [
        Entry(
            id=each.field_code,
            name=each.field_name,
            type=each.field_type,
            options=[Option(option.id, option.label) for option in each.options],
        )
        for each in fields
        if each.is_custom_field or CUSTOM_KEY.fullmatch(each.field_code)
    ]


READERS: dict[Kind, Callable[[Pipedrive, float], Table]] = {
    Kind.LABELS: _labels,
    Kind.CHANNELS: _channels,
    Kind.OWNERS: _owners,
    Kind.DEAL_FIELDS: _deal_fields,
    Kind.PERSON_FIELDS: _person_fields,
}

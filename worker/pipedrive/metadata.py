"""Which entry of the account a name means. One rule for deliveries, checks and commands, wherever
the entries come from.

Labels, channels and fields go by name, whatever its case and the space around it, or by id; owners
by id, e-mail or name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from msgspec import Struct, field

from worker.errors import Forbidden, Gone, Invalid, UnknownName
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.custom_fields import FieldInfo, Option
from worker.pipedrive.models import CUSTOM_KEY, Field, User

# What the catalogue holds of each kind, and how it is read from Pipedrive.

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
    """All entries of a kind, read `at` (Unix seconds). `partial`: the credentials may not see them
    all.
    """

    at: float
    items: list[Entry]
    partial: bool = False


def read(kind: Kind, client: Pipedrive, now: float) -> Table:
    """Asks Pipedrive: labels 10 tokens, channels 1, owners 20, fields 10 each. May raise
    `PipedriveError`.
    """
    return READERS[kind](client, now)


def _labels(client: Pipedrive, now: float) -> Table:
    return Table(
        now,
        [Entry(id=label.id, name=label.name, color=label.color) for label in client.labels.list()],
    )


def _channels(client: Pipedrive, now: float) -> Table:
    """The options of the deal field `channel`; the id of an option is a number of its own in every
    account.
    """
    try:
        found: Field | None = client.deal_fields.get(CHANNEL_FIELD)
    except (
        Gone,
        Invalid,
    ):  # that the field can be had by this name is nowhere promised; the list surely has it
        found = next(
            (each for each in client.deal_fields.all() if each.field_code == CHANNEL_FIELD), None
        )
    options = found.options if found else []
    return Table(
        now,
        [
            Entry(id=int(option.id), name=option.label)
            for option in options
            if str(option.id).isdecimal()
        ],
    )


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


WORDS = {
    Kind.LABELS: "label",
    Kind.CHANNELS: "channel",
    Kind.OWNERS: "owner",
    Kind.DEAL_FIELDS: "custom field",
    Kind.PERSON_FIELDS: "custom field of persons",
}
"""What an unknown name is called in `UnknownName.kind`."""

Match = Callable[[Entry], bool]


class Names(ABC):
    """Looks names up. Every method may raise `UnknownName`, naming `setting`, and what reading the
    entries may raise.
    """

    @abstractmethod
    def _find(self, kind: Kind, name: str, setting: str, match: Match) -> Entry:
        """The entry; raises `UnknownName`."""

    @abstractmethod
    def _fresh(self, kind: Kind) -> Table:
        """All entries of a kind."""

    def label_id(self, name: str, *, setting: str) -> str:
        """The id of a lead label."""
        return str(self._find(Kind.LABELS, name, setting, named(name)).id)

    def channel_id(self, label: str, *, setting: str) -> int:
        """The id of a marketing channel, by its label in the account."""
        return int(self._find(Kind.CHANNELS, label, setting, named(label)).id)

    def owner_id(self, value: int | str, *, setting: str) -> int:
        """The id of an active user, by id, e-mail or name."""
        text = str(value).strip()
        by_id = text.isdecimal() and text.isascii()
        if by_id and self._fresh(Kind.OWNERS).partial:
            return int(text)

        def match(entry: Entry) -> bool:
            return str(entry.id) == text or (not by_id and same(text, entry.name, entry.email))

        return int(self._find(Kind.OWNERS, text, setting, match).id)

    def field(self, name: str, *, setting: str) -> FieldInfo:
        """A custom field of leads (they share the deals'), by name or key."""
        entry = self._find(Kind.DEAL_FIELDS, name, setting, named(name))
        return FieldInfo(
            key=str(entry.id),
            name=entry.name,
            type=entry.type or "",
            entity="lead",
            options=entry.options,
        )

    def person_field(self, name: str, *, setting: str) -> FieldInfo:
        """A custom field of persons, by name or key."""
        entry = self._find(Kind.PERSON_FIELDS, name, setting, named(name))
        return FieldInfo(
            key=str(entry.id),
            name=entry.name,
            type=entry.type or "",
            entity="person",
            options=entry.options,
        )


class Directory(Names):
    """Names for one short look: each kind is read once, when it is first asked for. Needs no
    Redis.
    """

    def __init__(self, read: Callable[[Kind], Table]) -> None:
        self._read = read
        self._tables: dict[Kind, Table] = {}

    def table(self, kind: Kind) -> Table:
        if kind not in self._tables:
            self._tables[kind] = self._read(kind)
        return self._tables[kind]

    def _fresh(self, kind: Kind) -> Table:
        return self.table(kind)

    def _find(self, kind: Kind, name: str, setting: str, match: Match) -> Entry:
        entries = self.table(kind).items
        found = first(entries, match)
        if found is None:
            raise UnknownName(
                WORDS[kind], name, setting=setting, known=[entry.name for entry in entries]
            )
        return found


def named(name: str) -> Match:
    """By name, whatever its case and the space around it, or by id (a field's key, a label's
    id).
    """
    return lambda entry: same(
        name, entry.name, str(entry.id) if isinstance(entry.id, str) else None
    )


def same(text: str, *candidates: str | None) -> bool:
    wanted = plain(text)
    return any(plain(candidate) == wanted for candidate in candidates if candidate)


def plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def first(entries: Sequence[Entry], match: Match) -> Entry | None:
    """Of several the first by id: numbers before texts, so that every worker takes the same."""
    found = [entry for entry in entries if match(entry)]
    return min(
        found, key=lambda entry: (isinstance(entry.id, str), str(entry.id).zfill(20)), default=None
    )

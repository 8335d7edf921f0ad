"""Resolves names to the account's labels, channels, owners, fields and currencies.

Deliveries, checks and commands use the same rule, wherever the entries come from: labels go by name
or id, channels by name, fields by name or key, and owners by id, e-mail or name. Names are compared
without regard to case and extra white space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import UTC, tzinfo
from enum import StrEnum

from msgspec import Struct, field

from worker.errors import EndpointGone, Forbidden, Gone, Invalid, Refused, UnknownName
from worker.lead.owner_turns import OwnerShare
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.custom_fields import FieldInfo, Option
from worker.pipedrive.models import (
    CUSTOM_KEY,
    JOB_TITLE_FIELD,
    SYNCED_FIELDS,
    PipedriveField,
    PipedriveUser,
)
from worker.pipedrive.operations import DealFields, PersonFields
from worker.units import parse_time_zone

# The key of the deal field whose options are the marketing channels.
CHANNEL_FIELD = "channel"
# The key of the field of persons and of deals whose options are their labels.
LABEL_FIELD = "label_ids"


class MetadataKind(StrEnum):
    LABELS = "labels"
    CHANNELS = "channels"
    OWNERS = "owners"
    DEAL_FIELDS = "deal_fields"
    PERSON_FIELDS = "person_fields"
    CURRENCIES = "currencies"
    TIME_ZONE = "time_zone"
    PERSON_LABELS = "person_labels"
    DEAL_LABELS = "deal_labels"


class MetadataEntry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One label, channel, owner, field, currency or time zone.

    `id` is a field's key, a currency's code, or a time zone's present offset such as `+02:00`.
    Only an owner may be inactive.
    """

    id: int | str
    name: str
    active: bool = True
    color: str | None = None
    email: str | None = None
    type: str | None = None
    options: list[Option] = field(default_factory=list)


class MetadataTable(Struct, frozen=True, omit_defaults=True):
    """All entries of a kind, read `at` (Unix seconds).

    `partial` means that the credentials may not see all of them.
    """

    at: float
    items: list[MetadataEntry]
    partial: bool = False


def read_metadata(kind: MetadataKind, client: Pipedrive, now: float) -> MetadataTable:
    """Read a table from Pipedrive.

    Labels cost 10 tokens, fields 10 each, owners and currencies 20, the time zone 2, channels and
    labels of persons 1. Raises `PipedriveError`.
    """
    return READERS[kind](client, now)


def _read_labels(client: Pipedrive, now: float) -> MetadataTable:
    return MetadataTable(
        now,
        [
            MetadataEntry(id=label.id, name=label.name, color=label.color)
            for label in client.labels.list()
        ],
    )


def _read_channels(client: Pipedrive, now: float) -> MetadataTable:
    """Return the options of the deal field `channel`, whose ids differ between accounts."""
    return _read_options(client.deal_fields, CHANNEL_FIELD, now)


def _read_person_labels(client: Pipedrive, now: float) -> MetadataTable:
    """Return the options of the person field `label_ids`."""
    return _read_options(client.person_fields, LABEL_FIELD, now)


def _read_deal_labels(client: Pipedrive, now: float) -> MetadataTable:
    """Return the options of the deal field `label_ids`."""
    return _read_options(client.deal_fields, LABEL_FIELD, now)


def _read_options(fields: DealFields | PersonFields, code: str, now: float) -> MetadataTable:
    """Return the options of a built-in field.

    Pipedrive does not document that a built-in field can be read by its name; the list always has
    it.
    """
    try:
        field: PipedriveField | None = fields.get(code)
    except (EndpointGone, Gone, Invalid):
        field = next((each for each in fields.list_all() if each.field_code == code), None)
    options = field.options if field else []
    return MetadataTable(
        now,
        [
            MetadataEntry(id=int(option.id), name=option.label)
            for option in options
            if str(option.id).isdecimal()
        ],
    )


def _read_owners(client: Pipedrive, now: float) -> MetadataTable:
    """Return the users; without the permission to list them, only our own user.

    With OAuth that permission is the scope `users:read`.
    """
    try:
        users, partial = client.users.list(), False
    except Forbidden:
        users, partial = [client.users.me()], True
    return MetadataTable(now, [_owner_entry(user) for user in users], partial)


def _owner_entry(user: PipedriveUser) -> MetadataEntry:
    return MetadataEntry(id=user.id, name=user.name, email=user.email, active=user.active_flag)


def _read_deal_fields(client: Pipedrive, now: float) -> MetadataTable:
    return MetadataTable(now, _custom_field_entries(client.deal_fields.list_all()))


def _read_person_fields(client: Pipedrive, now: float) -> MetadataTable:
    fields = client.person_fields.list_all()
    return MetadataTable(now, _custom_field_entries(fields, SYNCED_FIELDS))


def _custom_field_entries(
    fields: Iterable[PipedriveField], readable_keys: Container[str] = ()
) -> list[MetadataEntry]:
    """Return the fields that are not built in; some of them have `readable_keys`."""
    return [
        MetadataEntry(
            id=each.field_code,
            name=each.field_name,
            type=each.field_type,
            options=[Option(option.id, option.label) for option in each.options],
        )
        for each in fields
        if each.is_custom_field
        or CUSTOM_KEY.fullmatch(each.field_code)
        or each.field_code in readable_keys
    ]


def _read_currencies(client: Pipedrive, now: float) -> MetadataTable:
    """Return the currencies in use; if they may not be read, every currency counts as one."""
    try:
        currencies, partial = client.currencies.list(), False
    except (EndpointGone, Forbidden):
        currencies, partial = [], True
    entries = [
        MetadataEntry(id=currency.code, name=currency.name)
        for currency in currencies
        if currency.active_flag
    ]
    return MetadataTable(now, entries, partial)


def _read_time_zone(client: Pipedrive, now: float) -> MetadataTable:
    """Return the time zone of the account: the one that the user of these credentials has set."""
    me = client.users.me()
    zone = MetadataEntry(id=me.timezone_offset or "", name=me.timezone_name or "")
    return MetadataTable(now, [zone])


READERS: dict[MetadataKind, Callable[[Pipedrive, float], MetadataTable]] = {
    MetadataKind.LABELS: _read_labels,
    MetadataKind.CHANNELS: _read_channels,
    MetadataKind.OWNERS: _read_owners,
    MetadataKind.DEAL_FIELDS: _read_deal_fields,
    MetadataKind.PERSON_FIELDS: _read_person_fields,
    MetadataKind.CURRENCIES: _read_currencies,
    MetadataKind.TIME_ZONE: _read_time_zone,
    MetadataKind.PERSON_LABELS: _read_person_labels,
    MetadataKind.DEAL_LABELS: _read_deal_labels,
}


# The word for each kind in `UnknownName.kind`.
KIND_NAMES = {
    MetadataKind.LABELS: "label",
    MetadataKind.CHANNELS: "channel",
    MetadataKind.OWNERS: "owner",
    MetadataKind.DEAL_FIELDS: "custom field",
    MetadataKind.PERSON_FIELDS: "custom field of persons",
    MetadataKind.CURRENCIES: "currency",
    MetadataKind.TIME_ZONE: "time zone",
    MetadataKind.PERSON_LABELS: "label of persons",
    MetadataKind.DEAL_LABELS: "label of deals",
}

EntryMatcher = Callable[[MetadataEntry], bool]


class NameResolver(ABC):
    """Looks names up.

    Every method may raise `UnknownName`, which names `setting`, and whatever reading the entries
    may raise.
    """

    @abstractmethod
    def _find(
        self, kind: MetadataKind, name: str, setting: str, match: EntryMatcher
    ) -> MetadataEntry:
        """Return the entry; raise `UnknownName`."""

    @abstractmethod
    def _table(self, kind: MetadataKind) -> MetadataTable:
        """Return all entries of a kind."""

    def time_zone(self) -> tzinfo:
        """Return the account's time zone; UTC if Pipedrive names none that can be read."""
        zone = next(iter(self._table(MetadataKind.TIME_ZONE).items), None)
        return (zone and parse_time_zone(zone.name, str(zone.id))) or UTC

    def label_ids(self) -> frozenset[str]:
        """Return the ids of all lead labels."""
        return frozenset(str(entry.id) for entry in self._table(MetadataKind.LABELS).items)

    def label_id(self, name: str, *, setting: str) -> str:
        """Return the id of a lead label."""
        return str(self._find(MetadataKind.LABELS, name, setting, match_name(name)).id)

    def person_label_id(self, name: str, *, setting: str) -> int:
        """Return the id of a label of persons, which are not those of leads."""
        return int(self._find(MetadataKind.PERSON_LABELS, name, setting, match_name(name)).id)

    def deal_label_ids(self, names: Iterable[str]) -> list[int]:
        """Return the ids of those labels that deals have as well as leads."""
        entries = self._table(MetadataKind.DEAL_LABELS).items
        labels = (find_entry(entries, match_name(name)) for name in names)
        return [int(label.id) for label in labels if label is not None]

    def has_job_title(self) -> bool:
        """Whether persons have the field that contact sync adds for job titles.

        Who may not read the fields does not write it: no lead is held up by its job title.
        """
        try:
            fields = self._table(MetadataKind.PERSON_FIELDS).items
        except Refused:
            return False
        return any(entry.id == JOB_TITLE_FIELD for entry in fields)

    def channel_id(self, label: str, *, setting: str) -> int:
        """Return the id of a marketing channel by its label in the account."""
        return int(self._find(MetadataKind.CHANNELS, label, setting, match_name(label)).id)

    def owner_id(self, value: int | str, *, setting: str) -> int:
        """Return the id of an active user, by id, e-mail or name."""
        text = str(value).strip()
        if _is_id(text) and self._table(MetadataKind.OWNERS).partial:
            return int(text)
        return int(self._find(MetadataKind.OWNERS, text, setting, _match_owner(text)).id)

    def active_owners(
        self, shares: Sequence[OwnerShare], *, setting: str
    ) -> tuple[OwnerShare, ...]:
        """Return the owners who take turns, by id and without those who are no active users.

        The table is not read again for an owner who is missing, because others take their turns;
        if all are missing, raises `UnknownName` for the first.
        """
        table = self._table(MetadataKind.OWNERS)
        active = []
        for share in shares:
            text = str(share.owner).strip()
            entry = find_entry(table.items, _match_owner(text))
            if entry is not None or (table.partial and _is_id(text)):
                active.append(OwnerShare(int(entry.id if entry else text), share.weight))
        if not active:
            return (OwnerShare(self.owner_id(shares[0].owner, setting=setting)),)
        return tuple(active)

    def has_currency(self, code: str) -> bool:
        """Return whether the account has a currency, by its ISO 4217 code.

        The senders choose currencies, so one that is missing is not read again before the hour is
        over: otherwise strangers could use up the day's tokens.
        """
        table = self._table(MetadataKind.CURRENCIES)
        return table.partial or any(entry.id == code for entry in table.items)

    def field(self, name: str, *, setting: str) -> FieldInfo:
        """Return a custom field of leads (which share the deals' fields), by name or key."""
        entry = self._find(MetadataKind.DEAL_FIELDS, name, setting, match_name(name))
        return FieldInfo(
            key=str(entry.id),
            name=entry.name,
            type=entry.type or "",
            entity="lead",
            options=entry.options,
        )

    def person_field(self, name: str, *, setting: str) -> FieldInfo:
        """Return a custom field of persons, by name or key."""
        entry = self._find(MetadataKind.PERSON_FIELDS, name, setting, match_name(name))
        return FieldInfo(
            key=str(entry.id),
            name=entry.name,
            type=entry.type or "",
            entity="person",
            options=entry.options,
        )


class MetadataLookup(NameResolver):
    """A resolver for one short task, without Redis: reads each kind once, when first needed."""

    def __init__(self, read: Callable[[MetadataKind], MetadataTable]) -> None:
        self._read = read
        self._tables: dict[MetadataKind, MetadataTable] = {}

    def table(self, kind: MetadataKind) -> MetadataTable:
        if kind not in self._tables:
            self._tables[kind] = self._read(kind)
        return self._tables[kind]

    def has_read(self, kind: MetadataKind) -> bool:
        return kind in self._tables

    def _table(self, kind: MetadataKind) -> MetadataTable:
        return self.table(kind)

    def _find(
        self, kind: MetadataKind, name: str, setting: str, match: EntryMatcher
    ) -> MetadataEntry:
        table = self.table(kind)
        entry = find_entry(table.items, match)
        if entry is None:
            raise unknown_name(kind, name, setting, table, match)
        return entry


def _is_id(text: str) -> bool:
    return text.isdecimal() and text.isascii()


def _match_owner(text: str) -> EntryMatcher:
    """Match by id, or else by e-mail or name."""
    if _is_id(text):
        return lambda entry: str(entry.id) == text
    return lambda entry: str(entry.id) == text or has_name(text, entry.name, entry.email)


def unknown_name(
    kind: MetadataKind,
    name: str,
    setting: str,
    table: MetadataTable | None,
    match: EntryMatcher,
) -> UnknownName:
    """Return the error for a name that no active entry of the table has."""
    entries = table.items if table else []
    return UnknownName(
        KIND_NAMES[kind],
        name,
        setting=setting,
        available=[entry.name for entry in entries if entry.active],
        partial=table is not None and table.partial,
        deactivated=any(match(entry) for entry in entries),
    )


def match_name(name: str) -> EntryMatcher:
    """Match by name, ignoring case and extra white space, or by an entry's text id or key."""
    return lambda entry: has_name(
        name, entry.name, str(entry.id) if isinstance(entry.id, str) else None
    )


def has_name(text: str, *candidates: str | None) -> bool:
    name = normalize_name(text)
    return any(normalize_name(candidate) == name for candidate in candidates if candidate)


def normalize_name(text: str) -> str:
    return " ".join(text.split()).casefold()


def find_entry(entries: Sequence[MetadataEntry], match: EntryMatcher) -> MetadataEntry | None:
    """Return the active match with the lowest id, numbers before texts: all workers agree."""
    matches = [entry for entry in entries if entry.active and match(entry)]
    return min(
        matches,
        key=lambda entry: (isinstance(entry.id, str), str(entry.id).zfill(20)),
        default=None,
    )

"""Which entry of the account a name means. One rule for deliveries, checks and commands, wherever the entries come from.

Labels, channels and fields go by name, whatever its case and the space around it, or by id; owners by id, e-mail or name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from worker.errors import UnknownName
from worker.pipedrive.fields import FieldInfo
from worker.pipedrive.inventory import Entry, Kind, Table

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
    """Looks names up. Every method may raise `UnknownName`, naming `setting`, and what reading the entries may raise."""

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
        return FieldInfo(key=str(entry.id), name=entry.name, type=entry.type or "", entity="lead", options=entry.options)

    def person_field(self, name: str, *, setting: str) -> FieldInfo:
        """A custom field of persons, by name or key."""
        entry = self._find(Kind.PERSON_FIELDS, name, setting, named(name))
        return FieldInfo(key=str(entry.id), name=entry.name, type=entry.type or "", entity="person", options=entry.options)


class Directory(Names):
    """Names for one short look: each kind is read once, when it is first asked for. Needs no Redis."""

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
            raise UnknownName(WORDS[kind], name, setting=setting, known=[entry.name for entry in entries])
        return found


def named(name: str) -> Match:
    """By name, whatever its case and the space around it, or by id (a field's key, a label's id)."""
    return lambda entry: same(name, entry.name, str(entry.id) if isinstance(entry.id, str) else None)


def same(text: str, *candidates: str | None) -> bool:
    wanted = plain(text)
    return any(plain(candidate) == wanted for candidate in candidates if candidate)


def plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def first(entries: Sequence[Entry], match: Match) -> Entry | None:
    """Of several the first by id: numbers before texts, so that every worker takes the same."""
    found = [entry for entry in entries if match(entry)]
    return min(found, key=lambda entry: (isinstance(entry.id, str), str(entry.id).zfill(20)), default=None)

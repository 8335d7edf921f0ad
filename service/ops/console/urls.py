"""The console's addresses: a list's filter, page and open lead are all in them, so that a link
shows what its sender saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from msgspec import Struct, structs

from service.ops.queries import Filter
from service.ops.schemas import CauseCard
from worker.contract import WORKING, State

HOME = "/ops"
LIST = "/ops/leads"
FLAGS = ("reveal", "edit", "tab")
"""What of an address says how one lead is shown."""

WAY = ",".join(sorted(WORKING))
"""The states of what is on its way."""

TOUCHABLE = f"{State.DEAD},{State.QUARANTINED}"
"""The states that a person can move a submission out of."""


class Place(Struct, frozen=True, kw_only=True):
    """Where on the console: the list by its filter and cursor, and the lead that is open beside
    it.
    """

    filter: Filter = Filter()
    cursor: str | None = None
    id: str | None = None
    tab: str | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, str], id: str | None = None) -> Place:
        """Raises `FilterError`."""
        return cls(
            filter=Filter.parse(parameters),
            cursor=parameters.get("cursor") or None,
            id=id,
            tab=parameters.get("tab") or None,
        )

    @property
    def list(self) -> str:
        """The list without an open lead."""
        return _with(LIST, self.filter.parameters() | self._cursor())

    @property
    def lead(self) -> str:
        """The open lead beside the list; the list where none is open."""
        return self.opened(self.id) if self.id else self.list

    def opened(self, id: str, **flags: str) -> str:
        tab = {"tab": self.tab} if self.tab else {}
        return _with(f"{LIST}/{quote(id)}", self.filter.parameters() | self._cursor() | tab | flags)

    def on_tab(self, name: str, **flags: str) -> str:
        return structs.replace(self, tab=name).opened(self.id or "", **flags)

    def without(self, name: str) -> str:
        """The list with one filter dropped, from its beginning."""
        return _with(
            LIST, {key: value for key, value in self.filter.parameters().items() if key != name}
        )

    def from_(self, cursor: str | None) -> str:
        return structs.replace(self, cursor=cursor).list

    def export(self, kind: str) -> str:
        return _with(f"/ops/api/export.{kind}", self.filter.parameters())

    def bulk(self, action: str) -> str:
        return _with(
            "/ops/bulk", {"action": action} | self.filter.parameters() | {"back": self.list}
        )

    def _cursor(self) -> dict[str, str]:
        return {"cursor": self.cursor} if self.cursor else {}


def list_of(cause: CauseCard, source: str | None = None) -> str:
    """The leads of a cause."""
    return Place(filter=Filter(state=State.DEAD, cause=cause.id, source=source)).list


def bulk_of(action: str, cause: CauseCard) -> str:
    return _with(
        "/ops/bulk", {"action": action, "state": State.DEAD.value, "cause": cause.id, "back": HOME}
    )


def ours(address: str | None) -> str | None:
    """An address to go back to, if it is a page of the console; None for any other, wherever it
    leads.
    """
    if (
        not address
        or len(address) > 4000
        or not address.isprintable()
        or "\\" in address
        or "//" in address.split("?")[0]
    ):
        return None
    path = address.split("?")[0].split("#")[0]
    return address if path == HOME or (path.startswith(HOME + "/") and ".." not in path) else None


def told(address: str, **said: str) -> str:
    """The address with what has just been done, for the next page to say; what was said before is
    taken off.
    """
    path, _, query = address.partition("?")
    kept = [
        part
        for part in query.split("&")
        if part and part.split("=")[0] not in ("done", "of", *FLAGS[:2])
    ]
    return path + "?" + "&".join([*kept, urlencode(said)])


def _with(path: str, parameters: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path

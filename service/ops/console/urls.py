"""The console's URLs: filter, page and open lead are all in them, so a link shows what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from msgspec import Struct, structs

from service.ops.filters import Filter
from service.ops.schemas import CauseCard
from worker import contract
from worker.contract import WORKING, State

HOME_URL = "/ops"
LEADS_URL = "/ops/leads"
ATTRIBUTION_URL = "/ops/attribution"
AUDIT_URL = "/ops/audit"
BULK_URL = "/ops/bulk"
SIGN_IN_URL = "/ops/sign-in"

# Characters of a URL to go back to.
MAX_URL_CHARS = 4000

# Query parameters that a redirect drops: the last flash message, and what it took to edit a lead.
ONE_TIME_PARAMETERS = ("done", "of", "reveal", "edit")

# Filter values that stand for several states.
IN_PROGRESS = ",".join(sorted(WORKING))
ACTIONABLE = ",".join(contract.ACTIONABLE)


class ListLocation(Struct, frozen=True, kw_only=True):
    """A place in the list of leads: filter and cursor, and the lead open beside it with its tab."""

    filter: Filter = Filter()
    cursor: str | None = None
    id: str | None = None
    tab: str | None = None

    @classmethod
    def parse(cls, parameters: Mapping[str, str], id: str | None = None) -> ListLocation:
        """From query parameters. Raises `FilterError`."""
        return cls(
            filter=Filter.parse(parameters),
            cursor=parameters.get("cursor") or None,
            id=id,
            tab=parameters.get("tab") or None,
        )

    @property
    def list_url(self) -> str:
        """The list without an open lead."""
        return _url(LEADS_URL, self._parameters())

    def lead_url(self, id: str, **flags: str) -> str:
        """The list with lead `id` open beside it; `flags` are `reveal` and `edit`."""
        tab = {"tab": self.tab} if self.tab else {}
        return _url(f"{LEADS_URL}/{quote(id)}", self._parameters() | tab | flags)

    def tab_url(self, tab: str, **flags: str) -> str:
        return structs.replace(self, tab=tab).lead_url(self.id or "", **flags)

    def url_without(self, name: str) -> str:
        """The first page of the list with one filter removed."""
        parameters = self.filter.parameters()
        return _url(LEADS_URL, {key: value for key, value in parameters.items() if key != name})

    def url_at(self, cursor: str | None) -> str:
        return structs.replace(self, cursor=cursor).list_url

    def export_url(self, kind: str) -> str:
        return _url(f"/ops/api/export.{kind}", self.filter.parameters())

    def bulk_url(self, action: str) -> str:
        parameters = {"action": action} | self.filter.parameters() | {"back": self.list_url}
        return _url(BULK_URL, parameters)

    def _parameters(self) -> dict[str, str]:
        cursor = {"cursor": self.cursor} if self.cursor else {}
        return self.filter.parameters() | cursor


def states_url(*states: State) -> str:
    """The leads in any of `states`."""
    return ListLocation(filter=Filter(state=",".join(states))).list_url


def cause_leads_url(cause: CauseCard, source: str | None = None) -> str:
    """The dead letters of a cause."""
    dead = Filter(state=State.DEAD.value, cause=cause.id, source=source)
    return ListLocation(filter=dead).list_url


def cause_bulk_url(action: str, cause: CauseCard) -> str:
    parameters = {"action": action, "state": State.DEAD.value, "cause": cause.id, "back": HOME_URL}
    return _url(BULK_URL, parameters)


def safe_back_url(url: str | None) -> str | None:
    """`url` if it is one of the console's own, else None: no form may redirect to another site."""
    if not url or len(url) > MAX_URL_CHARS or not url.isprintable() or "\\" in url:
        return None
    path = url.split("?")[0].split("#")[0]
    if "//" in path or ".." in path:
        return None
    return url if path == HOME_URL or path.startswith(HOME_URL + "/") else None


def with_flash(url: str, **flash: str) -> str:
    """`url` with the message that the next page shows: `done`, a key of `page.MESSAGES`, and `of`.

    A message of an earlier action is removed.
    """
    path, _, query = url.partition("?")
    parts = [
        part for part in query.split("&") if part and part.split("=")[0] not in ONE_TIME_PARAMETERS
    ]
    query = "&".join([*parts, urlencode(flash)] if flash else parts)
    return f"{path}?{query}" if query else path


def _url(path: str, parameters: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path

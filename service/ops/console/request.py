"""One request of a browser, as the pages take it, and what they answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, parse_qsl

from msgspec import Struct, field

from service.ops.auth import Web, read_body
from service.ops.console.urls import HOME, ours
from service.sources.request import FieldError
from service.web.problems import HttpProblem
from worker.values import OpsToken

MOST_FIELDS = 2_000
LONGEST_QUERY = 20_000
CLOSED_COOKIE = "leadline_closed"


class Me(Struct, frozen=True):
    """Who is signed in."""

    name: str
    role: str

    @property
    def acts(self) -> bool:
        return self.role == "operator"


class Visit(Struct, frozen=True, kw_only=True):
    """`here` is the address asked for, `form` what was posted: the values of each name, in
    order.
    """

    me: Me
    csrf: str
    here: str
    query: dict[str, str]
    form: dict[str, list[str]] = field(default_factory=dict)
    path: dict[str, str] = field(default_factory=dict)
    closed: str = ""
    """Ids of the bulk actions that this browser has closed in its tray."""

    def given(self, name: str) -> str:
        """The last value of a posted field; empty where there is none."""
        return self.form.get(name, [""])[-1]


class View(Struct, frozen=True, kw_only=True):
    """A page: its template and what fills it, beside what every page has."""

    template: str
    values: dict[str, Any]
    status: int = 200


class Go(Struct, frozen=True):
    """Another page that shows what was done (303)."""

    to: str


def visit(
    request: Web, owner: OpsToken, csrf: str, form: dict[str, list[str]] | None = None
) -> Visit:
    """Of a post, `here` and `query` are those of the page it came from: what it shows is shown
    there.
    """
    here = (ours(form.get("back", [""])[-1]) or HOME) if form is not None else address_of(request)
    query = here.partition("?")[2]
    return Visit(
        me=Me(owner.name, owner.role),
        csrf=csrf,
        here=here,
        query=(
            dict(parse_qsl(query, keep_blank_values=True, max_num_fields=200))
            if len(query) < LONGEST_QUERY
            else {}
        ),
        form=form or {},
        path={name: str(value) for name, value in request.path_params.items()},
        closed=request.cookies.get(CLOSED_COOKIE, "")[:2000],
    )


def address_of(request: Web) -> str:
    """Path and query, as they were asked for."""
    query = request.scope["query_string"].decode("latin-1")
    return request.url.path + (f"?{query}" if query else "")


async def posted(request: Web) -> dict[str, list[str]]:
    """A posted form. Raises HttpProblem 400, 408, 413."""
    text = (await read_body(request)).decode("utf-8", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HttpProblem(
            "unreadable", errors=[FieldError("", f"more than {MOST_FIELDS} fields")]
        ) from None

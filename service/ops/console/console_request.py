"""A browser's request as the console's pages take it, and what they answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, parse_qsl

from msgspec import Struct, field

from service.ops.auth import HttpRequest, read_body
from service.ops.console.urls import HOME_URL, safe_back_url
from service.sources.request import FieldError
from service.web.problems import HttpProblem
from worker.settings.types import OpsToken

MAX_FORM_FIELDS = 2_000
MAX_QUERY_CHARS = 20_000
MAX_QUERY_FIELDS = 200

# The ids of the bulk actions whose panel was closed in this browser, joined by dots.
CLOSED_BULKS_COOKIE = "leadline_closed"
MAX_COOKIE_CHARS = 2_000


class CurrentUser(Struct, frozen=True):
    """Who is signed in."""

    name: str
    role: str

    @property
    def is_operator(self) -> bool:
        return self.role == "operator"


class ConsoleRequest(Struct, frozen=True, kw_only=True):
    """One request of somebody who is signed in.

    `url` is the path and query of the page: for a post, of the page that it came from, since that
    is where its outcome is shown. `query` belongs to `url`. `form` has the values of each posted
    field in order, `path` the parameters in the path.
    """

    user: CurrentUser
    csrf: str
    url: str
    query: dict[str, str]
    form: dict[str, list[str]] = field(default_factory=dict)
    path: dict[str, str] = field(default_factory=dict)
    closed_bulks: str = ""

    def form_value(self, name: str) -> str:
        """The last value of a posted field; empty where it was not posted."""
        return self.form.get(name, [""])[-1]

    @property
    def back_url(self) -> str:
        """The page that a post came from, if it is one of the console's, else the overview."""
        return safe_back_url(self.form_value("back")) or HOME_URL


class View(Struct, frozen=True, kw_only=True):
    """A page to render: its template and the values that only this page has."""

    template: str
    values: dict[str, Any]
    status: int = 200


class Redirect(Struct, frozen=True):
    """303 to the page that shows what was done."""

    url: str


def build_request(
    request: HttpRequest, owner: OpsToken, csrf: str, form: dict[str, list[str]] | None = None
) -> ConsoleRequest:
    """What the pages need from an HTTP request; `form` is None for a GET."""
    url = url_of(request)
    if form is not None:
        url = safe_back_url(form.get("back", [""])[-1]) or HOME_URL
    return ConsoleRequest(
        user=CurrentUser(owner.name, owner.role),
        csrf=csrf,
        url=url,
        query=_parse_query(url),
        form=form or {},
        path={name: str(value) for name, value in request.path_params.items()},
        closed_bulks=request.cookies.get(CLOSED_BULKS_COOKIE, "")[:MAX_COOKIE_CHARS],
    )


def url_of(request: HttpRequest) -> str:
    """Path and query as the browser sent them."""
    query = request.scope["query_string"].decode("latin-1")
    return request.url.path + (f"?{query}" if query else "")


async def read_console_form(request: HttpRequest) -> dict[str, list[str]]:
    """Every value of each posted field. Raises HttpProblem 400, 408, 413."""
    text = (await read_body(request)).decode("utf-8", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        fault = FieldError("", f"more than {MAX_FORM_FIELDS} fields")
        raise HttpProblem("unreadable", errors=[fault]) from None


def _parse_query(url: str) -> dict[str, str]:
    query = url.partition("?")[2]
    if len(query) >= MAX_QUERY_CHARS:
        return {}
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return {}
    return dict(fields)

"""Serves the console's pages: checks access, adds what all pages share, and shows errors.

Handlers run in a thread, because the store and the index that they read block.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from litestar import Response
from markupsafe import Markup
from msgspec import Struct

from service.context import ServiceContext
from service.ops.actions import Actions
from service.ops.activity import Activity
from service.ops.auth import CSRF_FIELD, HttpRequest, OpsAuth
from service.ops.console import rendering
from service.ops.console.bulk_progress import BulkPanel, recent_bulks
from service.ops.console.console_request import (
    ConsoleRequest,
    CurrentUser,
    Redirect,
    View,
    build_request,
    read_console_form,
    url_of,
)
from service.ops.console.lead_form import can_edit_leads
from service.ops.console.onboarding import SampleCommand, build_sample_commands
from service.ops.console.status_bar import StatusBar, build_status_bar
from service.ops.console.urls import (
    ATTRIBUTION_URL,
    AUDIT_URL,
    HOME_URL,
    IN_PROGRESS,
    LEADS_URL,
    ListLocation,
    cause_bulk_url,
    cause_leads_url,
    safe_back_url,
    states_url,
    with_flash,
)
from service.ops.dry_run import AccountDrift
from service.ops.filters import Filter, FilterError, UnknownStateError
from service.ops.queries import Loading, SubmissionQueries
from service.ops.schemas import CauseCard
from service.overview import read_breaches
from service.web.problems import HttpProblem, problem_response
from service.web.request_id import request_id
from worker.accept.promise import Breach
from worker.accept.promise_watch import merge_breaches
from worker.contract import State
from worker.errors import StoreUnavailable
from worker.store import keys
from worker.units import format_iso

CHART_HOURS = 24

# How long the chart and the account's drift are shared between requests before they are read again.
SHARED_SECONDS = 3.0

PageHandler = Callable[[ConsoleRequest], View | Redirect]

# -- pages for what cannot be shown

HEADINGS = {
    403: "Not allowed",
    404: "Not found",
    409: "Can't do that any more",
    503: "Temporarily unavailable",
}
REDIS_DOWN = (
    "Redis is down. New leads are saved on this machine and will be processed when it returns."
)


def error_view(
    status: int, text: str, *, retry_url: str | None = None, retry_label: str = "Try again"
) -> View:
    heading = HEADINGS.get(status, "That didn't work")
    values = {"heading": heading, "text": text, "retry_url": retry_url, "retry_label": retry_label}
    return View(template="error.html", values=values, status=status)


def problem_view(problem: HttpProblem, user: CurrentUser) -> View:
    """A refusal in the console's own words."""
    if problem.kind == "forbidden":
        return error_view(403, f"Your role ({user.role}) is read-only.")
    if problem.kind == "not-found":
        return error_view(404, "It may have been erased.")
    return error_view(problem.status, problem.detail)


def filter_error_view(error: FilterError) -> View:
    if isinstance(error, UnknownStateError):
        text = f"“{error.state}” isn't a state. Try {', '.join(State)}."
    elif error.field == "cursor":
        text = "This link to a page of the list isn't valid."
    else:
        text = f"This filter can't be used: {error}."
    return error_view(400, text, retry_url=LEADS_URL, retry_label="All leads")


# -- what was just done, shown once by the next page. The URL carries a key and an id, never a text.

FLASH_SECONDS = 10

MESSAGES = {
    "retried": "Retrying.",
    "saved": "Saved and queued for delivery.",
    "accepted": "Accepted and queued for delivery.",
    "discarded": "Discarded.",
    "undone": "Discard undone.",
    "paused": "Delivery paused.",
    "resumed": "Delivery resumed.",
    "retrying": "Pipedrive is tried again with the next lead.",
    "ignored": "Ignored until it happens again.",
    "unignored": "Un-ignored.",
    "stopped": "Stopped. Leads that had not started were left untouched.",
}
REFUSALS = {
    "not-allowed": "Can't do that any more: the lead has changed since you opened it.",
    "none-left": "No matching leads left. They were delivered or handled by someone else.",
    "none-selected": "Select at least one lead first.",
}


class Flash(Struct, frozen=True, kw_only=True):
    """The message; `undo_url` takes the action back and then shows `back_url`."""

    text: str
    kind: str = ""
    seconds: int = FLASH_SECONDS
    undo_url: str | None = None
    back_url: str | None = None


def find_flash(request: ConsoleRequest) -> Flash | None:
    """The message that the URL asks for; None for an unknown key."""
    key, id = request.query.get("done", ""), request.query.get("of", "")
    if key in REFUSALS:
        return Flash(text=REFUSALS[key], kind="bad")
    if key not in MESSAGES:
        return None
    if keys.is_safe_id(id) and request.user.is_operator:
        if key == "discarded":
            undo_url = f"{LEADS_URL}/{id}/undo"
            return Flash(text=MESSAGES[key], undo_url=undo_url, back_url=with_flash(request.url))
        if key == "ignored":
            return Flash(text=MESSAGES[key], undo_url=f"/ops/causes/{id}/unignore")
    return Flash(text=MESSAGES[key])


class NavLink(Struct, frozen=True):
    url: str
    label: str
    is_current: bool
    count: int = 0


class Console:
    """What all pages share; one per process, safe for any thread."""

    def __init__(
        self, context: ServiceContext, auth: OpsAuth, queries: SubmissionQueries, actions: Actions
    ) -> None:
        self.context = context
        self.auth = auth
        self.queries = queries
        self.actions = actions
        self._lock = threading.Lock()
        self._activity: tuple[float, Activity, int] | None = None
        self._drift: tuple[float, AccountDrift] | None = None

    # -- serving a request

    async def show(self, http_request: HttpRequest, handler: PageHandler) -> Response[bytes]:
        """Serve a page to anybody with a token."""
        try:
            owner = await self.auth.require_viewer(http_request)
            request = build_request(http_request, owner, self.auth.csrf_token(http_request))
        except HttpProblem as problem:
            return self._refuse_stranger(http_request, problem)
        return await asyncio.to_thread(self._respond, request, handler)

    async def change(self, http_request: HttpRequest, handler: PageHandler) -> Response[bytes]:
        """Perform an operator's action; it redirects to a page that shows what was done."""
        try:
            owner = await self.auth.require_operator(http_request)
            csrf = self.auth.csrf_token(http_request)
            form = await read_console_form(http_request)
        except HttpProblem as problem:
            return await self._refuse_change(http_request, problem)
        request = build_request(http_request, owner, csrf, form)
        return await asyncio.to_thread(self._respond, request, handler)

    def _respond(self, request: ConsoleRequest, handler: PageHandler) -> Response[bytes]:
        try:
            result = handler(request)
        except FilterError as error:
            result = filter_error_view(error)
        except HttpProblem as problem:
            result = problem_view(problem, request.user)
        except Loading as error:
            text = f"Leads are still loading: {error}. Try again in a moment."
            result = error_view(503, text, retry_url=request.url)
        except StoreUnavailable:
            result = error_view(503, REDIS_DOWN, retry_url=request.url)
        if isinstance(result, Redirect):
            return see_other(result.url)
        return self.render(request, result)

    async def _refuse_change(
        self, http_request: HttpRequest, problem: HttpProblem
    ) -> Response[bytes]:
        """A page of the console for those who are signed in, the sign-in page for others."""
        try:
            owner = await self.auth.require_viewer(http_request)
        except HttpProblem as not_signed_in:
            return self._refuse_stranger(http_request, not_signed_in)
        request = build_request(http_request, owner, self.auth.csrf_token(http_request))
        view = problem_view(problem, request.user)
        return await asyncio.to_thread(self.render, request, view)

    def _refuse_stranger(self, http_request: HttpRequest, problem: HttpProblem) -> Response[bytes]:
        if problem.kind not in ("not-signed-in", "locked-out"):
            return problem_response(problem, request_id(http_request.scope), page=True)
        back_url = url_of(http_request) if http_request.method in ("GET", "HEAD") else HOME_URL
        return sign_in_page(problem, back_url=back_url)

    # -- rendering a page

    def render(self, request: ConsoleRequest, view: View) -> Response[bytes]:
        status_bar = self.status_bar()
        shared: dict[str, Any] = {
            "user": request.user,
            "csrf_token": request.csrf,
            "csrf_field": CSRF_FIELD,
            "current_url": request.url,
            "nav": _nav_links(request, status_bar.quarantined),
            "status_bar": status_bar,
            "bulks": self._recent_bulks(request),
            "flash": find_flash(request),
            "in_progress_url": ListLocation(filter=Filter(state=IN_PROGRESS)).list_url,
            "search_text": request.query.get("q", ""),
            "now_iso": format_iso(time.time()) or "",
            "cause_leads_url": cause_leads_url,
            "cause_bulk_url": cause_bulk_url,
            "cause_sparkline": cause_sparkline,
            "can_edit_leads": can_edit_leads,
        }
        return rendering.render_page(view.template, status=view.status, **shared | view.values)

    def status_bar(self) -> StatusBar:
        """Never raises: the bar says so while Redis is down or the index loads."""
        overview = self.queries.overview()
        activity, labelled = self.activity()
        redis_down = "redis" in overview.degraded
        last_worker_at = None if overview.workers or redis_down else self._last_worker_at()
        return build_status_bar(
            overview,
            activity,
            labelled,
            self.queries.freshness(),
            last_worker_at=last_worker_at,
            drift=self.drift(),
            breaches=self.breaches(),
        )

    def activity(self) -> tuple[Activity | None, int | None]:
        """The chart, and how many leads were labelled; while Redis is down, as last read."""
        with self._lock:
            last = self._activity
            if last is None or time.monotonic() - last[0] > SHARED_SECONDS:
                with contextlib.suppress(StoreUnavailable):
                    activity = self.queries.activity(CHART_HOURS)
                    last = (time.monotonic(), activity, self.queries.count_labelled())
                self._activity = last
        return (last[1], last[2]) if last else (None, None)

    def breaches(self) -> list[Breach]:
        """What breaks the promise of a 2xx; while Redis is down, as this process sees it."""
        recorded: list[Breach] = []
        with contextlib.suppress(StoreUnavailable):
            recorded = read_breaches(self.context.ledger)
        return merge_breaches([*self.context.promise.breaches, *recorded])

    def drift(self) -> AccountDrift:
        """What Pipedrive lacks, by the hourly check; while Redis is down, as last read."""
        with self._lock:
            if self._drift is None or time.monotonic() - self._drift[0] > SHARED_SECONDS:
                drift = self._drift[1] if self._drift else AccountDrift(None, [])
                with contextlib.suppress(StoreUnavailable):
                    drift = self.queries.drift()
                self._drift = (time.monotonic(), drift)
            return self._drift[1]

    def sample_commands(self) -> list[SampleCommand]:
        """Test leads to paste, sent to the address of the settings: a Host header can be forged."""
        settings = self.context.settings
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
        base_url = settings.public_url or f"http://{host}:{settings.port}"
        return build_sample_commands(self.context.sources.sources, base_url)

    def _last_worker_at(self) -> str | None:
        """When a worker last reported; None where no report is stored any more."""
        try:
            return format_iso(self.context.ledger.status().last_heartbeat_at)
        except StoreUnavailable:
            return None

    def _recent_bulks(self, request: ConsoleRequest) -> list[BulkPanel]:
        try:
            return recent_bulks(self.actions, request, time.time())
        except StoreUnavailable:
            return []


def _nav_links(request: ConsoleRequest, quarantined: int) -> list[NavLink]:
    path = request.url.partition("?")[0]
    in_leads = path.startswith(LEADS_URL)
    in_quarantine = in_leads and request.query.get("state") == State.QUARANTINED
    return [
        NavLink(HOME_URL, "Overview", path == HOME_URL),
        NavLink(LEADS_URL, "Leads", in_leads and not in_quarantine),
        NavLink(states_url(State.QUARANTINED), "Quarantine", in_quarantine, quarantined),
        NavLink(ATTRIBUTION_URL, "Attribution", path == ATTRIBUTION_URL),
        NavLink(AUDIT_URL, "Audit", path == AUDIT_URL),
    ]


def cause_sparkline(cause: CauseCard) -> Markup:
    last_hour = cause.trend[-1] if cause.trend else 0
    label = f"{sum(cause.trend)} in the last 24 hours, {last_hour} in the last hour"
    return rendering.sparkline(cause.trend, label)


def sign_in_page(
    problem: HttpProblem | None, *, back_url: str, notice: str = "", wrong_token: bool = False
) -> Response[bytes]:
    """The form to sign in with. It answers with the status of the problem that led there."""
    error = "That token isn't valid." if wrong_token else None
    if problem is not None and problem.kind == "locked-out":
        seconds = int(problem.headers.get("Retry-After", "60"))
        wait = rendering.plural(seconds, "second")
        error = f"Too many wrong tokens. Try again in {wait}."
    # Without `WWW-Authenticate`, which would open the browser's own dialog.
    headers = problem.headers if problem else {}
    return rendering.render_page(
        "sign_in.html",
        status=problem.status if problem else 200,
        headers={name: value for name, value in headers.items() if name == "Retry-After"},
        error=error,
        notice=notice,
        back_url=safe_back_url(back_url) or HOME_URL,
        user=None,
    )


def see_other(url: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        b"",
        status_code=303,
        media_type="text/html",
        headers={**rendering.HEADERS, "Location": url, **(headers or {})},
    )

"""The console's frame: who may see a page, what stands around it, and what is said when something
is in the way.

Every handler is a plain function from a `Visit` to a `View` or a `Go`; it runs in a thread, because
what it asks blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec
from litestar import Response
from markupsafe import Markup
from msgspec import Struct

from service.context import ServiceContext
from service.ops.actions import Actions
from service.ops.activity import Chart
from service.ops.auth import CSRF_FIELD, Access, Web
from service.ops.console import rendering
from service.ops.console.bulk_progress import tray
from service.ops.console.onboarding import Sample, samples
from service.ops.console.request import Go, View, Visit, address_of, posted, visit
from service.ops.console.status_bar import Top, top
from service.ops.console.urls import HOME, LIST, WAY, Place, bulk_of, list_of, ours, told
from service.ops.dry_run import Lacking
from service.ops.filters import Filter, FilterError
from service.ops.queries import Loading, Reader
from service.ops.schemas import CauseCard
from service.web.problems import HttpProblem, answer
from service.web.request_id import request_id
from worker.contract import State
from worker.errors import StoreUnavailable
from worker.store import keys
from worker.times import format_iso

# Pages for what went otherwise: not allowed, not there, not readable just now.

HEADINGS = {
    403: "Not allowed",
    404: "There is nothing here",
    409: "Not possible any more",
    503: "It cannot be read just now",
}


def state(status: int, text: str, *, again: str | None = None) -> View:
    """`again` is the address that is worth another try."""
    heading = HEADINGS.get(status, "That did not work")
    return View(
        template="state.html",
        values={"heading": heading, "text": text, "again": again},
        status=status,
    )


def refused(problem: HttpProblem) -> View:
    """A refusal in the console's own words."""
    if problem.kind == "forbidden":
        text = (
            "Your token may look, not act. Ask for one with the role operator in"
            " LEADLINE_OPS_TOKENS."
        )
        return state(403, text)
    if problem.kind == "not-found":
        return state(
            404, "No submission, cause or bulk action has this address; it may have been erased."
        )
    return state(problem.status, problem.detail)


# What was just done, told on the next page. It travels in the address as a word and ids, never as
# text to show.

SECONDS = 10
ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

SENTENCES = {
    "retried": "It is on its way again.",
    "mended": "Saved, and on its way again.",
    "accepted": "Accepted: it is on its way.",
    "discarded": "Discarded.",
    "undone": "The discard is undone.",
    "paused": "Delivery is paused.",
    "resumed": "Delivery goes on.",
    "ignored": "Ignored until it happens again.",
    "watched": "Watched again.",
    "stopped": "Stopped: what was not begun stays as it is.",
    "unchanged": "Nothing was changed: the lead stays as it was.",
}
REFUSALS = {
    "not-allowed": "Not possible any more: somebody else was quicker, or it moved on meanwhile.",
    "nothing-picked": "Select at least one lead first.",
}


class Flash(Struct, frozen=True, kw_only=True):
    """`undo` is where to post to take it back, `back` the page to come back to."""

    text: str
    kind: str = ""
    seconds: int = SECONDS
    undo: str | None = None
    back: str | None = None
    href: str | None = None
    link: str = ""


def flash(seen: Visit) -> Flash | None:
    """None where nothing was done, or nothing we know."""
    word, of = seen.query.get("done", ""), seen.query.get("of", "")
    if word in REFUSALS:
        return Flash(text=REFUSALS[word], kind="bad")
    if word not in SENTENCES:
        return None
    one = ID.fullmatch(of) is not None
    if word == "discarded" and one and seen.me.acts:
        return Flash(text=SENTENCES[word], undo=f"/ops/leads/{of}/undo", back=told(seen.here))
    if word == "ignored" and one and seen.me.acts:
        return Flash(text=SENTENCES[word], undo=f"/ops/causes/{of}/unignore")
    return Flash(text=SENTENCES[word])


HOURS = 24
FLOW_SECONDS = 3.0
"""How long a chart is good enough for the next who looks."""

Make = Callable[[Visit], View | Go]


class NavLink(Struct, frozen=True):
    href: str
    label: str
    here: bool
    count: int = 0


class Site:
    """One per process."""

    def __init__(
        self, context: ServiceContext, access: Access, reader: Reader, actions: Actions
    ) -> None:
        self.context = context
        self.access = access
        self.reader = reader
        self.actions = actions
        self._lock = threading.Lock()
        self._flow: tuple[float, Chart, int] | None = None
        self._drift: tuple[float, list[Lacking]] | None = None

    # -- a request
    # ----------------------------------------------------------------------------------------------

    async def show(self, request: Web, make: Make) -> Response[bytes]:
        """A page to look at, for anybody with a token."""
        try:
            owner = await self.access.viewer(request)
            seen = visit(request, owner, self.access.csrf(request))
        except HttpProblem as problem:
            return self._kept_out(request, problem)
        return await asyncio.to_thread(self._answer, seen, make)

    async def change(self, request: Web, make: Make) -> Response[bytes]:
        """Something to do, for operators alone. The answer leads to a page that shows what was
        done.
        """
        try:
            owner = await self.access.operator(request)
            seen = visit(request, owner, self.access.csrf(request), await posted(request))
        except HttpProblem as problem:
            return await self._not_done(request, problem)
        return await asyncio.to_thread(self._answer, seen, make)

    def _answer(self, seen: Visit, make: Make) -> Response[bytes]:
        try:
            made = make(seen)
        except FilterError as error:
            made = state(400, f"The filter “{error.field}” cannot be used: {error}.", again=LIST)
        except HttpProblem as problem:
            made = refused(problem)
        except Loading as error:
            made = state(
                503,
                f"The index is loading: {error}. This page shows it as soon as it is there.",
                again=seen.here,
            )
        except StoreUnavailable:
            text = (
                "Redis does not answer just now. What is accepted meanwhile waits on this machine's"
                " disk; nothing is lost."
            )
            made = state(503, text, again=seen.here)
        return see_other(made.to) if isinstance(made, Go) else self.render(seen, made)

    async def _not_done(self, request: Web, problem: HttpProblem) -> Response[bytes]:
        """A refused change: to who is signed in as a page of the console, to others as the door."""
        try:
            owner = await self.access.viewer(request)
        except HttpProblem as unknown:
            return self._kept_out(request, unknown)
        seen = visit(request, owner, self.access.csrf(request))
        return await asyncio.to_thread(self.render, seen, refused(problem))

    def _kept_out(self, request: Web, problem: HttpProblem) -> Response[bytes]:
        if problem.kind not in ("not-signed-in", "locked-out"):
            return answer(problem, request_id(request.scope), page=True)
        return door(problem, back=address_of(request) if request.method == "GET" else HOME)

    # -- a page
    # ----------------------------------------------------------------------------------------------

    def render(self, seen: Visit, view: View) -> Response[bytes]:
        over = self.top()
        now = format_iso(time.time()) or ""
        around: dict[str, Any] = {
            "me": seen.me,
            "csrf_token": seen.csrf,
            "csrf_field": CSRF_FIELD,
            "here": seen.here,
            "nav": _nav(seen, over),
            "top": over,
            "tray": self._tray(seen),
            "flash": flash(seen),
            "waiting_href": Place(filter=Filter(state=WAY)).list,
            "query_text": seen.query.get("q", ""),
            "now_iso": now,
            "list_of": list_of,
            "bulk_of": bulk_of,
            "spark": spark,
        }
        return rendering.page(view.template, status=view.status, **around | view.values)

    def top(self) -> Top:
        """Whatever happens to Redis or the index, there is a top line."""
        now = self.reader.overview()
        flow, labelled = self.flow()
        last = None if now.workers or "redis" in now.degraded else self._last_worker()
        return top(now, flow, labelled, self.reader.freshness(), last, self.lacking())

    def flow(self) -> tuple[Chart | None, int | None]:
        """The chart and how many leads were labelled; as they were when last known while Redis is
        away.
        """
        with self._lock:
            known = self._flow
            if known is None or time.monotonic() - known[0] > FLOW_SECONDS:
                with contextlib.suppress(StoreUnavailable):
                    known = (time.monotonic(), self.reader.chart(HOURS), self.reader.labelled())
                self._flow = known
        return (known[1], known[2]) if known else (None, None)

    def lacking(self) -> list[Lacking]:
        """What the account lacks of what the source file names, by the hourly look; what was known
        last while Redis is away.
        """
        with self._lock:
            if self._drift is None or time.monotonic() - self._drift[0] > FLOW_SECONDS:
                found = self._drift[1] if self._drift else []
                with contextlib.suppress(StoreUnavailable):
                    found = self.reader.drift().items
                self._drift = (time.monotonic(), found)
            return self._drift[1]

    def samples(self) -> list[Sample]:
        """First leads to paste, at the address that senders see. What a browser says of it may be
        anybody's.
        """
        settings = self.context.settings
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
        return samples(
            self.context.sources.sources, settings.public_url or f"http://{host}:{settings.port}"
        )

    def _last_worker(self) -> str | None:
        """When the last worker process gave a sign of life, if that is still written somewhere."""
        try:
            beats = cast("list[bytes]", self.context.redis.hvals(keys.WORKERS))
        except Exception:
            return None
        seen = [msgspec.json.decode(beat).get("seen", 0.0) for beat in beats]
        return format_iso(max(seen)) if seen else None

    def _tray(self, seen: Visit) -> list[Any]:
        try:
            return tray(self.actions, seen, time.time())
        except StoreUnavailable:
            return []


def _nav(seen: Visit, over: Top) -> list[NavLink]:
    path = seen.here.partition("?")[0]
    quarantine = Place(filter=Filter(state=State.QUARANTINED.value)).list
    in_quarantine = path.startswith(LIST) and seen.query.get("state") == State.QUARANTINED
    return [
        NavLink(HOME, "Overview", path == HOME),
        NavLink(LIST, "Leads", path.startswith(LIST) and not in_quarantine),
        NavLink(quarantine, "Quarantine", in_quarantine, over.quarantined),
        NavLink("/ops/audit", "Audit", path == "/ops/audit"),
    ]


def spark(cause: CauseCard) -> Markup:
    counted = sum(cause.trend)
    last = cause.trend[-1] if cause.trend else 0
    return rendering.sparkline(
        cause.trend, f"{counted} of them in the last 24 hours, {last} in this one"
    )


def door(
    problem: HttpProblem | None, *, back: str, said: str = "", status: int | None = None
) -> Response[bytes]:
    """The page to sign in at. It answers with the status of what kept the visitor out."""
    error = None
    if problem is not None and problem.kind == "locked-out":
        error = (
            f"Too many wrong tokens: try again in {problem.headers.get('Retry-After', '60')}"
            " seconds."
        )
    elif said == "wrong":
        error, said = "No token is like this one.", ""
    values = {"error": error, "said": said, "back": ours(back) or HOME, "me": None}
    # A challenge would bring up the browser's own dialogue; programs are told by the API.
    headers = {
        name: value
        for name, value in (problem.headers if problem else {}).items()
        if name == "Retry-After"
    }
    return rendering.page(
        "sign_in.html",
        status=status or (problem.status if problem else 200),
        headers=headers,
        **values,
    )


def see_other(to: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        b"",
        status_code=303,
        media_type="text/html",
        headers={**rendering.HEADERS, "Location": to, **(headers or {})},
    )

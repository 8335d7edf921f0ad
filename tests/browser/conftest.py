"""A real browser on the real console: the application over a real Redis, the sandbox, workers."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from service.app import create_app
from service.context import ServiceContext, build
from service.ops.actions import Actions
from service.ops.queries import Loading, SubmissionQueries
from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from service.sources.fetched_records import SourceRecords
from service.sources.source_file.watcher import SourceFileWatcher
from tests.polling import eventually
from worker import main
from worker.settings.table import Settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
# The page between two tests, answered like the console's: else Chromium takes a new process for it.
BLANK = "/nothing"
HEAD = [(b"content-type", b"text/html"), (b"cross-origin-opener-policy", b"same-origin")]
OPERATOR, VIEWER = "operator-token-of-the-tests", "viewer-token-of-the-tests"
TOKENS = f"kim:operator:{OPERATOR},vera:viewer:{VIEWER}"
WIDE, NARROW = ViewportSize(width=1280, height=860), ViewportSize(width=390, height=844)
START_SECONDS = 60.0

# `contact` is delivered, `webinar` fails on a label that the account lacks, and `survey` on answers
# without contact details.
SOURCES = """
[sources.contact]
rate_limit = "off"
leads_per_hour = "off"
honeypot = ["website"]
dedupe_window = 0

[sources.contact.lead]
labels = ["Website"]
channel = "Web forms"
existing = "new"

[[sources.contact.rules]]
when = { utm_source = "google" }
channel = "Paid search"
labels = ["PPC"]

[sources.webinar]
rate_limit = "off"
leads_per_hour = "off"
dedupe_window = 0

[sources.webinar.lead]
labels = ["Webinar"]

[sources.survey]
adapter = "typeform"
verify = { scheme = "none" }
"""

# How long a test waits for a state. The machine may be busy with other tests, and no test waits for
# what does not come.
TIMEOUT_MS = 60_000


class Chromium(NamedTuple):
    """One browser a process, with one page that most tests take in turn: a page of its own costs a
    test more than all that it does with it.
    """

    browser: Browser
    page: Page

    def new_page(self, url: str, **options: Any) -> Page:
        context = self.browser.new_context(base_url=url, **options)
        context.set_default_timeout(TIMEOUT_MS)
        return context.new_page()


@pytest.fixture(scope="session")
def shared_chromium(stage: Stage) -> Iterator[tuple[Chromium, asyncio.AbstractEventLoop]]:
    """The browser, and the event loop that Playwright runs it with.

    Without a browser: skipped at home, a failure where `CI` is set.
    """
    path = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if path is None:
        why = f"no browser: none of {', '.join(CHROMIUM)} is on the PATH"
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        context = browser.new_context(base_url=stage.url, viewport=WIDE)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        loop = asyncio.get_running_loop()
        asyncio.events._set_running_loop(None)
        yield Chromium(browser, page), loop
        asyncio.events._set_running_loop(loop)
        browser.close()


@pytest.fixture
def chromium(
    shared_chromium: tuple[Chromium, asyncio.AbstractEventLoop],
) -> Iterator[Chromium]:
    """The browser for one test.

    Playwright leaves its event loop running in this thread, where no other test could run its own;
    so it is only set while a test uses the browser.
    """
    chromium, loop = shared_chromium
    asyncio.events._set_running_loop(loop)
    yield chromium
    asyncio.events._set_running_loop(None)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[str]:
    with serve_in_thread(SandboxSettings(port=0, search_delay_seconds=0.2)) as url:
        yield url


class Console:
    """The console of one test at `url`, and what a test does besides using the browser."""

    def __init__(
        self,
        url: str,
        sandbox: str,
        context: ServiceContext,
        queries: SubmissionQueries,
        env: dict[str, str],
    ) -> None:
        self.url = url
        self.context = context
        self.queries = queries
        self.actions = Actions(context.ledger, queries, context.settings.data_dir)
        self.sandbox = httpx.Client(
            base_url=sandbox,
            timeout=20,
            trust_env=False,
            headers={"x-api-token": env["PIPEDRIVE_API_TOKEN"]},
        )
        self.env = env
        self._numbers = count()
        self._http = httpx.Client(
            base_url=url, timeout=20, trust_env=False, headers={"accept": "application/json"}
        )
        self.sandbox.post("/_sandbox/reset").raise_for_status()

    def post(self, source: str = "contact", **fields: str) -> str:
        """Posts a form; the id of its submission."""
        body = {"name": "Ada Lovelace", "email": f"ada{next(self._numbers)}@example.com"} | fields
        return str(self._http.post(f"/in/{source}", data=body).raise_for_status().json()["id"])

    def dead(self, count: int = 1, **fields: str) -> list[str]:
        """Submissions that failed on the missing label `Webinar`."""
        ids = [self.post("webinar", **fields) for _ in range(count)]
        with self.worker():
            assert eventually(lambda: all(self.state(id) == "dead" for id in ids))
        return ids

    def nobody(self) -> str:
        """A dead letter at once: a webhook without contact details."""
        answer = {
            "type": "text",
            "text": "nothing",
            "field": {"id": "a", "type": "short_text", "ref": "r"},
        }
        field = {"id": "a", "title": "Anything else?", "type": "short_text", "ref": "r"}
        number = next(self._numbers)
        form = {"form_id": "f", "token": f"t{number}", "submitted_at": "2026-05-01T09:00:00Z",
                "definition": {"id": "f", "title": "Survey", "fields": [field]},
                "answers": [answer]}  # fmt: skip
        event = {"event_id": f"e{number}", "event_type": "form_response", "form_response": form}
        response = self._http.post("/in/survey", json=event).raise_for_status()
        return str(response.json()["id"])

    def add_missing_label(self) -> None:
        self.sandbox.post(
            "/v1/leadLabels", json={"name": "Webinar", "color": "purple"}
        ).raise_for_status()

    def state(self, id: str) -> str:
        record = self.context.ledger.get(id)
        return record.state.value if record else "gone"

    def ids(self) -> list[str]:
        return [
            record.id
            for state in self.context.ledger.counts()
            for record in self.context.ledger.in_state(state, limit=1000)
        ]

    def states(self) -> list[str]:
        return sorted(self.state(id) for id in self.ids())

    def leads(self) -> list[dict[str, Any]]:
        """The leads in Pipedrive."""
        return list(self.sandbox.get("/_sandbox/state").raise_for_status().json()["leads"])

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker as long as the context lasts."""
        settings = Settings.for_worker(self.env)
        sources = self.context.sources
        assert isinstance(sources, SourceFileWatcher)
        slots = main.build_slots(
            settings, self.env["REDIS_URL"], sources.mappings, SourceRecords(sources)
        )
        thread = threading.Thread(target=slots.run, name="worker", daemon=True)
        thread.start()
        try:
            yield
        finally:
            slots.stop()
            thread.join(START_SECONDS)


@pytest.fixture
def around() -> Callable[[Litestar], ASGIApp]:
    """What a file's tests put around the application."""
    return lambda app: app


@pytest.fixture
def console(
    redis_url: str,
    sandbox: str,
    stage: Stage,
    tmp_path: Path,
    around: Callable[[Litestar], ASGIApp],
) -> Iterator[Console]:
    file = tmp_path / "leadline.toml"
    file.write_text(SOURCES, "utf-8")
    env = {
        "REDIS_URL": redis_url,
        "LEADLINE_CONFIG": str(file),
        "LEADLINE_DATA_DIR": str(tmp_path),
        "LEADLINE_OPS_TOKENS": TOKENS,
        "LEADLINE_SLOTS": "4",
        "PIPEDRIVE_API_TOKEN": SandboxSettings().api_token,
        "PIPEDRIVE_BASE_URL": sandbox,
        "PIPEDRIVE_PLAN": "unlimited",
    }
    context = build(Settings.for_service(env), env)
    queries = SubmissionQueries(context.ledger, context.sources, context.settings.data_dir)
    with stage.showing(create_app(context, queries=queries), around):
        # A page without a script does not look again for what was not yet loaded.
        assert eventually(lambda: _has_loaded(queries))
        yield Console(stage.url, sandbox, context, queries, env)


def _has_loaded(queries: SubmissionQueries) -> bool:
    with suppress(Loading):
        queries.causes()
        return True
    return False


class Stage:
    """The server of a process, at `url`: it stays, while each test puts on its own application."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.loop = asyncio.new_event_loop()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == BLANK:
            await send({"type": "http.response.start", "status": 200, "headers": HEAD})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            assert self._app is not None, "nobody asks between two tests"
            await self._app(scope, receive, send)

    @contextmanager
    def showing(self, app: Litestar, around: Callable[[Litestar], ASGIApp]) -> Iterator[None]:
        """The application, started, as long as the context lasts."""
        started, stop = threading.Event(), asyncio.Event()
        life = asyncio.run_coroutine_threadsafe(_live(app, started, stop), self.loop)
        assert eventually(lambda: started.is_set() or life.done(), START_SECONDS)
        self._app = around(app)
        try:
            yield
        finally:
            self._app = None
            self.loop.call_soon_threadsafe(stop.set)
            life.result(START_SECONDS)


async def _live(app: Litestar, started: threading.Event, stop: asyncio.Event) -> None:
    async with app.lifespan():
        started.set()
        await stop.wait()


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """A server in a thread, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    stage = Stage(port)
    config = uvicorn.Config(
        stage,
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.CRITICAL,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_serve, args=(stage.loop, server), name="console", daemon=True)
    thread.start()
    try:
        assert eventually(lambda: _answers(port), START_SECONDS)
        yield stage
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)


def _serve(loop: asyncio.AbstractEventLoop, server: uvicorn.Server) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(server.serve())
    finally:
        loop.close()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(console: Console, chromium: Chromium) -> Iterator[OpenPage]:
    """Opens pages: `open_page("/ops", role="viewer", narrow=True, …)`.

    It is the shared page, unless it has `options` or is `separate`: for a test that does to it what
    cannot be undone. An error or warning in a page's console fails the test.
    """
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        complaints.extend(_complaint(message))

    def on_error(error: Error) -> None:
        complaints.append(str(error))

    with ExitStack() as stack:

        def open_one(
            path: str = "/ops",
            *,
            role: str | None = "operator",
            narrow: bool = False,
            separate: bool = False,
            **options: Any,
        ) -> Page:
            if separate or options:
                page = chromium.new_page(console.url, **options)
                stack.callback(page.context.close)
            else:
                page = chromium.page
                stack.callback(_leave, page)
            page.on("console", on_console)
            stack.callback(page.remove_listener, "console", on_console)
            page.on("pageerror", on_error)
            stack.callback(page.remove_listener, "pageerror", on_error)
            page.set_viewport_size(NARROW if narrow else WIDE)
            if role:
                _sign_in(page.context, console.url, OPERATOR if role == "operator" else VIEWER)
            page.goto(path)
            return page

        yield open_one
    assert complaints == []


def _leave(page: Page) -> None:
    """As it is for the next test: nothing shown, answered by a test, or known of who signed in."""
    page.unroute_all(behavior="ignoreErrors")
    page.mouse.move(0, 0)
    page.goto(BLANK)
    page.context.clear_cookies()


def _sign_in(context: BrowserContext, url: str, token: str) -> None:
    """By the form's request, without its page: only one test signs in by hand."""
    response = context.request.post(
        "/ops/sign-in", form={"token": token}, headers={"origin": url}, max_redirects=0
    )
    assert response.status == 303


def _complaint(message: ConsoleMessage) -> list[str]:
    """What a page must not log. That a response was a 4xx is for the test to judge."""
    expected = message.text.startswith("Failed to load resource")
    return [message.text] if message.type in ("error", "warning") and not expected else []

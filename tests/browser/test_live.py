from __future__ import annotations

import os
import signal

from playwright.sync_api import Route, expect

from service.local.redis import EmbeddedRedis
from tests.browser.conftest import Console, OpenPage


def test_what_happens_is_seen_without_a_reload(console: Console, open_page: OpenPage) -> None:
    """A new dead letter appears within seconds; selection and current row are kept."""
    console.nobody()
    page = open_page("/ops/leads?state=dead")
    page.evaluate("window.mark = 1")
    page.keyboard.press("j")
    page.keyboard.press("x")
    console.nobody()
    expect(page.locator("#headline")).to_contain_text("2 leads need you")
    expect(page.locator("#list tbody tr")).to_have_count(2)
    expect(page.locator("#bulk-bar")).to_contain_text("1 selected")
    expect(page.locator("#list tr.current")).to_have_count(1)
    expect(page.locator("#fresh")).to_have_text("live")
    assert page.evaluate("window.mark") == 1


def test_it_says_since_when_it_is_stale(console: Console, open_page: OpenPage) -> None:
    """While the service is down the page says since when it is stale, and a click can be retried."""
    console.nobody()
    page = open_page("/ops")
    page.route("**/ops**", lambda route: route.abort())
    expect(page.locator("#fresh")).to_contain_text("stale since")
    page.get_by_role("link", name="Audit").click()
    failed = page.get_by_role("alert").filter(has_text="The service isn't responding.")
    expect(failed).to_be_visible()
    page.unroute("**/ops**")
    failed.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    expect(failed).to_be_hidden()
    expect(page.locator("#fresh")).to_have_text("live")


def test_slow_answers_show_that_it_loads(console: Console, open_page: OpenPage) -> None:
    """While a page is slow to come, the old one says that it is loading."""
    console.nobody()
    page = open_page("/ops")
    routes: list[Route] = []
    page.route("**/ops/audit", lambda route: routes.append(route))
    page.get_by_role("link", name="Audit").click()
    expect(page.locator("#loading")).to_be_visible()
    routes[0].continue_()
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    expect(page.locator("#loading")).to_be_hidden()


def test_redis_away(console: Console, open_page: OpenPage, redis_server: EmbeddedRedis) -> None:
    """While Redis hangs the page says so and since when it is stale; then it recovers by itself."""
    console.nobody()
    page = open_page("/ops/leads?state=dead")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    assert redis_server.pid is not None
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        expect(page.locator(".banner.bad")).to_contain_text("Redis is down")
        expect(page.locator("#fresh")).to_contain_text("stale since")
        expect(page.locator("#list tbody tr")).to_have_count(1)
        page.get_by_role("link", name="Overview").click()
        expect(page.locator("#causes .card")).to_have_count(1)
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    expect(page.locator("#fresh")).to_have_text("live")

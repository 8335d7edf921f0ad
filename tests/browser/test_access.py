"""Accessibility: axe finds nothing serious on any page, light or dark, wide or narrow. And headers."""

from __future__ import annotations

from typing import Literal

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import NARROW, WIDE, Console, OpenPage
from tests.polling import eventually

LOOKS: tuple[tuple[Literal["light", "dark"], ViewportSize], ...] = (
    ("light", WIDE),
    ("dark", NARROW),
)
GRAVE = ("serious", "critical")
RUN = "axe.run({ resultTypes: ['violations'] }).then((results) => results.violations)"
SHOW = """(path) => {
  document.getElementById("main").dataset.old = "";
  history.pushState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate"));
}"""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def paths(console: Console) -> list[list[str]]:
    """Every page, with something on it: one list a template."""
    dead = console.dead(2)[0]
    nobody, quarantined = console.nobody(), console.post(website="x")
    delivered = console.post(company="Acme", utm_source="google")
    with console.worker():
        assert eventually(lambda: console.state(delivered) == "delivered")
    console.actions.discard(nobody, "vera")
    cause = console.queries.causes().items[0].id
    console.context.ledger.gate.pause("CRM migration", "vera")
    tabs = [
        f"/ops/leads/{delivered}?tab={tab}&reveal=1"
        for tab in ("received", "reading", "attempts", "timeline", "attribution")
    ]
    return [
        ["/ops"],
        ["/ops/leads", "/ops/leads?state=dead", "/ops/leads?state=dead&source=contact&q=zz",
         "/ops/leads?state=waiting"],
        [f"/ops/leads/{dead}?state=dead", f"/ops/leads/{dead}?reveal=1&edit=1",
         f"/ops/leads/{quarantined}?state=quarantined", f"/ops/leads/{nobody}", *tabs],
        [f"/ops/bulk?action=retry&state=dead&cause={cause}"],
        [f"/ops/causes/{cause}/mend"],
        ["/ops/audit"],
        ["/ops/leads/01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        ["/ops/sign-in"],
    ]  # fmt: skip


def open_with_axe(open_page: OpenPage) -> Page:
    page = open_page("/healthz", separate=True)
    page.add_init_script(Axe().axe_script)
    page.goto("/ops")
    return page


def show(page: Page, path: str) -> None:
    """As after a link: the console's script brings the other page into this one."""
    page.evaluate(SHOW, path)
    expect(page.locator("#main[data-old]")).to_have_count(0)


def findings(page: Page) -> list[str]:
    violations = page.evaluate(RUN)
    grave = [
        (each["id"], node["html"])
        for each in violations
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]
    return [f"{page.url}: {name}: {html[:200]}" for name, html in grave]


def both_looks(page: Page) -> list[str]:
    faults = []
    for scheme, size in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        faults += [f"{scheme}: {each}" for each in findings(page)]
    return faults


def test_axe_finds_nothing_grave(console: Console, open_page: OpenPage) -> None:
    """Contrast, names, landmarks and order are right in both colour schemes and at both widths."""
    every = paths(console)
    page = open_with_axe(open_page)
    faults = []
    for first, *others in every:
        page.goto(first)
        faults += both_looks(page)
        for path in others:
            show(page, path)
            faults += both_looks(page)
    assert faults == []


def test_axe_finds_nothing_grave_in_what_opens(console: Console, open_page: OpenPage) -> None:
    """Nor in dialogs, bulk progress, a flash message, or before the first lead."""
    page = open_with_axe(open_page)
    assert findings(page) == []
    console.nobody()
    page.goto("/ops")
    page.keyboard.press("?")
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Edit & retry 1").click()
    page.get_by_role("dialog").locator(".fields input").first.wait_for()
    assert findings(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Edit & retry 1").click()
    page.locator("#bulk-progress .bulk").wait_for()
    console.nobody()
    page.goto("/ops/leads?state=dead")
    page.locator("#list").get_by_role("button", name="Discard").first.click()
    page.locator(".toast").wait_for()
    assert findings(page) == []


def test_every_answer_has_the_policy(open_page: OpenPage) -> None:
    """Every answer allows only our own scripts and styles, and no inline code, framing or caching."""
    page = open_page("/ops")
    for path in ("/ops", "/ops/sign-in", "/ops/leads", "/ops/leads/nothing", "/ops/audit"):
        answer = page.goto(path)
        assert answer is not None
        headers = answer.headers
        assert headers["content-security-policy"] == POLICY
        assert (headers["cache-control"], headers["x-frame-options"]) == ("no-store", "DENY")
        assert headers["x-content-type-options"] == "nosniff"
        assert (
            page.evaluate(
                "document.querySelectorAll('[style], style, script:not([src]), [onclick]').length"
            )
            == 0
        )

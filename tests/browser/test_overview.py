from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Console, OpenPage


@pytest.mark.parametrize("narrow", [False, True])
def test_five_seconds(narrow: bool, console: Console, open_page: OpenPage) -> None:
    """The first page says how many leads are stuck, since when, why, and where to fix it."""
    console.dead(2)
    console.nobody()
    page = open_page("/ops", narrow=narrow)
    expect(page.locator("#headline")).to_have_text(
        re.compile(r"3 leads need you\s*oldest \d+ (s|min)\s*2 causes")
    )
    card = page.locator(".card").first
    expect(card.locator(".count")).to_contain_text("2")
    expect(card).to_contain_text("the account has no label 'Webinar'")
    expect(card.locator(".setting code")).to_have_text("sources.webinar.lead.labels")
    expect(card.get_by_role("link", name="I've fixed it, retry 2")).to_be_visible()
    expect(page.locator(".sum")).to_contain_text(
        "3 received = 0 delivered + 0 labelled + 0 waiting + 3 dead"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_ever(console: Console, open_page: OpenPage) -> None:
    """Before the first lead there is a command that sends one; the page shows it at once."""
    page = open_page("/ops")
    expect(page.get_by_role("heading", name="Send a test lead")).to_be_visible()
    command = page.locator("#onboarding pre").first.inner_text()
    assert command.startswith("curl ")
    settings = console.context.settings
    # The address of the settings, not the one in the Host header, which can be forged.
    assert f"http://{settings.host}:{settings.port}/in/contact" in command
    assert console.url not in command
    console.post()
    expect(page.locator(".sum")).to_contain_text("1 received")
    expect(page.get_by_role("heading", name="Send a test lead")).to_have_count(0)


def test_nothing_now(console: Console, open_page: OpenPage) -> None:
    """When all is well it says when the last lead was delivered, and how many were today."""
    console.post()
    with console.worker():
        page = open_page("/ops")
        expect(page.locator("#headline")).to_contain_text("Nothing needs you")
        expect(page.locator("#headline")).to_contain_text(
            re.compile(r"last lead delivered .*1 of 1 delivered today", re.DOTALL)
        )
    expect(page.get_by_role("heading", name="No failed leads")).to_be_visible()


def test_no_worker(console: Console, open_page: OpenPage) -> None:
    """Without a worker a banner says so and names the command that starts one."""
    console.post()
    page = open_page("/ops")
    banner = page.locator(".banner.bad")
    expect(banner).to_contain_text("No workers running")
    expect(banner.locator(".command")).to_have_text("leadline work")


def test_what_the_account_lacks(console: Console, open_page: OpenPage) -> None:
    """A banner names a missing label before a lead fails because of it."""
    with console.worker():
        page = open_page("/ops")
        banner = page.locator(".banner.warn")
        expect(banner).to_contain_text(
            "Missing in Pipedrive: label “Webinar” (needed by webinar).", timeout=20_000
        )


def test_pause_and_resume(console: Console, open_page: OpenPage) -> None:
    """A pause has a reason, shows it on every page, and ends with a button."""
    page = open_page("/ops")
    page.get_by_text("Pause delivery").first.click()
    page.get_by_label("Reason").fill("CRM migration")
    page.get_by_role("button", name="Pause delivery").click()
    banner = page.locator(".banner.warn")
    expect(banner).to_contain_text("Delivery is paused: CRM migration.")
    assert console.context.ledger.gate.find_pause() is not None
    page.goto("/ops/audit")
    expect(page.get_by_role("main")).to_contain_text("pause")
    page.locator(".banner").get_by_role("button", name="Resume").click()
    expect(page.locator(".banner.warn")).to_have_count(0)
    assert console.context.ledger.gate.find_pause() is None


def test_a_cause_is_ignored_until_it_comes_back(console: Console, open_page: OpenPage) -> None:
    """An ignored cause is hidden and not counted until undo or its next dead letter."""
    console.nobody()
    page = open_page("/ops")
    page.get_by_role("button", name="Ignore").click()
    expect(page.locator("#causes .card")).to_have_count(0)
    expect(page.locator("#ignored summary")).to_contain_text("1 ignored cause")
    page.keyboard.press("u")
    expect(page.locator("#causes .card")).to_have_count(1)
    page.get_by_role("button", name="Ignore").click()
    expect(page.locator("#causes .card")).to_have_count(0)
    console.nobody()
    expect(page.locator("#causes .card")).to_have_count(1)


def test_the_chart_has_each_source(console: Console, open_page: OpenPage) -> None:
    """Each configured source has a row with what it received and what was delivered."""
    console.post()
    page = open_page("/ops")
    rows = page.locator(".activity tbody tr")
    expect(rows).to_have_count(3)
    chart = rows.filter(has_text="contact").locator("svg")
    expect(chart).to_have_attribute(
        "aria-label", re.compile("^contact: 1 received and 0 delivered")
    )

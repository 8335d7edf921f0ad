from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import OPERATOR, Console, OpenPage


def test_without_a_script(console: Console, open_page: OpenPage) -> None:
    """Without JavaScript one can sign in, read pages, edit a lead, discard one and undo that."""
    id, other = console.nobody(), console.nobody()
    page = open_page("/ops", role=None, java_script_enabled=False)
    page.fill("#token", OPERATOR)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#headline")).to_contain_text("2 leads need you")
    page.locator("#headline a").first.click()
    page.locator(f"#open-{id}").click()
    page.get_by_role("link", name="Timeline").click()
    expect(page.locator(".timeline li")).to_have_count(1)
    page.locator("#actions").get_by_role("link", name="Edit").click()
    page.get_by_label("E-mail").fill("grace@navy.example")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator("#flash")).to_contain_text("Saved")
    assert console.state(id) == "queued"
    page.goto("/ops/leads?state=dead")
    page.get_by_role("button", name="Discard", exact=False).last.click()
    assert console.state(other) == "discarded"
    page.locator("#flash").get_by_role("button", name="Undo").click()
    assert console.state(other) == "dead"


def test_many_without_a_script(console: Console, open_page: OpenPage) -> None:
    """Without JavaScript a bulk action is confirmed and followed on pages of its own."""
    console.nobody()
    page = open_page("/ops", java_script_enabled=False)
    page.get_by_role("link", name="Edit & retry 1").click()
    expect(page.get_by_role("heading", name="Edit & retry 1 lead")).to_be_visible()
    page.get_by_label("E-mail").fill("desk@acme.example")
    page.get_by_role("button", name="Edit & retry 1").click()
    page.locator("#bulk-progress").get_by_role("link").first.click()
    expect(page.get_by_role("main")).to_contain_text("delivered")

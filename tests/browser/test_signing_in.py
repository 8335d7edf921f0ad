from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import OPERATOR, Console, OpenPage


def test_in_by_hand_to_the_page_asked_for_and_out(console: Console, open_page: OpenPage) -> None:
    """A wrong token is refused, the right one leads to the page asked for, sign-out ends that."""
    page = open_page("/ops/audit", role=None)
    page.fill("#token", "not-the-token")
    page.press("#token", "Enter")
    expect(page.get_by_role("alert")).to_have_text("That token isn't valid.")
    page.fill("#token", OPERATOR)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{console.url}/ops/audit")
    expect(page.locator(".user")).to_have_text("kim operator")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/ops/sign-in?notice=signed-out")
    expect(page.get_by_role("status")).to_have_text("You are signed out.")
    page.goto("/ops/audit")
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_viewer_looks_and_is_refused_the_rest(console: Console, open_page: OpenPage) -> None:
    """A viewer has no buttons that act, and a forged request is refused."""
    id = console.nobody()
    page = open_page(f"/ops/leads/{id}", role="viewer")
    expect(page.get_by_text("Personal data is masked for your role")).to_be_visible()
    for name in ("Retry", "Discard", "Edit", "Reveal", "Accept"):
        expect(page.get_by_role("main").get_by_role("button", name=name)).to_have_count(0)
    post = (
        "id => { const form = document.querySelector('form.act'); form.action ="
        " `/ops/leads/${id}/retry`; form.submit(); }"
    )
    page.evaluate(post, id)
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    assert console.state(id) == "dead"
    page.goto("/ops/bulk?action=retry&state=dead")
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()


def test_an_ended_session_leads_to_the_sign_in_page(console: Console, open_page: OpenPage) -> None:
    """When a session ends elsewhere, the next step asks to sign in and then goes on."""
    console.nobody()
    page = open_page("/ops")
    page.context.clear_cookies()
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_label("Token")).to_be_visible()

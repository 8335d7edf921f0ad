from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Console, OpenPage
from tests.polling import eventually


def test_mended_once_they_all_arrive(console: Console, open_page: OpenPage) -> None:
    """The dialog says how many, which sources and what cost; then all arrive without a reload."""
    console.dead(5)
    console.add_missing_label()
    page = open_page("/ops")
    page.evaluate("window.mark = 1")
    page.get_by_role("link", name="I've fixed it, retry 5").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Retry 5 leads")).to_be_visible()
    expect(dialog).to_contain_text("webinar (5)")
    expect(dialog).to_contain_text("at most 175")
    expect(dialog).to_contain_text("We try 3 first")
    with console.worker():
        dialog.get_by_role("button", name="I've fixed it, retry 5").click()
        tray = page.locator("#bulk-progress")
        expect(tray).to_contain_text("Retried 5 leads")
        expect(tray).to_contain_text("5 delivered")
        expect(page.locator("#headline")).to_contain_text("Nothing needs you")
    assert page.evaluate("window.mark") == 1
    assert len(console.leads()) == 5
    tray.get_by_role("link", name="Close").click()
    expect(tray.locator(".bulk")).to_have_count(0)


def test_one_edit_for_all(console: Console, open_page: OpenPage) -> None:
    """The failing field comes first; its value is set on every lead of the cause."""
    ids = [console.nobody() for _ in range(2)]
    page = open_page("/ops")
    page.get_by_role("link", name="Edit & retry 2").click()
    dialog = page.get_by_role("dialog")
    first = dialog.locator(".fields input").first
    expect(first).to_be_focused()
    expect(first).to_have_attribute("type", "email")
    first.fill("nonsense")
    dialog.get_by_role("button", name="Edit & retry 2").click()
    expect(dialog.locator(".field .error")).to_contain_text("Enter a valid e-mail address")
    assert console.states() == ["dead", "dead"]
    dialog.locator(".fields input").first.fill("desk@acme.example")
    with console.worker():
        dialog.get_by_role("button", name="Edit & retry 2").click()
        assert eventually(lambda: console.states() == ["delivered", "delivered"])
    records = [console.context.ledger.get(id) for id in ids]
    assert [record.lead.email for record in records if record and record.lead] == [
        "desk@acme.example"
    ] * 2


def test_canaries_spare_the_rest(console: Console, open_page: OpenPage) -> None:
    """If the cause is not fixed, three fail again and the others are left untouched."""
    console.dead(6)
    page = open_page("/ops/leads?state=dead")
    page.get_by_role("link", name="Retry all 6").click()
    with console.worker():
        page.get_by_role("dialog").get_by_role("button", name="Retry 6").click()
        expect(page.locator("#bulk-progress")).to_contain_text(
            "Stopped automatically", timeout=30_000
        )
        expect(page.locator("#bulk-progress")).to_contain_text("3 failed again")
        expect(page.locator("#bulk-progress")).to_contain_text("3 left untouched")
        expect(page.locator("#bulk-progress")).to_contain_text("Retried 3 of 6 leads")


def test_another_count_than_was_agreed_to(console: Console, open_page: OpenPage) -> None:
    """If the count has changed since the question, nothing starts and the new count is asked for."""
    console.nobody()
    page = open_page("/ops/leads?state=dead")
    page.get_by_role("link", name="Discard all 1").click()
    expect(page.get_by_role("dialog")).to_contain_text("Discard 1 lead")
    console.nobody()
    page.get_by_role("dialog").get_by_role("button", name="Discard 1").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "2 leads match now, not 1"
    )
    assert console.states() == ["dead", "dead"]


def test_a_button_counts_what_it_may_touch(console: Console, open_page: OpenPage) -> None:
    """Over several states each button counts only the leads that its action can take."""
    console.nobody()
    console.post(website="x")
    page = open_page("/ops/leads?state=dead,quarantined")
    expect(page.locator("#bulk-bar .matching a")).to_have_text(
        ["Retry all 1", "Accept all 1", "Discard all 2"]
    )


def test_stop(console: Console, open_page: OpenPage) -> None:
    """A running action can be stopped; leads that had not started are left untouched."""
    console.dead(5)
    console.context.ledger.gate.pause("so that it takes its time", "vera")
    page = open_page("/ops/leads?state=dead")
    page.get_by_role("link", name="Retry all 5").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry 5").click()
    tray = page.locator("#bulk-progress")
    expect(tray).to_contain_text("Retrying 5 leads")
    tray.get_by_role("button", name="Stop").click()
    expect(tray).to_contain_text("5 left untouched")
    assert console.states() == ["dead"] * 5


def test_those_that_are_ticked(console: Console, open_page: OpenPage) -> None:
    """Selected rows are discarded together, their outcome is shown, and Undo brings them back."""
    for _ in range(3):
        console.nobody()
    page = open_page("/ops/leads?state=dead")
    boxes = page.locator("#list tbody input[type=checkbox]")
    boxes.nth(0).check()
    boxes.nth(2).check()
    bar = page.locator("#bulk-bar")
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Discard").click()
    expect(page.locator("#bulk-progress")).to_contain_text("2 discarded")
    assert console.states() == ["dead", "discarded", "discarded"]
    page.locator("#bulk-progress").get_by_role("button", name="Undo").click()
    expect(page.locator("#total")).to_have_text("3")
    assert console.states() == ["dead"] * 3


def test_all_that_match(console: Console, open_page: OpenPage) -> None:
    """Selecting a whole page offers the action on all that match, with their number."""
    for _ in range(52):
        console.nobody()
    page = open_page("/ops/leads?state=dead")
    page.get_by_label("Select all 50").check()
    page.get_by_role("link", name="Retry all 52 matching").click()
    expect(page.get_by_role("dialog").get_by_role("heading", name="Retry 52 leads")).to_be_visible()

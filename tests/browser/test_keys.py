from __future__ import annotations

from playwright.sync_api import Dialog, Page, expect

from tests.browser.conftest import Console, OpenPage


def current(page: Page) -> str | None:
    return page.locator("#list tr.current").get_attribute("data-key")


def test_a_lead_by_keys_alone(console: Console, open_page: OpenPage) -> None:
    """j and k move, Enter opens, Esc goes back, d discards, u undoes, e edits; focus follows."""
    for _ in range(3):
        console.nobody()
    page = open_page("/ops/leads?state=dead")
    order = [row.get_attribute("data-key") for row in page.locator("#list tbody tr").all()]
    for key in "jjk":
        page.keyboard.press(key)
    assert current(page) == order[0]
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_focused()
    expect(page.locator("#detail")).to_have_attribute("data-key", order[1] or "")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_have_count(0)
    expect(page.locator(f"#open-{order[1]}")).to_be_focused()
    page.keyboard.press("d")
    expect(page.locator("#total")).to_have_text("2")
    assert console.state(order[1] or "") == "discarded"
    expect(page.locator(f"#open-{order[2]}")).to_be_focused()
    page.keyboard.press("u")
    expect(page.locator("#total")).to_have_text("3")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("e")
    expect(page.locator("#lead-form")).to_be_visible()


def test_many_by_keys(console: Console, open_page: OpenPage) -> None:
    """x selects, a selects all, Esc clears the selection, r retries what is selected."""
    for _ in range(3):
        console.nobody()
    page = open_page("/ops/leads?state=dead")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#bulk-bar")).to_contain_text("1 selected")
    page.keyboard.press("a")
    expect(page.locator("#bulk-bar")).to_contain_text("3 selected")
    page.keyboard.press("Escape")
    expect(page.locator("#bulk-bar")).to_contain_text("Select all 3")
    page.keyboard.press("x")
    page.keyboard.press("r")
    expect(page.locator("#bulk-progress")).to_contain_text("1 lead")


def test_no_key_acts_while_somebody_types(console: Console, open_page: OpenPage) -> None:
    """In a field keys are letters until Esc; / searches, ? shows help, and a dialog takes none."""
    id = console.nobody()
    page = open_page("/ops/leads?state=dead")
    page.keyboard.press("j")
    page.keyboard.press("/")
    expect(page.get_by_label("Search leads")).to_be_focused()
    page.keyboard.type("rdxaj?")
    expect(page.get_by_label("Search leads")).to_have_value("rdxaj?")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("d")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert console.state(id) == "dead"


def test_what_was_typed_is_not_lost_by_a_key(console: Console, open_page: OpenPage) -> None:
    """Esc out of a changed form asks first, and polling does not overwrite typed text."""
    id = console.nobody()
    page = open_page(f"/ops/leads/{id}?state=dead&reveal=1&edit=1", separate=True)
    page.get_by_label("Name", exact=True).fill("Grace")
    console.nobody()
    expect(page.locator("#total")).to_have_text("2")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Grace")
    questions: list[str] = []

    def stay(question: Dialog) -> None:
        questions.append(question.message)
        question.dismiss()

    page.on("dialog", stay)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#lead-form")).to_be_visible()
    assert questions == ["Leave without saving your changes?"]
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator("#flash")).to_contain_text("Saved")

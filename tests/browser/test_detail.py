from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Console, OpenPage
from tests.polling import eventually


def test_mended_by_hand_it_arrives(console: Console, open_page: OpenPage) -> None:
    """The failing field shows its error; once saved, the lead is seen to arrive without a reload."""
    id = console.nobody()
    page = open_page(f"/ops/leads/{id}?state=dead")
    page.evaluate("window.mark = 1")
    page.locator("#actions").get_by_role("link", name="Edit").click()
    field = page.get_by_label("E-mail")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_attribute("type", "email")
    field.fill("nonsense")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator(".field.invalid .error")).to_contain_text("Enter a valid e-mail address")
    expect(field).to_have_value("nonsense")
    field.fill("grace@navy.example")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator("#flash")).to_contain_text("Saved and queued for delivery.")
    with console.worker():
        expect(page.locator("#detail-facts .state")).to_have_text("Delivered")
    assert page.evaluate("window.mark") == 1
    [lead] = console.leads()
    assert id in lead["origin_id"]
    page.locator("[data-tab=received]").click()
    expect(page.locator(".diff")).to_contain_text("E-mail")


def test_an_answer_is_added(console: Console, open_page: OpenPage) -> None:
    """An operator can add an answer to a lead; consent is chosen, not typed."""
    id = console.nobody()
    page = open_page(f"/ops/leads/{id}?reveal=1&edit=1")
    page.get_by_label("Add an answer").fill("Seats")
    page.get_by_label("Answer", exact=True).fill("40")
    page.get_by_text("more fields").click()
    page.get_by_label("Consent").select_option("yes")
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator("#flash")).to_contain_text("Saved")
    record = console.context.ledger.get(id)
    assert record is not None
    assert record.lead is not None
    assert (record.lead.answers["Seats"], record.lead.consent, record.lead.name) == (
        "40",
        True,
        "Grace Hopper",
    )


def test_checked_before_it_is_saved(console: Console, open_page: OpenPage) -> None:
    """A preview shows what a retry would send, with unsaved changes too, and changes nothing."""
    id = console.nobody()
    page = open_page(f"/ops/leads/{id}?state=dead&reveal=1&edit=1")
    tab = page.locator("#tab-preview")
    expect(tab).to_contain_text("It would fail again.")
    page.get_by_role("textbox", name="E-mail").fill("grace@navy.example")
    page.get_by_role("button", name="Check").click()
    expect(tab).to_contain_text("No problem found that we can check.")
    expect(tab).to_contain_text("not saved yet")
    expect(page.get_by_role("textbox", name="E-mail")).to_have_value("grace@navy.example")
    record = console.context.ledger.get(id)
    assert record is not None
    assert record.lead is not None
    assert (record.state, record.lead.email) == ("dead", None)
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator("#flash")).to_contain_text("Saved")


def test_who_saves_second_is_told(console: Console, open_page: OpenPage) -> None:
    """A form never overwrites a change that it has not seen, and keeps what was typed."""
    [id] = console.dead()
    page = open_page(f"/ops/leads/{id}?reveal=1&edit=1")
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    console.actions.retry(id, "vera", {"company": "Navy Labs"})
    with console.worker():
        assert eventually(lambda: console.state(id) == "dead")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.get_by_text("Someone else changed this lead")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Grace Hopper")
    record = console.context.ledger.get(id)
    assert record is not None
    assert record.lead is not None
    assert (record.lead.name, record.lead.company) == ("Ada Lovelace", "Navy Labs")


def test_a_discard_is_undone(console: Console, open_page: OpenPage) -> None:
    """A discarded lead leaves the list at once; Undo brings it back."""
    id = console.nobody()
    page = open_page(f"/ops/leads/{id}?state=dead")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#list .empty")).to_be_visible()
    assert console.state(id) == "discarded"
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#list tbody tr")).to_have_count(1)
    assert console.state(id) == "dead"
    page.goto(f"/ops/leads/{id}")
    page.get_by_role("link", name="Timeline").click()
    expect(page.locator(".timeline li")).to_have_count(3)


def test_accepted_from_quarantine(console: Console, open_page: OpenPage) -> None:
    """A quarantined lead says why it is held, and is delivered once accepted."""
    id = console.post(website="http://spam.example")
    page = open_page("/ops")
    page.get_by_role("link", name="Quarantine 1").click()
    expect(page.locator("#list tbody .c-cause")).to_have_text(
        'Held as spam: the hidden field "website" was filled in'
    )
    page.locator("#list tbody th a").click()
    expect(page.locator("#detail .problem.spam")).to_contain_text("Held as spam")
    page.locator("#actions").get_by_role("button", name="Accept").click()
    expect(page.locator("#flash")).to_contain_text("Accepted")
    with console.worker():
        assert eventually(lambda: console.state(id) == "delivered")


def test_a_look_at_personal_data_is_logged_once(console: Console, open_page: OpenPage) -> None:
    """Data are masked until revealed; each look is audited, and polling adds no looks."""
    id = console.nobody()
    masked = console.post(name="Grace Hopper", email="grace@navy.example")
    page = open_page(f"/ops/leads/{masked}")
    expect(page.locator("#detail")).to_contain_text("g…@navy.example")
    expect(page.locator("#detail")).not_to_contain_text("grace@navy.example")
    page.locator("#actions").get_by_role("link", name="Reveal").click()
    expect(page.locator("#detail")).to_contain_text("grace@navy.example")
    console.actions.discard(id, "vera")
    expect(page.locator(".sum")).to_contain_text("1 discarded")
    expect(page.locator("#detail")).to_contain_text("grace@navy.example")
    page.locator("[data-tab=received]").click()
    expect(page).to_have_url(re.compile("tab=received"))
    expect(page.locator("pre.body")).to_contain_text("grace%40navy.example")
    looks = [entry for entry in console.actions.audit.read_page()[0] if entry.action == "reveal"]
    assert [(entry.who, entry.target) for entry in looks] == [("kim", masked)] * 2


def test_the_story_of_a_delivery(console: Console, open_page: OpenPage) -> None:
    """A delivered lead shows its calls, its ids in Pipedrive, and the rule that set its channel."""
    id = console.post(utm_source="google", utm_campaign="spring")
    with console.worker():
        assert eventually(lambda: console.state(id) == "delivered")
    page = open_page(f"/ops/leads/{id}")
    expect(page.locator(".attempts tbody tr").first).to_be_visible()
    expect(page.get_by_role("heading", name="In Pipedrive")).to_be_visible()
    page.locator("[data-tab=attribution]").click()
    expect(page.locator("#tab-attribution")).to_contain_text("rule 1: utm_source is “google”")
    expect(page.locator("#tab-attribution")).to_contain_text("Paid search")


def test_what_strangers_wrote_is_text(console: Console, open_page: OpenPage) -> None:
    """Markup in a field stays text on every page that shows it."""
    evil = (
        "\"'><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    )
    fields = {"name": evil, "company": evil, "message": evil, "utm_campaign": evil, evil: evil}
    [id] = console.dead(1, **fields)
    paths = [
        "/ops",
        "/ops/leads",
        "/ops/leads?q=%3Cscript%3E",
        f"/ops/leads?cause={id}%22%3E%3Cscript%3E",
    ]
    paths += [
        f"/ops/leads/{id}?reveal=1&edit=1&tab=received",
        f"/ops/leads/{id}?reveal=1&tab=attribution",
    ]
    page = open_page()
    for path in paths:
        page.goto(path)
        assert (
            page.evaluate("document.querySelectorAll('main script, main img, main iframe').length")
            == 0
        )
        assert "owned" not in page.title()


def test_how_it_was_read(console: Console, open_page: OpenPage) -> None:
    """A tab says what each field became and why not another, masked until revealed."""
    id = console.post(name="Grace Hopper", email="grace@navy.example", recipient_name="Bob Kahn")
    page = open_page(f"/ops/leads/{id}")
    page.get_by_role("link", name="How it was read").click()
    table = page.locator("#tab-reading table")
    expect(table.get_by_role("row", name="recipient_name")).to_contain_text(
        "name of recipient: another owner"
    )
    expect(table).to_contain_text("g…@navy.example")
    expect(table).not_to_contain_text("Kahn")
    page.locator("#actions").get_by_role("link", name="Reveal").click()
    expect(table).to_contain_text("Bob Kahn")

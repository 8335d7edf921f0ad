"""The whole story: dead letters of four causes are fixed and delivered, without a reload."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from service.sources.source_file.watcher import SourceFileWatcher
from tests.browser.conftest import NARROW, OPERATOR, WIDE, Console, OpenPage
from tests.polling import eventually

# How long some ten leads may take to arrive on a busy machine.
ARRIVAL_MS = 90_000

# The account has no label `Webinar` and no channel `Partners` (it is called `Partner`), it refuses
# the currency CHF although it lists it, and the surveys have no contact details.
SOURCES = """
[sources.contact]
rate_limit = "off"
leads_per_hour = "off"
dedupe_window = 0
map = { budget = "value.amount", currency = "value.currency" }

[sources.contact.lead]
labels = ["Website"]
channel = "Web forms"
existing = "new"
value = { amount = "{value.amount}", currency = "{value.currency}" }

[sources.webinar]
rate_limit = "off"
leads_per_hour = "off"
dedupe_window = 0

[sources.webinar.lead]
labels = ["Webinar"]
existing = "new"

[sources.partner]
adapter = "json"

[sources.partner.lead]
channel = "Partners"
existing = "new"

[sources.survey]
adapter = "typeform"
verify = { scheme = "none" }

[sources.survey.lead]
existing = "new"
"""


NO_CHF = {
    "match": {"operation": "leads.add", "body_contains": '"CHF"'},
    "effect": {
        "kind": "answer",
        "status": 400,
        "body": {
            "success": False,
            "error": '"value.currency" must be a currency of this company',
            "error_info": "Please check developers.pipedrive.com",
            "data": None,
            "additional_data": None,
        },
    },
}


class Story:
    """One person at one page, at a desk or on a phone in turn; `each` leads of every cause."""

    def __init__(self, page: Page, console: Console, each: int) -> None:
        self.page = page
        self.console = console
        self.each = each

    def card(self, title: str) -> Locator:
        return self.page.locator("#causes .card").filter(has_text=title)

    def left(self, count: int) -> None:
        """Waits until the status bar shows `count` leads."""
        headline = (
            "Nothing needs you"
            if not count
            else f"{count} lead{'s need' if count > 1 else ' needs'} you"
        )
        expect(self.page.locator("#headline")).to_contain_text(headline, timeout=ARRIVAL_MS)

    def ask(self, title: str, button: str, count: int) -> Locator:
        """The dialog that a card's button opens."""
        self.card(title).get_by_role("link", name=button, exact=True).click()
        dialog = self.page.get_by_role("dialog")
        heading = re.compile(f"retry {count} leads", re.IGNORECASE)
        expect(dialog.get_by_role("heading", name=heading)).to_be_visible(timeout=ARRIVAL_MS)
        return dialog

    def outcome(self, *texts: str) -> None:
        """Waits until the only bulk action has finished and shows `texts`, then closes it."""
        bulk = self.page.locator("#bulk-progress .bulk.finished")
        for text in texts:
            expect(bulk).to_contain_text(text, timeout=ARRIVAL_MS)
        bulk.get_by_role("link", name="Close").click()
        expect(self.page.locator("#bulk-progress .bulk")).to_have_count(0, timeout=ARRIVAL_MS)

    def at_a_desk(self) -> None:
        self.page.set_viewport_size(WIDE)

    def on_a_phone(self) -> None:
        self.page.set_viewport_size(NARROW)

    def fits(self) -> None:
        """Nothing is wider than the page, at a desk and on a phone."""
        before = self.page.viewport_size
        assert before is not None
        for size in (WIDE, NARROW, before):
            self.page.set_viewport_size(size)
            assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def send(console: Console, each: int) -> None:
    """`each` submissions of every kind."""
    with httpx.Client(base_url=console.url, timeout=20, trust_env=False) as http:
        for number in range(each):
            form = {
                "name": "Béla Nagy",
                "email": f"bela{number}@example.hu",
                "budget": str(1000 + number),
                "currency": "CHF",
            }
            http.post("/in/contact", data=form).raise_for_status()
            http.post(
                "/in/webinar", data={"name": "Ada King", "email": f"ada{number}@example.com"}
            ).raise_for_status()
            http.post(
                "/in/partner", json={"name": "Grace Hopper", "email": f"grace{number}@navy.example"}
            ).raise_for_status()
            http.post("/in/survey", json=survey(number)).raise_for_status()


def survey(number: int) -> dict[str, Any]:
    field = {"id": "a", "title": "What do you need?", "type": "short_text", "ref": "r"}
    answer = {
        "type": "text",
        "text": f"{number + 1} seats",
        "field": {"id": "a", "type": "short_text", "ref": "r"},
    }
    form = {"form_id": "f", "token": f"t{number}", "submitted_at": "2026-05-01T09:00:00Z",
            "definition": {"id": "f", "title": "Survey", "fields": [field]},
            "answers": [answer]}  # fmt: skip
    return {"event_id": f"e{number}", "event_type": "form_response", "form_response": form}


def sign_in(page: Page) -> None:
    page.fill("#token", OPERATOR)
    page.get_by_role("button", name="Sign in").click()
    page.evaluate("window.mark = 1")


NOBODY, CURRENCY = "No contact details", "rejected the lead's currency"
LABEL, CHANNEL = "missing a label", "missing a channel"


def fix_one(story: Story) -> None:
    """One lead by hand: its error is shown at the field, and it is seen to arrive."""
    page = story.page
    story.card(NOBODY).get_by_role("link", name="See them").click()
    page.locator("#list tbody th a").first.click()
    page.locator("#actions").get_by_role("link", name="Edit").click()
    field = page.get_by_label("E-mail")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("at the desk")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator(".field.invalid .error")).to_contain_text("Enter a valid e-mail address")
    expect(field).to_be_focused()
    story.fits()
    field.fill("grace@navy.example")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator("#detail-facts .state")).to_have_text("Delivered", timeout=ARRIVAL_MS)
    page.get_by_role("link", name="Overview").click()


def fix_all(
    story: Story, title: str, count: int, label: str, wrong: str, right: str, error: str
) -> None:
    """One edit for all leads of a cause, first with a wrong value, then with a right one."""
    button = f"Edit & retry {count}"
    dialog = story.ask(title, button, count)
    expect(dialog).to_contain_text("We try 3 first")
    first = dialog.get_by_label(label)
    expect(dialog.locator(".fields input").first).to_be_focused()
    first.fill(wrong)
    dialog.get_by_role("button", name=button).click()
    expect(dialog.locator(".field.invalid .error")).to_contain_text(error, timeout=ARRIVAL_MS)
    story.fits()
    dialog.get_by_label(label).fill(right)
    dialog.get_by_role("button", name=button).click()
    story.outcome(f"Retried {count} leads", f"{count} delivered")


def fix_the_account(story: Story) -> None:
    """Before the label exists, three fail again and spare the rest; afterwards all arrive."""
    each = story.each
    button = f"I've fixed it, retry {each}"
    dialog = story.ask(LABEL, button, each)
    dialog.get_by_role("button", name=button).click()
    story.outcome("Stopped automatically", "3 failed again", f"{each - 3} left untouched")
    story.console.add_missing_label()
    story.on_a_phone()
    dialog = story.ask(LABEL, button, each)
    expect(dialog).to_contain_text("Fix it in Pipedrive or in leadline.toml first")
    dialog.get_by_role("button", name=button).click()
    story.outcome(f"Retried {each} leads", f"{each} delivered")


def fix_the_file(story: Story, file: Path) -> None:
    """The setting that the card names is corrected in the source file, which is reloaded."""
    expect(story.card(CHANNEL).locator(".setting code")).to_have_text(
        "sources.partner.lead.channel"
    )
    file.write_text(file.read_text("utf-8").replace('"Partners"', '"Partner"'), "utf-8")
    sources = story.console.context.sources
    assert isinstance(sources, SourceFileWatcher)
    assert eventually(lambda: sources.sources["partner"].lead.channel == "Partner")


def retry_by_keys(story: Story) -> None:
    """From the overview to the last lead without a mouse."""
    page = story.page
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#list tbody tr")).to_have_count(story.each)
    page.keyboard.press("a")
    expect(page.locator("#bulk-bar")).to_contain_text(f"{story.each} selected")
    page.keyboard.press("r")
    story.outcome(f"Retried {story.each} leads", f"{story.each} delivered")


@pytest.mark.timeout(600)
def test_from_dead_to_delivered(console: Console, open_page: OpenPage, tmp_path: Path) -> None:
    """An operator sees what is wrong, fixes it cause by cause, and watches the count go to zero."""
    each = 8
    file = tmp_path / "leadline.toml"
    file.write_text(SOURCES, "utf-8")
    assert eventually(lambda: "partner" in console.context.sources.sources)
    page = open_page("/ops", role=None)
    sign_in(page)
    story = Story(page, console, each)
    console.sandbox.post("/_sandbox/faults", json=NO_CHF).raise_for_status()
    with console.worker():
        send(console, each)
        story.left(4 * each)
        expect(page.locator("#causes .card")).to_have_count(4)
        for title in (NOBODY, CURRENCY, LABEL, CHANNEL):
            expect(story.card(title).locator(".count")).to_contain_text(str(each))
            expect(story.card(title).locator(".fix")).to_be_visible()
        story.fits()
        story.on_a_phone()
        fix_one(story)
        story.left(4 * each - 1)
        fix_all(
            story,
            NOBODY,
            each - 1,
            "E-mail",
            "nobody",
            "desk@acme.example",
            "Enter a valid e-mail address",
        )
        story.left(3 * each)
        story.at_a_desk()
        fix_all(story, CURRENCY, each, "Currency", "E1", "EUR", "three-letter")
        story.left(2 * each)
        fix_the_account(story)
        story.left(each)
        story.at_a_desk()
        fix_the_file(story, file)
        retry_by_keys(story)
        story.left(0)
        expect(page.locator(".sum")).to_contain_text(
            f"{4 * each} received = {4 * each} delivered + 0 labelled + 0 waiting + 0 dead"
        )
    assert page.evaluate("window.mark") == 1
    assert_all_there(console, 4 * each)


def assert_all_there(console: Console, count: int) -> None:
    """Each submission is one lead in Pipedrive, and each address one person."""
    leads = console.leads()
    assert len(leads) == count
    assert {lead["origin_id"].partition(":")[2] for lead in leads} == set(console.ids())
    totals = console.sandbox.get("/_sandbox/totals").json()
    assert not any(totals["duplicates"].values())
    assert console.states() == ["delivered"] * count

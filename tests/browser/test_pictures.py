"""The pictures of the documents: the console on a day with some trouble. All names are invented.

`make pictures` writes them to docs/pictures; else they are taken into a temporary folder and
thrown away.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from playwright.sync_api import ViewportSize, expect

from tests.browser.conftest import Console, OpenPage
from tests.browser.placing import know, place, submission
from tests.polling import eventually
from worker.causes import cause_of, no_contact
from worker.contract import Cause, Lead, Money, Raw, State, Submission, Utm
from worker.drift.drift import DriftFinding, DriftReport
from worker.errors import Invalid, UnknownName
from worker.store import keys

# The environment variable that names the folder of the pictures.
FOLDER = "LEADLINE_PICTURES"

TALL = ViewportSize(width=1280, height=1080)
HOUR = 3600.0
SOURCES = """
[sources.contact.lead]
labels = ["Website"]
channel = "Web forms"

[sources.webinar.lead]
labels = ["Webinar"]
channel = "Campaigns"

[sources.partner]
adapter = "json"

[sources.partner.lead]
channel = "Partner portal"

[sources.typeform]
adapter = "typeform"
verify = { scheme = "none" }

[sources.typeform.lead]
channel = "Web forms"

[sources.shop]
adapter = "json"

[sources.shop.lead]
channel = "Marketplace"
"""
FLOW = {"contact": 11.0, "webinar": 4.0, "partner": 3.0, "typeform": 5.0, "shop": 3.5}
"""Submissions of an hour at noon."""

SILENT, SILENT_HOURS = "shop", 7
FIRST = (
    "Anna",
    "Bertrand",
    "Carla",
    "Dario",
    "Elif",
    "Fredrik",
    "Greta",
    "Hugo",
    "Ines",
    "Jakub",
    "Kaya",
    "Lucie",
    "Mattis",
    "Nora",
)
LAST = (
    "Adler",
    "Bianchi",
    "Carvalho",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Horvat",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Novak",
)
# A post of a property's page, with the agent's data beside the visitor's.
LISTING = {
    "name": "Nora Lindqvist",
    "email": "Nora Lindqvist <Nora@Harbour.example>",
    "Telefon": "0170 1234567 (Handy)",
    "agent[email]": "rolf@agency.example",
    "agent[phone]": "+49 30 5550100",
    "Worum geht es?": "Ist die Wohnung noch frei?",
    "gclid": "Cj0KCQiA",
}
COMPANIES = ("Alder & Birch", "Brightwater Logistics", "Cobalt Works", "Danube Foods", "Eastgate Clinics", "Fjord Textiles",
             "Granite Tools", "Harbour Coffee", "Ivory Dental", "Juniper Hotels", "Kestrel Solar",
             "Linden Schools")  # fmt: skip
CAMPAIGNS = ("spring-launch", "brand", "retargeting-eu", "partner-week", None, None)


def lead(dice: random.Random) -> Lead:
    first, last, company = dice.choice(FIRST), dice.choice(LAST), dice.choice(COMPANIES)
    campaign = dice.choice(CAMPAIGNS)
    return Lead(
        name=f"{first} {last}",
        email=f"{first}.{last}@{company.split()[0]}.example".lower(),
        company=company,
        message=NEED,
        utm=Utm(source="google", medium="cpc", campaign=campaign) if campaign else Utm(),
    )


def busy(hour: int) -> float:
    """How busy an hour (UTC) is, from 0 to 1."""
    return (
        0.1,
        0.05,
        0.05,
        0.05,
        0.1,
        0.2,
        0.4,
        0.7,
        0.9,
        1.0,
        1.0,
        0.9,
        0.8,
        0.9,
        1.0,
        0.95,
        0.8,
        0.6,
        0.5,
        0.45,
        0.4,
        0.3,
        0.2,
        0.15,
    )[hour]


def day(now: float, dice: random.Random) -> Iterator[Submission]:
    """Submissions of the last 24 hours that were delivered or ignored."""
    for source, rush in FLOW.items():
        for hours in range(24, 0, -1):
            start = now - hours * HOUR
            if source == SILENT and hours <= SILENT_HOURS:
                break
            share = 0.8 if source == SILENT else busy(time.gmtime(start).tm_hour)
            for _ in range(max(source == SILENT, round(dice.gauss(rush * share, rush / 6)))):
                state = dice.choices((State.DELIVERED, State.IGNORED), (40, 1))[0]
                yield submission(source, state, start + dice.random() * HOUR * 0.98, lead(dice))


def causes() -> Iterator[tuple[str, Cause, int, float, float]]:
    """Source, cause, how many, and between how many hours ago."""
    available = ["Cold", "Customer", "Hot", "Partner", "Warm", "Website"]
    label = UnknownName(
        "label", "Webinar", setting="sources.webinar.lead.labels", available=available
    )
    yield "webinar", cause_of(label, step="names", source="webinar"), 21, 3.2, 0.2
    channels = ["Campaigns", "Marketplace", "Paid search", "Partner", "Web forms"]
    channel = UnknownName(
        "channel", "Partner portal", setting="sources.partner.lead.channel", available=channels
    )
    yield "partner", cause_of(channel, step="names", source="partner"), 9, 9.5, 1.1
    currency = Invalid(
        "leads.add",
        '"value.currency" must be a currency of this company',
        status=400,
        field="value.currency",
    )
    yield "contact", cause_of(currency, step="lead", source="contact"), 6, 6.4, 0.4
    yield "typeform", no_contact("typeform", "intake", None), 4, 14.0, 2.6


def troubled(now: float, dice: random.Random) -> Iterator[Submission]:
    """Dead letters and quarantined submissions."""
    for source, cause, count, first, last in causes():
        ages = [first, last, *(dice.uniform(last, first) for _ in range(count - 2))]
        for age in sorted(ages, reverse=True):
            failed = _add_trouble(lead(dice), source, dice)
            yield submission(
                source, State.DEAD, now - age * HOUR, failed, cause=cause, raw=posted(failed)
            )
    for age in (0.6, 2.1, 5.5):
        why = 'the hidden field "website" was filled in'
        yield submission("contact", State.QUARANTINED, now - age * HOUR, lead(dice), why=why)


def _add_trouble(lead: Lead, source: str, dice: random.Random) -> Lead:
    if source == "contact":
        value = Money(dice.randrange(8, 60) * 100_000, "HUF")
        answers: dict[str, str | list[str]] = {
            "Team size": "11 to 50",
            "How did you hear of us?": "a friend",
        }
        return msgspec.structs.replace(
            lead, value=value, phone="+36 1 555 0123", country="Hungary", answers=answers
        )
    if source == "typeform":
        return Lead(answers={"What do you need?": "a quote", "By when?": "this quarter"})
    return lead


NEED = "We are a team of forty and would like to see how it works for several sites."


def posted(lead: Lead) -> Raw:
    """The form that the lead came with."""
    value = lead.value or Money()
    fields = {"name": lead.name, "email": lead.email, "phone": lead.phone, "company": lead.company, "country": lead.country,
              "budget": value.amount, "currency": value.currency, "message": lead.message,
              **lead.answers,
              "utm_campaign": lead.utm.campaign}  # fmt: skip
    body = urlencode({name: text for name, text in fields.items() if text is not None}).encode()
    headers = [
        ("host", "leads.acme.example"),
        ("origin", "https://www.acme.example"),
        ("user-agent", "Mozilla/5.0"),
    ]
    return Raw("POST", "", "application/x-www-form-urlencoded", headers, body)


def paint(console: Console, now: float) -> None:
    """A day with some trouble, in the store."""
    dice = random.Random(7)
    context = console.context
    delivered = [each for each in day(now, dice) if each.received_at < now - 5]
    place(context, delivered)
    for number, each in enumerate(delivered):
        know(
            context,
            each.id,
            attempts=1,
            result="labelled" if number % 8 == 3 else "created",
            person_id=number,
            lead_id=f"{number:08d}",
        )
    for id in place(context, troubled(now, dice)):
        know(context, id, attempts=1)
    findings = [
        DriftFinding(kind="label", message="", needed=True, sources=["webinar"], name="Webinar"),
        DriftFinding(
            kind="channel", message="", needed=True, sources=["partner"], name="Partner portal"
        ),
    ]
    context.redis.set(
        keys.DEFAULT_ACCOUNT.drift,
        msgspec.json.encode(DriftReport(at=now, mappings_version="", findings=findings)),
    )
    context.redis.set(keys.DEFAULT_ACCOUNT.allowance("left"), 21_350)
    for host in ("one", "two"):
        beat = {"slots": 32, "pid": 1, "host": host, "at": now + HOUR}
        context.redis.hset(keys.WORKERS, host, msgspec.json.encode(beat))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = Path(os.environ.get(FOLDER) or tmp_path / "pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    return pictures


def test_pictures(console: Console, open_page: OpenPage, tmp_path: Path, folder: Path) -> None:
    """All pictures can be taken, 1280 px wide, and show what the documents say of them."""
    (tmp_path / "leadline.toml").write_text(SOURCES, "utf-8")
    assert eventually(lambda: "shop" in console.context.sources.sources)
    paint(console, time.time())
    page = open_page("/ops", color_scheme="light", reduced_motion="reduce")
    expect(page.locator("#headline")).to_contain_text("40 leads need you")
    expect(page.locator("#causes .card")).to_have_count(4)
    expect(page.locator(".activity .silent", has_text=SILENT)).to_have_count(1)
    page.screenshot(path=folder / "console-overview.png", full_page=True)
    page.set_viewport_size(TALL)
    page.get_by_role("link", name="40 leads need you").click()
    page.locator("#list tbody tr").filter(has_text="rejected the lead's currency").first.locator(
        "th a"
    ).click()
    page.locator("#actions").get_by_role("link", name="Edit").click()
    currency = page.get_by_label("Currency")
    currency.fill("EU")
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator(".field.invalid .error")).to_contain_text("three-letter")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=folder / "console-detail.png")
    page.goto(f"{console.url}/ops/leads/{console.post(**LISTING)}?tab=reading&reveal=1")
    expect(page.locator("#tab-reading table")).to_contain_text("email of agent: another owner")
    page.locator("#tab-reading").screenshot(path=folder / "console-reading.png")
    for name in ("console-overview.png", "console-detail.png"):
        assert int.from_bytes((folder / name).read_bytes()[16:20]) == 1280

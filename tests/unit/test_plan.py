from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from worker.contract import Lead, Money, Utm
from worker.errors import Unmappable
from worker.lead.plan import (
    CustomFieldText,
    LeadPlan,
    OrganizationDetails,
    PersonPlan,
    PlannedValue,
    build_plan,
    leave_out,
    needs_time_zone,
)
from worker.lead.settings import LeadMapping, LeadSettings, Rule, ValueTemplates

# One second before the year 2026, UTC.
RECEIVED = 1_767_225_599.0
LEAD = Lead(
    name="Ann Lee",
    email="ann@acme.example",
    phone="+4915112345678",
    message="Hi",
    form_name="Contact",
)


def build(
    lead: Lead = LEAD,
    *,
    rules: list[Rule] | None = None,
    submission_id: str = "sub-1",
    **settings: Any,
) -> LeadPlan:
    mapping = LeadMapping(source="contact", lead=LeadSettings(**settings), rules=rules or [])
    return build_plan(
        mapping, lead, submission_id=submission_id, received_at=RECEIVED, now=RECEIVED + 60
    )


def lead_with(**fields: Any) -> Lead:
    return structs.replace(LEAD, **fields)


def test_defaults() -> None:
    """A source that says nothing about its leads still makes sensible ones."""
    lead = lead_with(company=" Acme  GmbH ", utm=Utm(campaign="spring"))
    assert structs.asdict(build(lead)) | {"note_html": None, "note_existing_html": None} == {
        "source": "contact",
        "submission_id": "sub-1",
        "title": "Acme GmbH via Contact",
        "origin_id": "contact:sub-1",
        "person": PersonPlan(name="Ann Lee", email="ann@acme.example", phone="+4915112345678"),
        "organization": "Acme GmbH",
        "labels": (),
        "create_labels": False,
        "label_color": "gray",
        "channel": None,
        "channel_id": "spring",
        "owner": None,
        "owners": (),
        "value": None,
        "expected_close": None,
        "visible_to": None,
        "was_seen": False,
        "organization_details": OrganizationDetails(),
        "enrich": False,
        "custom": (),
        "country": None,
        "zone": UTC,
        "existing": "label",
        "existing_window_seconds": 30 * 86400.0,
        "existing_since": RECEIVED + 60 - 30 * 86400.0,
        "existing_deals": False,
        "files": False,
        "note_html": None,
        "note_existing_html": None,
        "left_out": (),
        "value_is_own": False,
        "matched_rule": None,
    }


@pytest.mark.parametrize(
    ("lead", "name", "title"),
    [
        (Lead(name="Ann", first_name="x", email="a@b.example"), "Ann", "Ann via contact"),
        (Lead(first_name="Ann", last_name="Lee"), "Ann Lee", "Ann Lee via contact"),
        (Lead(last_name="Lee", phone="1"), "Lee", "Lee via contact"),
        (Lead(email="a.b@c.example", phone="1"), "a.b@c.example", "a.b@c.example via contact"),
        (Lead(phone="+49 151"), "+49 151", "+49 151 via contact"),
        (Lead(email="a@b.example", name="Two\nlines"), "Two lines", "Two lines via contact"),
    ],
)
def test_a_person_always_has_a_name(lead: Lead, name: str, title: str) -> None:
    """A person, like the title, is named by name, e-mail or phone: Pipedrive requires a name."""
    planned = build(lead)
    assert planned.person is not None
    assert planned.person.name == name
    assert planned.title == title


def test_a_company_alone() -> None:
    """A lead with only a company goes to the organisation, or to a person of that name."""
    lead = Lead(company="Acme")
    assert (build(lead).person, build(lead).organization) == (None, "Acme")
    without = build(lead, organization=False)
    assert (without.person, without.organization) == (PersonPlan(name="Acme"), None)


def test_nobody() -> None:
    """A lead of nobody is unmappable, and the cause names where to map a contact."""
    with pytest.raises(Unmappable, match="no e-mail, phone or name") as caught:
        build(Lead(message="Hi"))
    assert (caught.value.setting, caught.value.field) == ("sources.contact.map", "email")


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ({"utm_source": "google"}, True),
        ({"utm_source": "GOOGLE "}, True),
        ({"utm_source": ["bing", "google"]}, True),
        ({"utm_source": "bing"}, False),
        ({"utm_source": "goog"}, False),
        ({"utm_source": []}, False),
        ({"utm_source": "google", "utm_medium": ["cpc", "ppc"]}, True),
        ({"utm_source": "google", "utm_medium": "email"}, False),
        ({"gclid": "*"}, True),
        ({"fbclid": "*"}, False),
        ({"fbclid": ""}, True),
        ({"gclid": ""}, False),
        ({"fbclid": ["", "x"]}, True),
        ({"answers.Team": "it, sales"}, True),
        ({"source": "contact"}, True),
        ({"consent": "yes"}, True),
        ({}, True),
    ],
)
def test_a_rule_matches(when: dict[str, str | list[str]], matches: bool) -> None:
    """A rule matches if each field has one of its values, in any case; "" is absent, * anything."""
    lead = lead_with(
        utm=Utm(source="Google", medium="CPC"),
        click_ids={"gclid": "1"},
        answers={"Team": ["IT", "Sales"]},
        consent=True,
    )
    assert build(lead, rules=[Rule(when=when, channel="Paid")]).matched_rule == (
        0 if matches else None
    )


def test_the_first_matching_rule_wins() -> None:
    """One rule applies: labels and custom fields are added, its other keys replace."""
    rules = [
        Rule(when={"utm_source": "bing"}, channel="Never"),
        Rule(
            when={"source": "contact"}, channel="Paid search", labels=["PPC", "website"],
            owner_id="bob@acme.example", note=False,
            create_labels=True, label_color="red", custom={"Kind": "ad"}, existing="new",
            existing_window="1d",
            origin_id="x-{submission_id}", title="T",
            channel_id="C", visible_to="7", organization=False, expected_close="1d",
            value=ValueTemplates("5", "EUR"),
        ),
        Rule(when={"source": "contact"}, channel="Too late"),
    ]  # fmt: skip
    source: dict[str, Any] = {
        "channel": "Web forms",
        "labels": ["Website", "Hot"],
        "owner_id": 1,
        "custom": {"Name": "{name}"},
    }
    planned = build(lead_with(company="Acme"), rules=rules, **source)
    assert planned.matched_rule == 1
    assert planned.labels == ("Website", "Hot", "PPC")
    assert planned.custom == (
        CustomFieldText("Name", False, "Ann Lee"),
        CustomFieldText("Kind", False, "ad"),
    )
    assert (planned.channel, planned.owner, planned.create_labels, planned.label_color) == (
        "Paid search", "bob@acme.example", True, "red",
    )  # fmt: skip
    assert (planned.existing, planned.existing_window_seconds, planned.origin_id) == (
        "new",
        86400.0,
        "x-sub-1",
    )
    assert (planned.title, planned.channel_id, planned.visible_to, planned.organization) == (
        "T",
        "C",
        "7",
        None,
    )
    assert (planned.expected_close, planned.value, planned.note_html) == (
        "2026-01-01",
        PlannedValue(5, "EUR"),
        None,
    )


def test_a_rule_leaves_the_rest_alone() -> None:
    """What a rule does not name stays as the source says."""
    source: dict[str, Any] = {
        "title": "T",
        "channel": "Web forms",
        "owner_id": 3,
        "visible_to": "3",
        "note": False,
    }
    planned = build(rules=[Rule(when={}, labels=["L"])], **source)
    assert (planned.title, planned.channel, planned.owner) == ("T", "Web forms", 3)
    assert (planned.visible_to, planned.note_html) == ("3", None)
    assert build(rules=[Rule(when={}, channel="")], channel="Web forms").channel is None


@pytest.mark.parametrize(
    ("value", "lead", "expected", "says"),
    [
        (
            ValueTemplates("{answers.budget}", "EUR"),
            lead_with(answers={"budget": "1.200,50 €"}),
            PlannedValue(1200.5, "EUR"),
            "",
        ),
        (
            ValueTemplates("{answers.budget}", "{value.currency|'eur'}"),
            lead_with(answers={"budget": "5000"}),
            PlannedValue(5000, "EUR"),
            "",
        ),
        (
            ValueTemplates("{answers.budget}", ""),
            lead_with(answers={"budget": "$1,200"}),
            PlannedValue(1200, "USD"),
            "",
        ),
        (
            ValueTemplates("{answers.budget}", "CAD"),
            lead_with(answers={"budget": "$1,200"}),
            PlannedValue(1200, "CAD"),
            "",
        ),
        (
            ValueTemplates("{answers.budget}", "EUR"),
            lead_with(answers={"budget": "$1,200"}),
            PlannedValue(1200, "EUR"),
            "was written as EUR",
        ),
        (
            ValueTemplates("{answers.budget}", "EUR"),
            lead_with(answers={"budget": "5000-10000"}),
            None,
            "“5000-10000” is left out",
        ),
        (
            ValueTemplates("{answers.budget}", ""),
            lead_with(answers={"budget": "5000"}),
            None,
            "it has no currency",
        ),
        (
            ValueTemplates("{answers.budget}", "XYZ"),
            lead_with(answers={"budget": "5000"}),
            None,
            "the currency “XYZ” is unknown",
        ),
        (ValueTemplates("{answers.budget}", "EUR"), LEAD, None, ""),
        (
            ValueTemplates("{value.amount}", "{value.currency}"),
            lead_with(value=Money(1.234, "EUR")),
            PlannedValue(1.234, "EUR"),
            "",
        ),
        (
            ValueTemplates("{value.amount}", "{value.currency}"),
            lead_with(value=Money("1.234", "EUR")),
            PlannedValue(1234, "EUR"),
            "",
        ),
        (
            ValueTemplates("{value.amount}", "{value.currency}"),
            lead_with(value=Money(float("inf"), "EUR")),
            None,
            "not a number",
        ),
        (
            ValueTemplates("{value.amount}", "{value.currency}"),
            lead_with(value=Money(0, "EUR")),
            PlannedValue(0, "EUR"),
            "",
        ),
        (ValueTemplates("100", "EUR"), LEAD, PlannedValue(100, "EUR"), ""),
        (
            ValueTemplates("{answers.budget}", "EUR"),
            lead_with(answers={"budget": "2,5 Mio."}),
            PlannedValue(2_500_000, "EUR"),
            "",
        ),
        (
            ValueTemplates("{answers.budget}", "EUR"),
            lead_with(answers={"budget": "5k-10k"}),
            None,
            "not a number",
        ),
        (
            ValueTemplates("{answers.budget}", "EUR"),
            lead_with(answers={"budget": "-500 €"}),
            None,
            "takes no negative values",
        ),
        (
            ValueTemplates("{value.amount}", "{value.currency}"),
            lead_with(value=Money(-500, "EUR")),
            None,
            "takes no negative values",
        ),
    ],
)
def test_value(value: ValueTemplates, lead: Lead, expected: PlannedValue | None, says: str) -> None:
    """A value is written as number and currency; anything else is left out and noted."""
    planned = build(lead, value=value)
    assert planned.value == expected
    assert len(planned.left_out) == (1 if says else 0)
    assert says in "".join(planned.left_out)
    assert says in (planned.note_html or "")


def test_sums_are_whole_where_they_can_be() -> None:
    """A round amount is sent as 1200, not 1200.0, so that preview and Pipedrive agree."""
    planned = build(value=ValueTemplates("1200.00", "EUR"))
    assert planned.value is not None
    assert isinstance(planned.value.amount, int)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("30d", "2026-01-30"),
        ("1s", "2026-01-01"),
        ("0", "2025-12-31"),
        ("2026-03-01", "2026-03-01"),
        ("{answers.when}", "2026-12-24"),
        ("{answers.weeks}w", "2026-01-14"),
        ("{answers.missing}", None),
        ("", None),
    ],
)
def test_expected_close(setting: str, expected: str | None) -> None:
    """The expected close date is a date, or counts from the day the submission came in, in UTC."""
    planned = build(lead_with(answers={"when": "24.12.2026", "weeks": "2"}), expected_close=setting)
    assert planned.expected_close == expected
    assert planned.left_out == ()


@pytest.mark.parametrize(
    "text", ["soon", "2026-02-30", "03/04/2026", "in 5 days", "99999999999d", "0000-01-01"]
)
def test_no_date(text: str) -> None:
    """What is no date, or can be read as two, is left out and said."""
    planned = build(lead_with(answers={"when": text}), expected_close="{answers.when}")
    assert planned.expected_close is None
    assert planned.left_out == (
        f"The expected close date “{text}” is left out: it is not a date, or may be one of two.",
    )


@pytest.mark.parametrize(
    ("country", "default", "close", "currency"),
    [
        (None, "US", "2027-03-04", "USD"),
        (None, "DE", "2027-04-03", "USD"),
        ("USA", "DE", "2027-03-04", "USD"),
        ("Germany", "US", "2027-04-03", "USD"),
        ("ca", "US", None, "CAD"),
        ("Texas", "US", None, "USD"),
        (None, None, None, "USD"),
    ],
)
def test_the_country_decides(
    country: str | None, default: str | None, close: str | None, currency: str
) -> None:
    """What can be read in two ways is read as in the lead's country, else the source's."""
    settings = LeadSettings(
        value=ValueTemplates("$5,000", ""), expected_close="{answers.when}", custom={"When": "x"}
    )
    lead = lead_with(country=country, answers={"when": "03/04/2027"})
    planned = build_plan(
        LeadMapping("contact", settings, default_country=default),
        lead,
        submission_id="sub-1",
        received_at=RECEIVED,
        now=RECEIVED,
    )
    assert planned.expected_close == close
    assert planned.value == PlannedValue(5000, currency)
    assert len(planned.left_out) == (0 if close else 1)


@pytest.mark.parametrize(
    ("zone", "day"),
    [("Asia/Tokyo", "2026-01-01"), ("America/New_York", "2025-12-31"), ("UTC", "2025-12-31")],
)
def test_days_of_the_account(zone: str, day: str) -> None:
    """A day begins when it begins in the account's time zone, in templates and after a duration."""
    settings = LeadSettings(title="{received_date}", expected_close="24h")
    planned = build_plan(
        LeadMapping("contact", settings),
        LEAD,
        submission_id="sub-1",
        received_at=RECEIVED,
        now=RECEIVED,
        zone=ZoneInfo(zone),
    )
    following = {"2025-12-31": "2026-01-01", "2026-01-01": "2026-01-02"}[day]
    assert (planned.title, planned.expected_close) == (day, following)


@pytest.mark.parametrize(
    ("needed", "lead", "rule"),
    [
        (False, {}, {}),
        (True, {"expected_close": "30d"}, {}),
        (True, {}, {"expected_close": "2d"}),
        (True, {"custom": {"Call at": "{answers.when}"}}, {}),
        (True, {}, {"title": "{name}, {received_date}"}),
        (True, {}, {"when": {"received_date": "2026-01-01"}}),
    ],
)
def test_who_needs_a_time_zone(needed: bool, lead: dict[str, Any], rule: dict[str, Any]) -> None:
    """Only a source that writes or compares a day of ours costs a look at the account's zone."""
    mapping = LeadMapping(
        "contact", LeadSettings(**lead), [Rule(**({"when": {"utm_source": "x"}} | rule))]
    )
    assert needs_time_zone(mapping) is needed


def test_custom_fields() -> None:
    """Custom fields carry rendered text, for the lead or the person; an empty one is left out."""
    planned = build(
        lead_with(consent=True, answers={"budget": "5"}),
        custom={
            "Budget": "{answers.budget}",
            "person.Newsletter": "{consent}",
            "Empty": "{company}",
            "a" * 40: "x",
        },
    )
    assert planned.custom == (
        ("Budget", False, "5"),
        ("Newsletter", True, "yes"),
        ("a" * 40, False, "x"),
    )


def test_labels_are_unique() -> None:
    """A label named twice, in any case or spacing, is set once, as first written."""
    assert build(labels=["Hot", " hot ", "", "Website", "HOT"]).labels == ("Hot", "Website")


def test_note() -> None:
    """A new lead gets a note if there is something to say, a labelled one always."""
    bare = lead_with(message=None)
    assert build(bare).note_html is None
    existing = build(bare).note_existing_html
    assert existing is not None
    assert "Submitted by: Ann Lee, ann@acme.example, +4915112345678" in existing
    assert existing.endswith("Leadline contact:sub-1</p>")
    assert build().note_html == build().note_existing_html
    assert (build(note=False).note_html, build(note=False).note_existing_html) == (None, None)


def test_the_value_written_is_not_in_the_note() -> None:
    """The lead's own value stands in the note only when it stands nowhere else."""
    lead = lead_with(value=Money(5, "EUR"), answers={"other": "7"})
    assert "Value: 5 EUR" in (build(lead).note_html or "")
    assert "Value:" not in (
        build(lead, value=ValueTemplates("{value.amount}", "EUR")).note_html or ""
    )
    assert "Value: 5 EUR" in (
        build(lead, value=ValueTemplates("{answers.other}", "EUR")).note_html or ""
    )


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    "text",
    [
        "word " * 100,
        "x" * 300,
        "😀" * 200,
        "a" + "😀" * 200,
        "e\u0301" * 200,
        "\U0001f469\u200d\U0001f4bb" * 80,
        "👍🏽" * 100,
    ],
)
def test_titles_are_cut(text: str) -> None:
    """A title has up to 255 UTF-16 units; a visible cut falls between words or characters."""
    title = build(lead_with(company=text)).title
    assert utf16(title) <= 255
    assert utf16(title) > 245
    assert title.endswith("…")
    assert not title[:-1].endswith((" ", "\u200d"))
    beginning = title[:-1]
    assert text.startswith(beginning)
    following = text[len(beginning)]
    assert following not in "\u0301\u200d🏽"


def test_a_title_of_255_is_whole() -> None:
    """A title that just fits is not touched."""
    assert build(title="x" * 255).title == "x" * 255
    assert build(title="x" * 256).title == "x" * 254 + "…"


def test_a_title_is_one_line_and_never_empty() -> None:
    """White space runs together, and a template with nothing to say gives way to a plain title."""
    assert build(lead_with(company="A\n\n B\tC"), title="{company}").title == "A B C"
    assert build(title="{company}").title == "Ann Lee via contact"
    assert build(Lead(company="Acme"), title="{name}").title == "Acme via contact"


@pytest.mark.parametrize(
    "template",
    [
        "{submission_id}",
        "{message}:{submission_id}",
        "{submission_id}:{message}",
        "{message}:{submission_id}:{message}",
        "a{message}{submission_id}",
    ],
)
@pytest.mark.parametrize("message", ["x" * 400, "😀" * 200, "short"])
def test_origin_id_keeps_the_submission_id(template: str, message: str) -> None:
    """However long the rest, origin_id fits 255 and contains the whole submission id."""
    lead = lead_with(message=message)
    origin = build(lead, origin_id=template, submission_id="01JZ-id").origin_id
    assert "01JZ-id" in origin
    assert utf16(origin) <= 255
    assert origin == build(lead, origin_id=template, submission_id="01JZ-id").origin_id
    origin.encode()


def test_long_fields_are_bounded() -> None:
    """What a sender makes too long for Pipedrive is cut, so that the lead flows."""
    lead = lead_with(
        name="n" * 999, phone="1" * 999, company="c" * 999, utm=Utm(campaign="u" * 999)
    )
    planned = build(lead)
    assert planned.person is not None
    texts = (planned.person.name, planned.person.phone, planned.organization, planned.channel_id)
    assert {utf16(text or "") for text in texts} == {255}


@pytest.mark.parametrize(
    ("settings", "rule", "setting"),
    [
        ({"title": "{nme}"}, None, "sources.contact.lead.title"),
        ({"origin_id": "{source}"}, None, "sources.contact.lead.origin_id"),
        ({"custom": {"Budget": "{"}}, None, "sources.contact.lead.custom.Budget"),
        ({"existing_window": "soon"}, None, "sources.contact.lead.existing_window"),
        ({"value": ValueTemplates("{x}", "EUR")}, None, "sources.contact.lead.value.amount"),
        ({"value": ValueTemplates("5", "{x}")}, None, "sources.contact.lead.value.currency"),
        ({}, Rule(when={"utm.source": "x"}), "sources.contact.rules[0].when"),
    ],
)
def test_a_wrong_setting_is_named(
    settings: dict[str, Any], rule: Rule | None, setting: str
) -> None:
    """A wrong template, duration or rule makes the lead unmappable, with the place to mend."""
    with pytest.raises(Unmappable) as caught:
        build(rules=[rule] if rule else [], **settings)
    assert caught.value.setting == setting


def test_more_can_be_left_out() -> None:
    """What turns out not to fit once the account is known is added to what was left out before."""
    lead = lead_with(message=None, answers={"budget": "lots"})
    planned = build(lead, value=ValueTemplates("{answers.budget}", "EUR"))
    more = leave_out(planned, lead, ["Size is left out: “x” is not a number."])
    assert more.left_out == (*planned.left_out, "Size is left out: “x” is not a number.")
    for note in (more.note_html, more.note_existing_html):
        assert note is not None
        assert "“lots” is left out" in note
        assert "Size is left out" in note
    silent = leave_out(build(lead, note=False), lead, ["Size is left out."])
    assert (silent.left_out, silent.note_html, silent.note_existing_html) == (
        ("Size is left out.",),
        None,
        None,
    )
    valued = build(
        lead_with(value=Money(500, "HUF")), value=ValueTemplates("{value.amount}", "HUF")
    )
    without = leave_out(valued, lead_with(value=Money(500, "HUF")), ["No HUF."], without_value=True)
    assert (without.value, "Value: 500 HUF" in (without.note_html or "")) == (None, True)
    assert structs.replace(
        more, left_out=(), note_html=None, note_existing_html=None
    ) == structs.replace(planned, left_out=(), note_html=None, note_existing_html=None)

"""The console's pure parts: the form of a lead, URLs, bytes as text, formats and charts."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from service.ops.console import lead_form, lead_tabs, rendering, status_bar
from service.ops.console.lead_tabs import list_changes
from service.ops.console.onboarding import build_sample_commands
from service.ops.console.urls import ListLocation, safe_back_url, with_flash
from service.ops.filters import Filter
from service.overview import NOTHING_KNOWN, Paused
from service.sources.schema import Source, VerifySettings
from worker.contract import Lead, Money, Utm
from worker.fate import ACTIONABLE_REASONS, GATE_REASONS, REASONS
from worker.lead.edit import apply_edit

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LEAD: dict[str, Any] = {
    "name": "Ada Lovelace",
    "consent": False,
    "value": {"amount": 5000, "currency": "EUR"},
    "utm": {"source": "google"},
    "click_ids": {"gclid": "x"},
    "answers": {"Seats": "40", "Days": ["Mon", "Tue"], "a.b": "dotted"},
    "message": "one\ntwo",
}


def post_form(lead: dict[str, Any], **changed: str) -> dict[str, list[str]]:
    """The form as a browser sends it back, with CR LF at the ends of lines."""
    form = {each.key: [each.value.replace("\n", "\r\n")] for each in lead_form.build_inputs(lead)}
    return form | {f"lead.{name}": [value] for name, value in changed.items()}


def test_an_untouched_form_edits_nothing() -> None:
    """What a browser sends back unchanged is no edit, whatever it does to ends of lines."""
    assert lead_form.parse_edit(post_form(LEAD), LEAD) == {}


@pytest.mark.parametrize(
    ("name", "typed", "edit"),
    [
        ("name", "Grace", {"name": "Grace"}),
        ("name", "", {"name": ""}),
        ("consent", "yes", {"consent": "yes"}),
        ("value.amount", "6000", {"value.amount": "6000"}),
        ("utm_source", "bing", {"utm_source": "bing"}),
        ("click_ids.gclid", "", {"click_ids.gclid": ""}),
        ("answers.Seats", "41", {"answers.Seats": "41"}),
        ("answers.Days", "Mon\r\n\r\nWed", {"answers.Days": ["Mon", "Wed"]}),
        ("answers.a.b", "new", {"answers.a.b": "new"}),
        ("message", "one\r\nthree", {"message": "one\nthree"}),
        ("no_field", "x", {}),
    ],
)
def test_an_edit_is_what_changed(name: str, typed: str, edit: dict[str, Any]) -> None:
    """An edit holds the changed field alone, in the type that a lead takes."""
    parsed = lead_form.parse_edit(post_form(LEAD, **{name: typed}), LEAD)
    assert parsed == edit
    apply_edit(msgspec.convert(LEAD, Lead), parsed)


def test_an_added_answer_needs_both_halves() -> None:
    """A question without an answer, or an answer without a question, adds nothing."""
    form = post_form(LEAD) | {"new.label": ["Colour", "", "Size"], "new.value": ["blue", "x", " "]}
    assert lead_form.parse_edit(form, LEAD) == {"answers.Colour": "blue"}


def test_one_edit_for_all_has_what_was_filled_in() -> None:
    """For many leads an empty input means: as each has it."""
    form = {
        "lead.email": ["desk@acme.example"],
        "lead.name": [""],
        "action": ["retry"],
        "lead.answers.Seats": ["40"],
    }
    assert lead_form.parse_bulk_edit(form) == {"email": "desk@acme.example", "answers.Seats": "40"}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("email", "email"), ("emails[0].value", "email"), ("value.currency", "value.currency"),
        ("currency", "value.currency"),
        ("answers.budget", "answers.budget"), ("org_id", "company"), ("label_ids", None),
        (None, None), ("", None),
    ],
)  # fmt: skip
def test_an_error_finds_its_input(name: str | None, field: str | None) -> None:
    """Pipedrive's name of a field and ours lead to the same input."""
    assert lead_form.find_input_name(name) == field


def test_every_field_of_a_lead_has_an_input() -> None:
    """Nothing of a lead is out of an operator's reach."""
    names = {each.name for each in lead_form.build_inputs(LEAD)}
    flat = set(Lead.__struct_fields__) - {"utm", "value", "click_ids", "answers"}
    assert (
        flat
        | {f"utm_{part}" for part in Utm.__struct_fields__}
        | {f"value.{part}" for part in Money.__struct_fields__}
        <= names
    )


def test_what_changed_since_it_came_in() -> None:
    """A diff names what was changed, added and removed, and nothing else."""
    after = LEAD | {
        "name": "Grace",
        "email": "g@example.com",
        "answers": {"Days": ["Mon", "Tue"], "a.b": "dotted"},
    }
    changes = [(each.label, each.before, each.after) for each in list_changes(LEAD, after)]
    assert changes == [
        ("Name", "Ada Lovelace", "Grace"),
        ("E-mail", "", "g@example.com"),
        ("Seats", "40", ""),
    ]
    assert list_changes(None, after) == []


@pytest.mark.parametrize(
    ("body", "media", "kind", "begins"),
    [
        (b"a=1&b=2", "application/x-www-form-urlencoded", "text", "a=1&b=2"),
        (b'{"a":1.50}', "application/json", "json", '{\n  "a": 1.50'),
        (b'{"a":1e400}', "application/json", "text", '{"a":1e400}'),
        (b"{broken", "application/json", "text", "{broken"),
        (b"\xff\x00PK", "application/json", "hex", "00000000  ff 00 50 4b"),
        (b"a\x00b", "text/plain", "hex", "00000000  61 00 62"),
        (b"", "", "text", ""),
        (b"[" * 5000, "application/json", "text", "[[["),
    ],
)
def test_bytes_as_text(body: bytes, media: str, kind: str, begins: str) -> None:
    """Text is text, JSON is laid out without a change of its tokens, and all else is hex."""
    body_text = lead_tabs.format_body(base64.b64encode(body).decode(), media)
    assert (body_text.kind, body_text.size, body_text.cut) == (kind, len(body), 0)
    assert body_text.text.startswith(begins)


def test_long_bytes_are_cut_between_characters() -> None:
    """A body is cut at its bound, and a character that falls on the cut does not make it hex."""
    body = b"x" + "ü".encode() * lead_tabs.MAX_BODY_BYTES
    body_text = lead_tabs.format_body(base64.b64encode(body).decode(), "text/plain")
    assert (body_text.kind, body_text.cut) == ("text", len(body) - lead_tabs.MAX_BODY_BYTES)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("/ops", True), ("/ops/leads?state=dead&q=a//b", True), ("/ops/leads/X", True),
        ("//evil.example/ops", False),
        ("https://evil.example/ops", False), ("/ops/../in", False), ("/opsx", False),
        ("/ops//evil.example", False),
        ("/\\evil.example", False), ("/ops\n/x", False), ("", False), (None, False),
        ("/ops/" + "x" * 5000, False),
    ],
)  # fmt: skip
def test_only_our_own_pages_are_gone_back_to(url: str | None, good: bool) -> None:
    """No form leads anywhere but to a page of the console."""
    assert safe_back_url(url) == (url if good else None)


def test_a_url_holds_filter_page_and_lead() -> None:
    """A link shows what its sender saw; a flash message replaces the one before it."""
    location = ListLocation.parse({"state": "dead", "q": "a b", "cursor": "x", "done": "y"}, "01")
    assert location.lead_url("01") == "/ops/leads/01?state=dead&q=a+b&cursor=x"
    assert location.url_without("q") == "/ops/leads?state=dead"
    assert ListLocation(filter=Filter()).list_url == "/ops/leads"
    old = "/ops/leads?state=dead&done=undone&of=1&reveal=1&edit=1"
    new = with_flash(old, done="discarded", of="2")
    assert new == "/ops/leads?state=dead&done=discarded&of=2"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (42, "42 s ago"),
        (720, "12 min ago"),
        (11_400, "3 h 10 min ago"),
        (183_600, "2 d 3 h ago"),
        (-40, "in 40 s"),
    ],
)
def test_times_in_words(seconds: int, text: str) -> None:
    """Two units at most, in the future as well."""
    moment = datetime.fromtimestamp(NOW.timestamp() - seconds, UTC).isoformat()
    assert rendering.relative(moment, NOW) == text


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (99, "99"), (431, "430"), (12_345, "12,000")]
)
def test_an_estimate_has_two_figures(count: int, text: str) -> None:
    """A guess does not pretend to know 431 leads."""
    assert rendering.estimate(count) == text


def test_charts_are_made_of_attributes() -> None:
    """A chart is well-formed, has a text for those who do not see it, and no style of its own;
    names are escaped.
    """
    evil = '"><script>alert(1)</script>'
    for chart in (
        rendering.sparkline([0, 3, 1], evil),
        rendering.column_chart([1, 2], [0, 2], [evil, "b"], evil),
        rendering.share_bar([("dead", 1), ("delivered", 1000)], evil),
        rendering.share_bar([], evil),
        rendering.sparkline([], evil),
    ):
        tree = ElementTree.fromstring(chart)
        assert tree.get("role") == "img"
        assert tree.get("aria-label")
        assert not [
            each for each in tree.iter() if each.get("style") or each.tag.endswith("script")
        ]


def test_a_first_lead_by_hand() -> None:
    """Commands are offered for what a hand can send, plain sources first, quoted for a shell, never
    with a secret.
    """
    sources = [
        Source(name="signed", verify=VerifySettings(scheme="hmac")),
        Source(
            name="partner",
            adapter="json",
            verify=VerifySettings(scheme="token", header="X-Key", secret_env=["PARTNER_KEY"]),
        ),
        Source(name="contact", origins=["https://www.acme.example"]),
        Source(name="typeform", adapter="typeform"),
    ]
    commands = build_sample_commands(
        {source.name: source for source in sources}, "https://leads.acme.example/"
    )
    assert [sample.source for sample in commands] == ["contact", "partner"]
    assert commands[0].command.endswith("https://leads.acme.example/in/contact")
    assert "'name=Ada Lovelace'" in commands[0].command
    assert "'X-Key: THE-VALUE-OF-PARTNER_KEY'" in commands[1].command


@pytest.mark.parametrize("reason", GATE_REASONS)
def test_a_closed_gate_says_why_and_what_to_do(reason: str) -> None:
    """Each reason has a title; the advice stands where a person has to do something."""
    paused = Paused(reason, "2026-05-01T12:00:00Z", "2026-05-01T12:00:30Z", "open the account")
    overview = msgspec.structs.replace(NOTHING_KNOWN, paused=paused, states={"waiting": 2})
    banner = status_bar._paused_banner(overview, paused)
    assert reason in status_bar.GATE_TITLES
    assert REASONS[reason]
    assert banner.title.endswith(".")
    waits = "2 leads are waiting; nothing is lost."
    assert banner.text == (f"Open the account. {waits}" if reason in ACTIONABLE_REASONS else waits)

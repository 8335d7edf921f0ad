from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from worker.contract import Lead, Money, Utm
from worker.lead.note import MAX_CLICK_IDS, MAX_NOTE_CHARS, build_note, has_marker_of

ID = "01JZ0000000000000000000000"


def note(lead: Lead, **options: object) -> str | None:
    return build_note(lead, source="contact", submission_id=ID, **options)  # type: ignore[arg-type]


class Tags(HTMLParser):
    """The tags that a browser would see, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_says_everything() -> None:
    """The note shows message, answers, details and attribution, and ends with its marker."""
    lead = Lead(
        name="Ann Lee",
        email="ann@acme.example",
        message="Hello\nworld",
        consent=False,
        job_title="CTO",
        value=Money("5k", "EUR"),
        page_url="https://acme.example/?a=1&b=2",
        referrer="https://search.example/",
        utm=Utm(source="google", campaign="spring"),
        click_ids={"gclid": "G1"},
        answers={"Team": ["Sales", "IT"], "Empty": "", "Size": "50"},
        form_name="Contact",
    )
    html = note(lead, left_out=["the value “5k” is no number"])
    assert html is not None
    assert html.startswith(
        "<p>Hello<br>world</p><p><b>Answers</b></p><ul><li>Team: Sales, IT</li><li>Size:"
        " 50</li></ul>"
    )
    for part in (
        "Consent: no", "Job title: CTO", "Value: 5k EUR", "Submitted by: Ann Lee, ann@acme.example",
        "Form: Contact",
        "Page: https://acme.example/?a=1&amp;b=2", "Referrer: https://search.example/",
        "utm_source: google",
        "utm_campaign: spring", "gclid: G1", "<li>the value “5k” is no number</li>",
    ):  # fmt: skip
        assert part in html
    assert html.endswith(f"<p>Leadline contact:{ID}</p>")


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        (
            Lead(
                name="Ann",
                email="a@b.example",
                phone="1",
                company="Acme",
                form_name="F",
                occurred_at="2026-01-01",
            ),
            False,
        ),
        (Lead(email="a@b.example", answers={"Team": "", "Size": []}), False),
        (Lead(message="Hi"), True),
        (Lead(answers={"Team": "IT"}), True),
        (Lead(utm=Utm(medium="cpc")), True),
        (Lead(click_ids={"gclid": "1"}), True),
        (Lead(page_url="https://a.example"), True),
        (Lead(referrer="https://a.example"), True),
        (Lead(consent=True), True),
        (Lead(value=Money(5, "EUR")), True),
    ],
)
def test_only_when_there_is_something_to_say(lead: Lead, expected: bool) -> None:
    """A lead that fits Pipedrive's fields gets no note; attribution alone is enough for one."""
    assert (note(lead) is not None) is expected
    assert note(lead, always=True) is not None


def test_a_value_that_was_written_is_not_repeated() -> None:
    """A value on the lead is not repeated in a note; one that could not be written is."""
    lead = Lead(email="a@b.example", value=Money(5, "EUR"))
    assert note(lead, value_written=True) is None
    assert "no number" in (note(Lead(email="a@b.example"), left_out=["it is no number"]) or "")


HOSTILE = "<script>alert(1)</script><img src=x onerror=\"a\"><a href='javascript:b'>c</a>&amp;</p>"


def test_is_inert() -> None:
    """No field that a sender fills in becomes a tag or an attribute."""
    lead = Lead(
        name=HOSTILE, message=HOSTILE, job_title=HOSTILE, page_url=HOSTILE, referrer=HOSTILE,
        form_name=HOSTILE, utm=Utm(source=HOSTILE), click_ids={HOSTILE: HOSTILE},
        answers={HOSTILE: [HOSTILE]}, company=HOSTILE, website=HOSTILE, country=HOSTILE,
    )  # fmt: skip
    html = note(lead, left_out=[HOSTILE])
    tags = Tags(html or "")
    assert tags.names <= {"p", "b", "ul", "li", "br"}
    assert tags.attributes == []
    assert tags.text.count(HOSTILE) == 13


HUGE = "<'&\"> ü\n" * 4_000


@pytest.mark.parametrize(
    "lead",
    [
        Lead(message=HUGE),
        Lead(message=HUGE, answers={"a": HUGE}),
        Lead(answers={HUGE[n:]: HUGE for n in range(60)}),
        Lead(message="x", page_url=HUGE, referrer=HUGE, click_ids={f"{HUGE}{n}": HUGE for n in range(60)}),
        Lead(
            name=HUGE, email=HUGE, message=HUGE, consent=True, job_title=HUGE, website=HUGE,
            country=HUGE,
            value=Money(HUGE, HUGE), page_url=HUGE, referrer=HUGE, form_name=HUGE, occurred_at=HUGE,
            utm=Utm(*[HUGE] * 6),
            click_ids={f"{HUGE}{n}": HUGE for n in range(60)}, answers={HUGE: HUGE},
        ),
    ],
)  # fmt: skip
def test_is_bounded(lead: Lead) -> None:
    """However much was sent, the note stays within its limit and keeps its marker."""
    html = note(lead, left_out=[HUGE] * 100)
    assert html is not None
    assert len(html) <= MAX_NOTE_CHARS
    assert "kept in Leadline" in html
    assert not re.search(r"&(?!(?:lt|gt|amp|quot|#x27);)", html)
    assert Tags(html).names <= {"p", "b", "ul", "li", "br"}
    assert has_marker_of(html, ID)


def test_says_how_much_is_missing() -> None:
    """A cut message states how many characters are missing, and so does a list of answers."""
    html = note(Lead(message="x" * 30_000)) or ""
    character_count = html.count("x")
    assert f"({30_000 - character_count} more characters are kept in Leadline)" in html
    assert character_count > 19_000
    html = note(Lead(answers={f"Q{n}": "y" * 1_000 for n in range(50)})) or ""
    answer_count = len(re.findall(r"Q\d+:", html))
    assert f"{50 - answer_count} more answers are kept in Leadline" in html
    assert answer_count >= 15


def test_room_for_the_message() -> None:
    """The longest attribution leaves room for the person's message."""
    html = (
        note(
            Lead(
                message="m" * 9_000,
                page_url=HUGE,
                referrer=HUGE,
                click_ids={f"{HUGE}{n}": HUGE for n in range(60)},
            )
        )
        or ""
    )
    assert html.count("m") > 4_000


def test_click_ids_are_bounded() -> None:
    """Any number of click ids leaves room for the rest."""
    html = note(Lead(click_ids={f"c{n}": "v" for n in range(100)})) or ""
    assert html.count(": v<") == MAX_CLICK_IDS
    assert f"{100 - MAX_CLICK_IDS} more click ids are kept in Leadline" in html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"<p>Hi</p><p>Leadline contact:{ID}</p>", True),
        (f"<p>Hi</p>\n<p>Leadline contact:{ID}</p>\n", True),
        (f"<div>Hi<br>Leadline contact:{ID}<br></div>", True),
        (f"Hi Leadline contact:{ID}", True),
        (f"<p>Leadline contact:{ID}</p><p>Leadline contact:another</p>", False),
        (f"<p>Leadline contact:{ID}0</p>", False),
        (f"<p>Leadline contact:0{ID}</p>", False),
        (f"<p>{ID}</p>", False),
        ("", False),
    ],
)
def test_marks(text: str, expected: bool) -> None:
    """A note is recognised by the marker at its end, even after Pipedrive has tidied its tags."""
    assert has_marker_of(text, ID) is expected


def test_a_mark_in_a_message_is_no_mark() -> None:
    """A sender who types the mark of another submission does not make its note seem written."""
    html = note(Lead(message="Leadline contact:other", answers={"x": "Leadline contact:other"}))
    assert html is not None
    assert not has_marker_of(html, "other")

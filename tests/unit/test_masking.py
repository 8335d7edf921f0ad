"""What a viewer sees of a person."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ops import masking
from worker.contract import Lead, Money, Utm


@pytest.mark.parametrize(
    ("mask", "text", "masked_text"),
    [
        (masking.mask_name, "Ada Lovelace", "A… L…"),
        (masking.mask_name, "  ada   of  lovelace ", "a… o… l…"),
        (masking.mask_name, "李小龙", "李…"),
        (masking.mask_name, "A", "A…"),
        (masking.mask_name, "", ""),
        (masking.mask_name, "one two three four five six seven", "o… t… t… f… f… s…"),
        (masking.mask_email, "ada@example.com", "a…@example.com"),
        (masking.mask_email, '"a b"@example.com', '"…@example.com'),
        (masking.mask_email, "a@b@example.com", "a…@example.com"),
        (masking.mask_email, "no address", "n…"),
        (masking.mask_email, "", "…"),
        (masking.mask_phone, "+49 170 1234567", "…67"),
        (masking.mask_phone, "12345", "…"),
        (masking.mask_phone, "call me", "…"),
        (
            masking.mask_url,
            "https://www.acme.example/contact?email=ada@example.com#x",
            "https://www.acme.example/contact?…",
        ),
        (masking.mask_url, "https://ada:secret@acme.example/", "https://acme.example/"),
        (masking.mask_url, "//ada@acme.example/#ada", "//acme.example/?…"),
        (masking.mask_url, "www.acme.example", "www.acme.example"),
        (masking.mask_text, "ada@example.com is on +49 170 1234567", "[e-mail] is on [phone]"),
        (
            masking.mask_text,
            "gave up after 9 tries in 45h: 503",
            "gave up after 9 tries in 45h: 503",
        ),
        (masking.mask_content_type, "multipart/form-data; boundary=ada", "multipart/form-data"),
    ],
)
def test_masks(mask: Callable[[str], str], text: str, masked_text: str) -> None:
    """Enough to tell leads apart, too little to know whom they are about."""
    assert mask(text) == masked_text


@pytest.mark.parametrize(
    ("lead", "masked", "plain"),
    [
        (
            Lead(name="Ada Lovelace", company="Acme", email="a@b.example"),
            "A… L… · Acme",
            "Ada Lovelace · Acme",
        ),
        (Lead(first_name="Ada", last_name="Lovelace"), "A… L…", "Ada Lovelace"),
        (Lead(email="ada@example.com", phone="+491701234567"), "a…@example.com", "ada@example.com"),
        (Lead(phone="+491701234567"), "…67", "+491701234567"),
        (Lead(company="Acme\n GmbH"), "Acme GmbH", "Acme GmbH"),
        (Lead(message="hello"), "", ""),
        (Lead(company="x" * 5_000), "x" * 99 + "…", "x" * 99 + "…"),
        (None, "", ""),
    ],
)
def test_who(lead: Lead | None, masked: str, plain: str) -> None:
    """The name, else the address, else the number; and the company, all on one line."""
    assert (masking.describe_person(lead), masking.describe_person(lead, reveal=True)) == (
        masked,
        plain,
    )


WHOLE = Lead(
    name="Ada Canary", first_name="Ada", last_name="Canary", email="canary@example.com",
    phone="+491701234567", company="Acme",
    job_title="the canary", website="https://canary@acme.example", message="canary", consent=True,
    value=Money(5, "EUR"),
    country="DE", page_url="https://acme.example/?name=canary",
    referrer="https://x.example/#canary", form_id="f1",
    form_name="Contact",
    utm=Utm(source="google", campaign="spring"), click_ids={"gclid": "abc"}, event_id="e1",
    occurred_at="2026-01-01T00:00:00Z",
    answers={"Your name?": "canary", "Which?": ["canary"]},
)  # fmt: skip


def test_nothing_personal_is_left_in_a_masked_lead() -> None:
    """Names, addresses, numbers, texts and answers are gone; ids, attribution and the questions
    stay.
    """
    masked = masking.mask_lead(WHOLE, reveal=False)
    assert "anary" not in str(masked)
    assert "1701234567" not in str(masked)
    unmasked = (
        "company",
        "consent",
        "value",
        "country",
        "form_id",
        "form_name",
        "utm",
        "click_ids",
        "event_id",
        "occurred_at",
    )
    revealed = masking.mask_lead(WHOLE, reveal=True)
    assert {field: masked[field] for field in unmasked} == {
        field: revealed[field] for field in unmasked
    }
    assert list(masked["answers"]) == ["Your name?", "Which?"]
    assert set(masked) == set(revealed)


def test_every_text_of_a_lead_is_masked_or_known_to_be_harmless() -> None:
    """A field that is added to the lead must be thought of here."""
    harmless = {
        "company", "consent", "value", "country", "form_id", "form_name", "utm", "click_ids",
        "event_id", "is_test",
        "occurred_at",
    }  # fmt: skip
    assert set(Lead.__struct_fields__) == set(masking.MASKED_FIELDS) | harmless | {"answers"}


def test_headers_keep_their_names() -> None:
    """Which headers came is seen, what they say only where it is harmless."""
    given_headers = [
        ("Content-Type", "text/plain"),
        ("Cookie", "canary"),
        ("X-Forwarded-For", "canary"),
        ("User-Agent", "canary"),
    ]
    masked = masking.mask_headers(given_headers)
    assert [name for name, _ in masked] == [name for name, _ in given_headers]
    assert masked[0][1] == "text/plain"
    assert "canary" not in str(masked)


@given(st.text())
def test_any_text_can_be_masked(text: str) -> None:
    """No text is too odd, and what comes out is never longer than what is said of it."""
    for mask in (
        masking.mask_name,
        masking.mask_email,
        masking.mask_phone,
        masking.mask_url,
        masking.mask_text,
        masking.mask_content_type,
    ):
        assert isinstance(mask(text), str)

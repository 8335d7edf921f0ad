"""Phone numbers as people, spreadsheets and forms write them."""

from __future__ import annotations

import msgspec
import phonenumbers
import pytest

from service.sources.fields.effort import PHONE_UNITS, Effort
from service.sources.fields.phones import (
    looks_like_phone,
    parse_dial_code,
    parse_phone,
    to_e164,
)
from tests.unit.sources.factories import form, json_post, lead_of

# What was typed, what is kept of it, and E.164 with Germany as the country.
WRITTEN = (
    ("0170 1234567", "0170 1234567", "+491701234567"),
    ("0170 1234567 (Handy)", "0170 1234567", "+491701234567"),
    ("0170 1234567 Handy", "0170 1234567", "+491701234567"),
    ("(0170) 12 34 567", "(0170) 12 34 567", "+491701234567"),
    ("Tel.: 0170/1234567", "0170/1234567", "+491701234567"),
    ("0170–1234567", "0170-1234567", "+491701234567"),
    ("p:+491701234567", "+491701234567", "+491701234567"),
    ("tel:+49-170-1234567", "+49-170-1234567", "+491701234567"),
    ("TEL:+491701234567", "+491701234567", "+491701234567"),
    ("whatsapp:+491701234567", "+491701234567", "+491701234567"),
    ("https://wa.me/491701234567", "491701234567", "+491701234567"),
    ("'+491701234567", "+491701234567", "+491701234567"),
    ("=+491701234567", "+491701234567", "+491701234567"),
    ("＋４９ １７０ 1234567", "+49 170 1234567", "+491701234567"),
    ("\u202d+49 170 1234567\u202c", "+49 170 1234567", "+491701234567"),
    ("0049 170 1234567", "0049 170 1234567", "+491701234567"),
    ("+49 (0)170 1234567", "+49 (0)170 1234567", "+491701234567"),
    ("(+49) 170 1234567", "+49 170 1234567", "+491701234567"),
    ("+49.170.1234567", "+49.170.1234567", "+491701234567"),
    ("49 170 1234567", "49 170 1234567", "+491701234567"),
    ("4.91701234567E+11", "491701234567", "+491701234567"),
    ("4,91701234567e+11", "491701234567", "+491701234567"),
    ("491701234567.0", "491701234567", "+491701234567"),
    ("۰۱۷۰ ۱۲۳۴۵۶۷", "0170 1234567", "+491701234567"),
    ("٠١٧٠ ١٢٣٤٥٦٧", "0170 1234567", "+491701234567"),
    ("०१७० १२३४५६७", "0170 1234567", "+491701234567"),
    ("call me at 0170 1234567 after 6pm", "0170 1234567", "+491701234567"),
    ("+44 20 7183 8750", "+44 20 7183 8750", "+442071838750"),
)  # fmt: skip
SEVERAL = (
    "0170 1234567, 030 123456", "0170 1234567; 030 123456", "0170 1234567 / 030 123456",
    "0170 1234567 oder 030 123456", "0170 1234567 or 030 1234567", "0170 1234567 ou 030 1234567",
    "0170 1234567 of 030 1234567", "0170 1234567 eller 030 123456", "0170 1234567 lub 030 123456",
    "mobile: 0170 1234567; home: 030 123456", "0170 1234567 | 030 123456",
    "Mobil: 0170 1234567 Büro: 030 1234567",
)  # fmt: skip
OTHERS = (
    "", "no", "n/a", "-", "+", "1234", "1-800-FLOWERS", "0800 CALLME", "12ab34567", "1e400",
    "24.12.2026", "24/12/2026", "24-12-2026", "2026.12.24", "4.9E+11", "4.91E+11", "1234567e2", "2024-01-05", "evenings after six please", "9" * 31,
    "call me any time between 9 and 17 or else on 1 2 3", "9" * 300, "room 12, floor 3, on the left",
)  # fmt: skip


@pytest.mark.parametrize(("typed", "unchanged", "number"), WRITTEN)
def test_one_number(typed: str, unchanged: str, number: str) -> None:
    """A number is kept as typed, without what surrounds it, and is E.164 where it can be."""
    assert parse_phone(typed, Effort()) == unchanged
    assert to_e164(unchanged, "DE", None, Effort()) == number
    assert lead_of(form(phone=typed), 'default_country = "DE"').phone == number


@pytest.mark.parametrize("typed", SEVERAL)
def test_several_numbers(typed: str) -> None:
    """Of two numbers in one field the first is taken, never a mixture."""
    assert parse_phone(typed, Effort()) == "0170 1234567"


@pytest.mark.parametrize("typed", OTHERS)
def test_no_number(typed: str) -> None:
    """Letters are never digits; what has lost digits, a date and a sentence are no numbers."""
    assert parse_phone(typed, Effort()) is None
    lead = lead_of(form(phone=typed, name="Ada"), 'default_country = "DE"')
    assert lead.phone is None
    assert lead.answers == ({"phone": typed} if typed else {})


@pytest.mark.parametrize(
    "typed", ["0170 1234567 (Handy)", "+49 170 1234567 mobil", "Handy 0170 1234567 privat"]
)
def test_words_never_become_digits(typed: str) -> None:
    """A word beside a number adds no digit to it, as the library's letters on keys would."""
    assert lead_of(form(phone=typed), 'default_country = "DE"').phone == "+491701234567"


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("+49 30 1234567 ext. 12", "+49301234567 ext. 12"),
        ("+1 202 555 0123 x7", "+12025550123 ext. 7"),
        ("+1 202-555-0123 Ext 7", "+12025550123 ext. 7"),
        ("+4930123456;ext=9", "+4930123456 ext. 9"),
        ("030 1234567 Durchwahl 12", "+49301234567 ext. 12"),
        ("+33 1 23 45 67 89 poste 4", "+33123456789 ext. 4"),
        ("+1 202 555 0123 #7", "+12025550123 ext. 7"),
    ],
)
def test_extensions(typed: str, number: str) -> None:
    """An extension is kept beside the number, and never becomes part of it."""
    assert lead_of(form(phone=typed), 'default_country = "DE"').phone == number


@pytest.mark.parametrize(
    "typed", ["+491701234567", "+49 170 1234567", "0049-170-1234567", "+49.170/1234567"]
)
def test_full_numbers_need_no_library(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number with its country's code is E.164 without the cost of the library."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the library was asked")

    monkeypatch.setattr(phonenumbers, "parse", fail)
    assert to_e164(typed, None, None, Effort(0)) == "+491701234567"
    assert lead_of(form(phone=typed)).phone == "+491701234567"


def test_national_numbers_share_what_a_request_may_cost() -> None:
    """Beyond a request's share of the library a national number stays as typed."""
    effort = Effort(PHONE_UNITS)
    assert to_e164("0170 1234567", "DE", None, effort) == "+491701234567"
    assert to_e164("0170 1234568", "DE", None, effort) == "0170 1234568"


# The country.


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"phone": "0170 1234567"}, "0170 1234567"),
        ({"phone": "0170 1234567", "country": "DE"}, "+491701234567"),
        ({"phone": "0170 1234567", "country": "Deutschland"}, "+491701234567"),
        ({"Telefon": "0170 1234567", "Land": "Narnia"}, "0170 1234567"),
        ({"phone": "170 1234567", "phone_country_code": "+49"}, "+491701234567"),
        ({"phone": "170 1234567", "country_code": "+49"}, "+491701234567"),
        ({"phone": "1701234567", "dial_code": "0049"}, "+491701234567"),
        ({"phone": "+44 20 7183 8750", "country": "DE"}, "+442071838750"),
        ({"phone": "020 7183 8750", "country": "UK"}, "+442071838750"),
        ({"Numéro de téléphone": "01 23 45 67 89"}, "01 23 45 67 89"),
    ],
)
def test_the_country_beside_a_number(fields: dict[str, str], number: str) -> None:
    """The country is one that the payload says, or a dial code; never a label's language."""
    assert lead_of(form(**fields)).phone == number


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"area_code": "212", "phone": "555-0123", "country": "US"}, "+12125550123"),
        ({"area_code": "555", "phone": "555-0123", "country": "US"}, "+15555550123"),
        ({"area_code": "212", "phone": "212-555-0123", "country": "US"}, "+12125550123"),
        # Another area's number, and a postal code.
        ({"area_code": "212", "phone": "646-555-0123", "country": "US"}, "+16465550123"),
        ({"area code": "10001", "phone": "646-555-0123", "country": "US"}, "+16465550123"),
        ({"ddd": "11", "telefone": "1123-4567", "country": "BR"}, "+551111234567"),
        ({"ddi": "55", "ddd": "21", "telefone": "912345678"}, "+5521912345678"),
        # Without its area.
        ({"phone": "555-0123", "country": "US"}, "555-0123"),
    ],
)
def test_the_area_code_beside_a_number(fields: dict[str, str], number: str) -> None:
    """An area code is put before a number that lacks it, and never before one in full."""
    assert lead_of(form(name="Ada", **fields)).phone == number


def test_the_leads_country_wins_over_the_sources() -> None:
    """`default_country` counts only where the lead names none."""
    source = 'default_country = "GB"'
    assert lead_of(form(phone="0170 1234567", country="DE"), source).phone == "+491701234567"
    assert lead_of(form(phone="020 7183 8750"), source).phone == "+442071838750"


def test_a_dial_code_is_no_country() -> None:
    """`country_code` may hold a calling code, which is not the lead's country."""
    lead = lead_of(form(phone="170 1234567", country_code="+49"))
    assert (lead.country, lead.phone) == (None, "+491701234567")
    lead = lead_of(form(phone="0170 1234567", country_code="DE"))
    assert (lead.country, lead.phone) == ("DE", "+491701234567")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("+49", "+49"), ("0049", "+49"), ("49", "+49"), ("Germany (+49)", "+49"), ("DE +49", "+49"),
        (" +1 ", "+1"), ("(+49)", "+49"), ("DE", None), ("+491701234567", None), ("", None),
        ("+0", None), ("+49 170", None),
    ],
)  # fmt: skip
def test_dial_codes(text: str, code: str | None) -> None:
    """A calling code is read as forms offer it for choice."""
    assert parse_dial_code(text) == code


# Several fields.


@pytest.mark.parametrize(
    "names", [("tel1", "tel2", "tel3"), ("電話番号1", "電話番号2", "電話番号3")]
)
def test_a_number_in_parts(names: tuple[str, ...]) -> None:
    """Three short fields that follow each other are one number, as Japanese forms ask for it."""
    fields = dict(zip(names, ("03", "1234", "5678"), strict=True))
    lead = lead_of(form(name="Ada", **fields), 'default_country = "JP"')
    assert (lead.phone, lead.answers) == ("+81312345678", {})


def test_parts_that_are_apart() -> None:
    """Short numbers that do not follow each other stay answers."""
    lead = lead_of(form(tel1="03", name="Ada", tel2="1234", email="a@b.example", tel3="5678"))
    assert lead.phone is None
    assert lead.answers == {"tel1": "03", "tel2": "1234", "tel3": "5678"}


def test_the_number_in_full_wins() -> None:
    """Of a national number and the same one with its code the latter is taken."""
    lead = lead_of(form(phone="0170 1234567", full_phone="+491701234567", name="Ada"))
    assert lead.phone == "+491701234567"
    lead = lead_of(form(phone="0170 1234567", phone2="+442071838750", name="Ada"))
    assert lead.phone == "0170 1234567"


@pytest.mark.parametrize("value", ["+442071838750", "020 7183 8750", "0044 20 7183 8750"])
def test_a_number_that_stands_alone(value: str) -> None:
    """The only number is the lead's under an unknown name, unless it asks for something else."""
    assert lead_of(form(zz7=value, name="Ada"), 'default_country = "GB"').phone == "+442071838750"
    assert lead_of(form(fax=value, name="Ada")).phone is None
    assert lead_of(form(zz7=value, zz8="+12015550123", name="Ada")).phone is None


@pytest.mark.parametrize(
    "value",
    [
        "12", "2024-05-06", "12345678", "4111 1111 1111 1111", "1.234,56", "05.12.2026",
        "02/03/2026", "01-12-2026", "01.12.2026 - 05.12.2026", "09.30-17.00",
    ],
)  # fmt: skip
def test_other_numbers_stay_answers(value: str) -> None:
    """A date, times, a price or a bare number under an unknown name is no phone number."""
    assert not looks_like_phone(value)
    assert lead_of(form(zz7=value, name="Ada")).answers == {"zz7": value}


def test_numbers_of_json() -> None:
    """A number that JSON sends as one is read like its digits."""
    lead = lead_of(json_post({"phone": 491701234567}))
    assert lead.phone == "491701234567"
    assert msgspec.json.encode(lead)
    assert lead_of(json_post({"phone": 4.91701234567e11, "country": "DE"})).phone == (
        "+491701234567"
    )

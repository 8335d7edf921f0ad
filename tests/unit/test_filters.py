"""The language of the search box, and filters as query parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ops.filters import Filter, FilterError, Term, fold, parse_terms, text_variants


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (None, []),
        ("", []),
        ("  ada   acme ", [("", "ada"), ("", "acme")]),
        ('"ada lovelace" acme', [("", "ada lovelace"), ("", "acme")]),
        ('"ada love', [("", "ada love")]),
        ('""', []),
        ("state:dead source:contact", [("state", "dead"), ("source", "contact")]),
        ("STATE:dead", [("state", "dead")]),
        ("cause:invalid", [("cause", "invalid")]),
        ('utm_campaign:"spring sale" ada', [("utm_campaign", "spring sale"), ("", "ada")]),
        ("email:ada@example.com", [("email", "ada@example.com")]),
        ("https://acme.example", [("", "https://acme.example")]),
        ("re:zero", [("", "re:zero")]),
        ("state:", [("", "state:")]),
        ("+49 170 1234567", [("", "+491701234567")]),
        ("call +49 (0)170/12-34 now", [("", "call"), ("", "+49(0)170/12-34"), ("", "now")]),
        ("0170 1234", [("", "01701234")]),
        ("ada@example.com", [("", "ada@example.com")]),
        ("12 2026", [("", "12"), ("", "2026")]),
        ("spring 2026", [("", "spring"), ("", "2026")]),
    ],
)
def test_terms(q: str | None, expected: list[tuple[str, str]]) -> None:
    """Words, phrases, words with a key; a number written with spaces is one."""
    assert parse_terms(q) == [Term(key, text) for key, text in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller", ["muller"]),
        ("STRASSE", ["strasse"]),
        ("Straße", ["strasse"]),
        ("Özdemir  Ça", ["ozdemir ca"]),
        ("+491701234567", ["+491701234567", "491701234567"]),
        ("(0170)/12-34", ["(0170)/12-34", "1701234"]),
        ("01ARZ3", ["01arz3"]),
        ("007", ["007"]),
        ("a\x01b", ["a b"]),
    ],
)
def test_readings(text: str, expected: list[str]) -> None:
    """Case and accents do not count; a number is found by its digits, without the zero that is
    dialled at home.
    """
    assert text_variants(text) == expected


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"state": "broken"}, "state"),
        ({"state": "dead,broken"}, "state"),
        ({"q": "state:broken"}, "q"),
        ({"q": "a " * 30}, "q"),
        ({"q": "x" * 501}, "q"),
        ({"source": "x" * 501}, "source"),
    ],
)
def test_wrong_filters(parameters: dict[str, str], field: str) -> None:
    """What cannot be meant is refused, with the parameter it is in."""
    with pytest.raises(FilterError) as error:
        Filter.parse(parameters)
    assert error.value.field == field


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "source": st.text(max_size=40),
            "cause": st.text(max_size=40),
            "q": st.text(max_size=20),
        },
    )
)
def test_a_filter_survives_its_own_address(parameters: dict[str, str]) -> None:
    """What a filter writes into an address is what it reads from it, whatever people type."""
    expected = Filter.parse(parameters)
    assert Filter.parse(expected.parameters()) == expected
    assert expected.is_empty == (not expected.parameters())


@given(st.text(max_size=200))
def test_folding_ends(text: str) -> None:
    """Folding twice is folding once, and leaves no control character that could stand for a tag."""
    once = fold(text)
    assert fold(once) == once
    assert all(sign >= " " for sign in once)

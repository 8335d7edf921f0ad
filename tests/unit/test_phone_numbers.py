"""Phone numbers are compared as numbers, however they are written."""

from __future__ import annotations

import pytest

from worker.lead.phone_numbers import is_same_number, phone_key, search_words

FULL = "+491711234567"


@pytest.mark.parametrize(
    "written",
    [
        "+491711234567",
        "+49 171 1234567",
        "+49\u00a0171\u00a01234567",
        "+49 (0)171 1234567",
        "+49 (0) 171 / 123 45 67",
        "+49(171)123-4567",
        "0049 171 1234567",
        "(0049) 171 1234567",
        "00491711234567",
        "0171 1234567",
        "0171/1234567",
        "0171-123 45 67",
        "491711234567",
        "tel:+49-171-1234567",
        " +491711234567 ",
        "+49 171 1234567 ext. 5",
        "+49 171 1234567 x5",
        "0171 1234567 (Durchwahl 5)",
        "\uff0b49 171 1234567",
        "\u0660\u0661\u0667\u0661\u0661\u0662\u0663\u0664\u0665\u0666\u0667",
    ],
)
def test_the_same_number(written: str) -> None:
    """Blanks, country code, trunk zero, extension and script make no other number."""
    assert is_same_number(FULL, written)
    assert is_same_number(written, FULL)
    assert not is_same_number(written, "+491711234568")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+79123456789", "8 912 345 67 89"),
        ("+390612345678", "06 1234 5678"),
        ("+12125551234", "(212) 555-1234"),
        ("+12125551234", "1-212-555-1234"),
        ("+36301234567", "06 30 123 4567"),
        ("+442079460000", "020 7946 0000"),
        ("+4949112345", "0491 12345"),
        ("0171 1234567", "01711234567"),
    ],
)
def test_numbers_of_other_countries(one: str, other: str) -> None:
    """Each country's own way of dialling within it counts."""
    assert is_same_number(one, other)
    assert is_same_number(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FULL, "1234567"),
        (FULL, "+431711234567"),
        (FULL, "67"),
        (FULL, ""),
        (FULL, "call me"),
        ("", ""),
        ("+4930123456 ext. 5", "+4930123456 ext. 7"),
        ("+4930123456 ext. 5", "+49301234565"),
        (FULL, "9" * 5000),
    ],
)
def test_another_number(one: str, other: str) -> None:
    """A few last digits, another country or another extension is somebody else."""
    assert not is_same_number(one, other)
    assert not is_same_number(other, one)


@pytest.mark.parametrize(
    ("phone", "key"),
    [
        (FULL, FULL),
        ("0049 (0)171 1234567", FULL),
        ("+4930123456 ext. 5", "+4930123456;ext=5"),
        ("0171 123-4567", "01711234567"),
        ("+999 123", "+999123"),
        ("", ""),
        ("call me", ""),
    ],
)
def test_what_identifies_a_person(phone: str, key: str) -> None:
    """The key is the same for all ways of writing a number with its country."""
    assert phone_key(phone) == key
    assert phone_key(key) == key


@pytest.mark.parametrize(
    ("phone", "words"),
    [
        (FULL, "171 1234567"),
        ("+33612345678", "6 12 34 56 78"),
        ("+390612345678", "06 1234 5678"),
        ("+491711234567 ext. 5", "171 1234567"),
        ("0171/1234567", "171 1234567"),
        ("call me", ""),
    ],
)
def test_words_to_search(phone: str, words: str) -> None:
    """The words are in every way of writing the number, with and without its country."""
    assert search_words(phone) == words

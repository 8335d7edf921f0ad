from __future__ import annotations

from collections import Counter
from zoneinfo import ZoneInfo

import pytest

from worker.lead.dates import (
    _MONTH_NAMES,
    _WEEKDAY_NAMES,
    parse_date,
    parse_date_range,
    parse_time,
    parse_time_range,
)
from worker.lead.typed_text import fold_letters, normalize_typed

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-24", "24.12.2026", "24.12.26", "24/12/2026", "24/12/26", "24-12-2026",
        "24 12 2026", "24. 12. 2026", "2026/12/24", "2026.12.24", "2026. 12. 24.", "20261224",
        "12/24/2026", "12-24-2026", " 24.12.2026 ",
        # Months by name.
        "24 Dec 2026", "Dec 24, 2026", "December 24th, 2026", "the 24th of December 2026",
        "2026 Dec 24", "24-Dec-2026", "24-Dec-26", "24Dec2026", "24. Dezember 2026",
        "24. Dez. 2026", "24 décembre 2026", "24 de diciembre de 2026", "24 dicembre 2026",
        "24 de dezembro de 2026", "24 december 2026", "den 24 december 2026", "24 grudnia 2026 r.",
        "24. prosince 2026", "2026. december 24.", "24 Aralık 2026", "24 декабря 2026 г.",
        "24 Δεκεμβρίου 2026", "24 בדצמבר 2026", "24 ديسمبر 2026", "24 joulukuuta 2026",
        # Weekdays.
        "Thursday, 24 December 2026", "Do 24.12.2026", "Donnerstag, 24. Dez. 2026",
        "jueves 24 de diciembre de 2026", "quinta-feira, 24 de dezembro de 2026",
        # Eastern dates, and digits of other scripts.
        "2026年12月24日", "2026年12月24日(木)", "2026年12月24日木曜日", "2026년 12월 24일",
        "2026년 12월 24일 목요일", "２０２６／１２／２４", "٢٤/١٢/٢٠٢٦", "۲۴/۱۲/۲۰۲۶",
        "\u200f24/12/2026", "24\u00a0Dec\u202f2026",
        # With a time.
        "2026-12-24T09:30:00Z", "2026-12-24T09:30", "20261224T093000Z", "2026-12-24 09:30:00+01:00",
        "2026-12-24T09:30:00.000+0000", "24.12.2026 09:30", "24.12.2026, 9.30 Uhr",
        "24.12.2026 um 9 Uhr", "Dec 24, 2026 at 5pm", "12/24/2026, 9:30:00 AM",
        "24/12/2026 à 9h30", "jeudi 24 décembre 2026 à 14h", "2026年12月24日9時30分",
        "Thu Dec 24 2026 09:30:00 GMT+0100 (Central European Standard Time)",
        "Thu, 24 Dec 2026 09:30:00 +0100",
    ],
)  # fmt: skip
def test_dates(text: str) -> None:
    """A date is read however it is typed, in any of the languages."""
    assert parse_date(text) == "2026-12-24"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1er mars 2027", "2027-03-01"),
        ("1º de marzo de 2027", "2027-03-01"),
        ("1. März 2027", "2027-03-01"),
        ("1:e mars 2027", "2027-03-01"),
        ("Mar 24, 2026", "2026-03-24"),
        ("mar 24 mars 2026", "2026-03-24"),
        ("5/5/2027", "2027-05-05"),
        ("2026-3-1", "2026-03-01"),
        ("1. 3. 2026", "2026-03-01"),
        ("29.2.2028", "2028-02-29"),
        ("12.5.84", "1984-05-12"),
        ("12.5.40", "1940-05-12"),
        ("12.5.39", "2039-05-12"),
    ],
)
def test_more_dates(text: str, expected: str) -> None:
    """Ordinals, months that look like weekdays, and years in two digits from 1940 to 2039."""
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "today", "next week", "in 5 days", "Q4 2026",
        # Not a whole date.
        "24.12.", "24 Dec", "Dec 2026", "2026-12", "2026-W52",
        # No such date, or one in another calendar.
        "2026-02-30", "24.13.2026", "12.24.2026", "99/99/9999", "0000-01-01", "1405/09/10",
        "2569-12-24", "令和8年12月24日",
        # A number that may be anything.
        "46380", "1735689600", "241226", "24122026",
        # One of two dates.
        "03/04/2027", "03-04-2027", "3/4/27", "26-12-24",
        # Several dates, or one of many.
        "24.12.2026 oder 26.12.2026", "24.12.2026-26.12.2026", "24-26 Dec 2026", "Dec 24-26",
        "24/26 Dec", "ab 24.12.2026", "ca. 24.12.2026", "24.12.2026 or later", "by 24 Dec 2026",
        # Contradictions and slips.
        "Friday 24 December 2026", "Mon 24.12.2026", "2026-03/01", "24.12.20266", "1/2/3",
        "24.12.2026 25:00", "2026-12-24T25:00", "24.12.2026 20", "24.12. 20 Uhr",
        "24\u00b212.2026", "24.12.2026 ???", "24.12.2026" + " " * 120 + "!", "9" * 4000,
    ],
)  # fmt: skip
def test_no_date(text: str) -> None:
    """What is not one date for certain is not read."""
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("country", "expected"),
    [
        ("US", ("2027-03-04", "2027-03-04", "2026-12-24", "2026-12-24", "2027-04-03", None)),
        ("DE", ("2027-04-03", "2027-04-03", "2026-12-24", "2026-12-24", "2027-04-03", "2024-12-26")),
        ("SE", ("2027-04-03", None, "2026-12-24", "2026-12-24", "2027-04-03", None)),
        ("CA", (None, None, "2026-12-24", "2026-12-24", "2027-04-03", None)),
        ("JP", (None, None, "2026-12-24", "2026-12-24", "2027-04-03", None)),
        (None, (None, None, "2026-12-24", "2026-12-24", "2027-04-03", None)),
    ],
)  # fmt: skip
def test_the_country_decides(country: str | None, expected: tuple[str | None, ...]) -> None:
    """Where a country has one order of day and month, it applies; points always mean day first."""
    texts = ("03/04/2027", "03-04-27", "24/12/2026", "12/24/2026", "03.04.2027", "26-12-24")
    assert tuple(parse_date(text, country) for text in texts) == expected


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("26. 12. 24.", "KR", None),
        ("26.03.04", "HU", None),
        ("24.12.84", "KR", "1984-12-24"),
        ("2026. 12. 24.", "KR", "2026-12-24"),
        ("26.12.24", "DE", "2024-12-26"),
        ("24/12/69", "TH", None),
        ("75/12/24", "TW", None),
        ("24/12/48", "SA", None),
        ("24/12/2026", "TH", "2026-12-24"),
        ("24. listopada 2026", "HR", None),
        ("24 listopada 2026", "PL", "2026-11-24"),
    ],
)
def test_customs(text: str, country: str, expected: str | None) -> None:
    """Where years or months are written or counted otherwise, such a date is not read as ours."""
    assert parse_date(text, country) == expected


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("6/7/2026 - 20/7/2026", "US", None),
        ("20/6/2026 - 3/7/2026", "US", None),
        ("6/20/2026 - 7/3/2026", "GB", None),
        ("6/7/2026 - 7/20/2026", "US", ("2026-06-07", "2026-07-20")),
        ("6/7/2026 - 20/7/2026", "GB", ("2026-07-06", "2026-07-20")),
        ("20/6/2026 - 20/7/2026", "US", ("2026-06-20", "2026-07-20")),
        ("6/6/2026 - 20/7/2026", "US", ("2026-06-06", "2026-07-20")),
        ("6/7/2026 - Jul 20, 2026", "US", ("2026-06-07", "2026-07-20")),
        ("2026-06-07 - 2026-07-20", "US", ("2026-06-07", "2026-07-20")),
    ],
)
def test_both_ends_have_one_order(
    text: str, country: str, expected: tuple[str, str] | None
) -> None:
    """A date that can only be the other way round says that the other end is, too."""
    assert parse_date_range(text, country) == expected


@pytest.mark.parametrize(
    ("text", "day", "clock"),
    [
        ("2026-12-24T02:30:00Z", "2026-12-23", "21:30:00"),
        ("Thu Dec 24 2026 02:30:00 GMT+0100 (CET)", "2026-12-23", "20:30:00"),
        ("24.12.2026 02:30", "2026-12-24", "02:30:00"),
        ("2026-12-24", "2026-12-24", None),
    ],
)
def test_the_zone_decides(text: str, day: str, clock: str | None) -> None:
    """A time with an offset is read by the clock of the zone, any other as it was written."""
    assert parse_date(text, zone=NEW_YORK) == day
    assert parse_time(text, NEW_YORK) == clock


@pytest.mark.parametrize(
    "text",
    [
        "9.30", "9:30", "09:30:00", "09.30.00", "09:30:00.123", "0930", "9h30", "9 h 30", "9h30min",
        "9:30h", "9.30 Uhr", "9 Uhr 30", "9,30 Uhr", "um 9.30 Uhr", "9:30 am", "9.30am",
        "9:30 a.m.", "9:30 morgens", "kl. 9.30", "klokken 9:30", "klockan 9.30", "9時30分",
        "午前9時30分", "오전 9시 30분", "０９：３０", "٩:٣٠", "2026-12-24 9:30",
        "24.12.2026 9.30 Uhr",
    ],
)  # fmt: skip
def test_times(text: str) -> None:
    """The minutes of a time are never lost, whatever stands before them."""
    assert parse_time(text) == "09:30:00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17.45", "17:45:00"),
        ("5:45 pm", "17:45:00"),
        ("1745", "17:45:00"),
        ("17:45 PM", "17:45:00"),
        ("5:45 de la tarde", "17:45:00"),
        ("9:05", "09:05:00"),
        ("09:30:15", "09:30:15"),
        ("5pm", "17:00:00"),
        ("5 p.m.", "17:00:00"),
        ("12 am", "00:00:00"),
        ("12:30 am", "00:30:00"),
        ("12 pm", "12:00:00"),
        ("noon", "12:00:00"),
        ("midi", "12:00:00"),
        ("midnight", "00:00:00"),
        ("9 Uhr", "09:00:00"),
        ("9 Uhr abends", "21:00:00"),
        ("9h", "09:00:00"),
        ("14h", "14:00:00"),
        ("8 uur", "08:00:00"),
        ("8 du soir", "20:00:00"),
        ("klokken 9", "09:00:00"),
        ("kl 9", "09:00:00"),
        ("午後3時", "15:00:00"),
    ],
)
def test_more_times(text: str, expected: str) -> None:
    """A word beside a number says that it is an hour, and of which half of the day."""
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "9", "5", "9.5", "9:3", "9,30", "9.60", "25:00", "24:00", "93:0", "9 o'clock",
        "half past nine", "halb zehn", "vormittags", "1 Uhr nachts", "12 Uhr abends", "13 am",
        "ca. 9:30", "ab 9 Uhr", "gegen 9 Uhr", "9:30-10:30", "5 min", "2 hrs", "2026-12-24",
        "9:30Z", "9:30+02:00", "2026-12-24T09:30Z", "9.30 XX",
    ],
)  # fmt: skip
def test_no_time(text: str) -> None:
    """What is not one time of day in a known time zone is not read."""
    assert parse_time(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "9:00-17:00", "9.00 \u2013 17.00 Uhr", "9:00 / 17:00", "0900-1700", "9-17 Uhr",
        "von 9 bis 17 Uhr", "9am-5pm", "9 am to 5 pm", "from 9:00 to 17:00", "9h-17h",
        "de 9h à 17h", "kl. 9-17", "dalle 9:00 alle 17:00",
    ],
)  # fmt: skip
def test_time_ranges(text: str) -> None:
    """Both ends are read like times; one word counts for both bare hours."""
    assert parse_time_range(text) == ("09:00:00", "17:00:00")


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-24/2026-12-26", "2026-12-24 - 2026-12-26", "2026-12-24-2026-12-26",
        "2026-12-24..2026-12-26", "24.12.2026 \u2013 26.12.2026", "24/12/2026-26/12/2026",
        "24-12-2026 - 26-12-2026", "vom 24.12.2026 bis 26.12.2026", "24.12.2026 t/m 26.12.2026",
        "du 24 décembre 2026 au 26 décembre 2026", "24 Dec 2026 to 26 Dec 2026",
        "24 de diciembre de 2026 al 26 de diciembre de 2026", "2026年12月24日～2026年12月26日",
    ],
)  # fmt: skip
def test_date_ranges(text: str) -> None:
    """Both ends are read like dates, whatever stands between them."""
    assert parse_date_range(text) == ("2026-12-24", "2026-12-26")


@pytest.mark.parametrize("text", ["9-5pm", "9", "9-17", "9:00", "9:00-", "9:00-17:00-18:00"])
def test_no_time_range(text: str) -> None:
    """One time is no range, and neither are three, or numbers that may be anything."""
    assert parse_time_range(text) is None


def test_names_are_sound() -> None:
    """Each name is of one month, and is written as texts are simplified."""
    counts = Counter(name for names in _MONTH_NAMES for name in set(names.split()))
    assert [name for name, count in counts.items() if count > 1] == []
    names = " ".join((*_MONTH_NAMES, *_WEEKDAY_NAMES)).split()
    assert [name for name in names if fold_letters(normalize_typed(name)) != name] == []

"""Dates and times of day as people type them: `24.12.2026`, `Dec 24, 2026`, `9.30 Uhr`, `5 pm`.

A text that can be read in two ways is not read at all, because a wrong date is worse than a missing
one. What decides:

1. Four digits in front are the year: `2026-12-24`, `2026/12/24`, `20261224`.
2. With dots the day comes first: `24.12.2026`. Two digits in front may be the year where that is
   the custom: `26. 12. 24.` in Korea.
3. Otherwise the country decides, where it has one order: `03/04/2027` is the 4th of March in the
   United States and the 3rd of April in Germany.
4. Otherwise there must be only one date that it can be: `12/24/2026`.

Two digits are a year from 1940 to 2039, except in countries that also count years otherwise:
`24/12/69` is the year 2569 in Thailand. A year in another calendar (1405, 2569) is out of range,
and so is the serial number of a spreadsheet: 46380 could be anything. A weekday must be that of
the date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from itertools import islice
from typing import NamedTuple

from worker.lead.typed_text import fold_letters, normalize_typed

# A date as browsers print it, with the name of its time zone, is the longest.
MAX_CHARS = 120
YEARS = range(1900, 2200)
FIRST_SHORT_YEAR = 1940
# Places at which a range may be split; two dates with dashes, and a dash between them, have five.
MAX_SPLITS = 10
MAX_OFFSET = timedelta(hours=14)

# Where the month comes before the day; where both orders, or several, are in use; and where two
# digits may be the year in front.
MONTH_FIRST = frozenset({"US", "AS", "FM", "GU", "MH", "MP", "PR", "PW", "UM", "VI"})
MIXED_ORDER = frozenset(
    {
        "CA", "CN", "GH", "GL", "HK", "JP", "KE", "KP", "KR", "KY", "MN", "MO", "PA", "PH", "TG",
        "TW",
    }
)  # fmt: skip
YEAR_FIRST = frozenset(
    {
        "CA", "CN", "HK", "HU", "IR", "JP", "KE", "KP", "KR", "LT", "LV", "MN", "MO", "SE", "TW",
        "ZA",
    }
)  # fmt: skip

# Where the year may also come first with dots, and where years are also counted otherwise.
DOTTED_YEAR_FIRST = frozenset({"CN", "HK", "HU", "JP", "KP", "KR", "LT", "MN", "MO", "TW"})
OTHER_CALENDARS = frozenset({"AF", "ET", "IR", "JP", "NP", "SA", "TH", "TW"})
# Where the Polish and Czech word for November is October.
_OCTOBER_IS_LISTOPAD = frozenset({"BA", "HR"})

# The months in 25 languages, without accents and case, in full (in every case that a date takes)
# and shortened.
_MONTH_NAMES = (
    "january jan januar janvier janv enero ene gennaio gen janeiro januari stycznia styczen sty"
    " jaenner janner leden ledna januara ianuarie ocak tammikuu tammikuuta gener ιανουαριου ιαν"
    " января январь янв січня січень يناير ינואר",
    "february feb febr februar feber fevrier fev fevr febrero febbraio fevereiro februari lutego"
    " luty lut unor unora februara februarie subat helmikuu helmikuuta febrer φεβρουαριου φεβ"
    " февраля февраль фев лютого лютии فبراير פברואר",
    "march mar maerz marz mrz mars marzo marco maart mrt marca marzec marts brezen brezna marec"
    " marcius martie mart maaliskuu maaliskuuta maret μαρτιου μαρ марта март"
    " березня березень مارس מרץ",
    "april apr avril avr abril abr aprile kwietnia kwiecien kwi duben dubna aprila aprilis aprilie"
    " nisan huhtikuu huhtikuuta απριλιου απρ апреля апрель апр квітня квітень ابريل אפריל",
    "may mai mayo maggio mag maio mei maja maj kveten kvetna majus mayis toukokuu toukokuuta maig"
    " μαιου мая маи травня травень مايو מאי",
    "june jun juin junio giugno giu junho juni czerwca czerwiec cze cerven cervna juna junius iunie"
    " haziran kesakuu kesakuuta juny ιουνιου ιουν июня июнь июн червня червень يونيو יוני",
    "july jul juillet juil julio luglio lug julho juli lipca lipiec lip cervenec cervence jula"
    " julius iulie temmuz heinakuu heinakuuta juliol ιουλιου ιουλ июля июль июл"
    " липня липень يوليو יולי",
    "august aug aout agosto ago augustus sierpnia sierpien sie augusti srpen srpna augusta"
    " augusztus agustos elokuu elokuuta agost agustus αυγουστου αυγ августа август авг серпня"
    " серпень اغسطس אוגוסט",
    "september sep sept septembre septiembre set settembre setembro wrzesnia wrzesien wrz zari"
    " septembra szeptember szept septembrie eylul syyskuu syyskuuta setembre σεπτεμβριου σεπ"
    " сентября сентябрь сен сент вересня вересень سبتمبر ספטמבר",
    "october oct oktober okt octobre octubre ottobre ott outubro out pazdziernika pazdziernik paz"
    " rijen rijna oktobra oktobre octombrie ekim lokakuu lokakuuta οκτωβριου οκτ октября"
    " октябрь окт жовтня жовтень اكتوبر אוקטובר",
    "november nov novembre noviembre novembro listopada listopad lis novembra noiembrie kasim"
    " marraskuu marraskuuta νοεμβριου νοε ноября ноябрь ноя листопада листопад نوفمبر נובמבר",
    "december dec dezember dez decembre diciembre dic dicembre dezembro grudnia grudzien gru"
    " desember des prosinec prosince decembra decembrie aralik joulukuu joulukuuta desembre"
    " δεκεμβριου δεκ декабря декабрь дек грудня грудень ديسمبر דצמבר",
)
_WEEKDAY_NAMES = (
    "monday mon montag mo lundi lun lunes lunedi segunda segunda-feira seg maandag ma poniedzialek"
    " pon pn mandag man 月 月曜日 월 월요일 星期一",
    "tuesday tue tues dienstag di mardi mar martes martedi terca terca-feira ter dinsdag wtorek wt"
    " tisdag tis tirsdag 火 火曜日 화 화요일 星期二",
    "wednesday wed mittwoch mi mercredi mer miercoles mie mercoledi quarta quarta-feira qua"
    " woensdag wo sroda sr onsdag ons 水 水曜日 수 수요일 星期三",
    "thursday thu thur thurs donnerstag do jeudi jeu jueves jue giovedi gio quinta quinta-feira qui"
    " donderdag czwartek czw torsdag tor tors 木 木曜日 목 목요일 星期四",
    "friday fri freitag fr vendredi ven viernes vie venerdi sexta sexta-feira sex vrijdag vr piatek"
    " pt fredag fre 金 金曜日 금 금요일 星期五",
    "saturday sat samstag sonnabend sa samedi sam sabado sab sabato zaterdag za sobota sob lordag"
    " lor 土 土曜日 토 토요일 星期六",
    "sunday sun sonntag so dimanche dim domingo dom domenica zondag zo niedziela niedz nd sondag"
    " son 日 日曜日 일 일요일 星期日 星期天",
)
_MONTHS = {name: month for month, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_WEEKDAYS = {
    name: frozenset(day for day, names in enumerate(_WEEKDAY_NAMES) if name in names.split())
    for names in _WEEKDAY_NAMES
    for name in names.split()
}
# Words that may stand in a date without changing it, and the endings of ordinals.
_DATE_WORDS = frozenset(
    {
        "of", "the", "de", "del", "di", "da", "do", "d", "den", "der", "le", "el", "il", "la", "am",
        "on", "op", "em", "dnia", "r", "roku", "г", "года", "рік", "року", "st", "nd", "rd", "th",
        "er", "re", "e", "eme", "o", "a", "te", "ste",
    }
)  # fmt: skip

_NUMERIC = re.compile(r"(\d{1,4}) ?([./-]) ?(\d{1,2}) ?\2 ?(\d{1,4})\.?")
_SPACED = re.compile(r"(\d{1,2}) (\d{1,2}) (\d{4})")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_EASTERN = re.compile(r"(\d{4}) ?[年년] ?(\d{1,2}) ?[月월] ?(\d{1,2}) ?[日号號일]")
_WORD_OR_NUMBER = re.compile(r"\d+|[^\W\d_]+")
_BETWEEN_WORDS = re.compile(r"[\s.,:/'()-]*")
_WEEKDAY_FIRST = re.compile(r"([^\W\d_]+(?:-feira)?)\.?,? (.+)")
_WEEKDAY_LAST = re.compile(r"(.+?) ?\(([^\W\d_]+)\.?\)|(.+?[日일]) ?([^\W\d_]+)")
# A time right after an eastern date.
_TIME_AFTER_DAY = re.compile(r"(?<=[日일])(?=\d|[午上下오])")
# `T` between a date and a time, and the end of the time that people write after it.
_ISO_DATETIME = re.compile(r"(\d{4}-?\d{2}-?\d{2})t(\d.*)")

# "12 in the morning" depends on the language, unless it is said as in the first line.
_AM, _PM = r"a\.?\s?m\b\.?|午前|上午|오전", r"p\.?\s?m\b\.?|午後|下午|오후"
_MORNING = (
    "morgens|fruh|vormittags|du matin|de la manana|del mattino|di mattina|da manha|'?s ochtends"
    "|'?s morgens|rano"
)
_AFTERNOON = (
    "nachmittags|abends|de l'apres-midi|du soir|de la tarde|del pomeriggio|di sera|da tarde"
    "|'?s middags|'?s avonds|po poludniu|wieczorem"
)
_TIME = re.compile(
    r"(?P<before>(?:kl|klokken|klockan|klo|um)\.? )?"
    rf"(?:(?P<am>{_AM})|(?P<pm>{_PM}))? ?"
    r"(?P<hour>\d{1,2})"
    r"(?:(?P<mark>[:.,]| ?(?:h|uhr|uur|[時时點点시]) ?)(?P<minute>\d{2})"
    r"(?:(?P=mark)(?P<second>\d{2})(?:[.,]\d{1,9})?)?)?"
    r"(?P<unit> ?(?:uhr|uur|h|hrs|min|[時时點点시分분]))?"
    rf"(?: ?(?:(?P<am_after>{_AM})|(?P<pm_after>{_PM})"
    rf"|(?P<morning>{_MORNING})|(?P<afternoon>{_AFTERNOON})))?"
)
_COMPACT_TIME = re.compile(r"(\d{2})(\d{2})(?: ?(?:uhr|uur|h|hrs))?")
_ISO_COMPACT_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})?")
_OFFSET = re.compile(
    r"(?P<time>.+?) ?(?:(?P<zero>z|utc|gmt)|(?P<named>(?:utc|gmt) ?)?(?P<sign>[+-])"
    r"(?P<hours>\d{1,2}):?(?P<minutes>00|15|30|45)?)(?: \(.*\))?"
)
_NOON = (
    "noon", "12 noon", "midday", "midi", "mediodia", "mezzogiorno", "meio-dia", "meio dia",
    "poludnie", "w poludnie", "12 uhr mittags",
)  # fmt: skip
_MIDNIGHT = (
    "midnight", "12 midnight", "minuit", "mitternacht", "medianoche", "mezzanotte", "meia-noite",
    "meia noite", "middernacht", "polnoc", "midnatt",
)  # fmt: skip
_TIME_BY_NAME = dict.fromkeys(_NOON, time(12)) | dict.fromkeys(_MIDNIGHT, time(0))
_DURATION_UNITS = frozenset({"hrs", "min", "分", "분"})
# Before a time that follows a date.
_AT = re.compile(r"(?:at|um|a|a las|alle|ore|as|om|o|kl\.?|klokken|klockan) ")

_BETWEEN_ENDS = re.compile(
    r" ?(?:-|/|\.\.\.?|…|~) ?"
    r"| (?:to|until|till|til|through|bis|au|a|al|hasta|fino a|ate|tot|tot en met|t/m|do|av|alle|as)"
    r" "
)
_BEFORE_START = re.compile(
    r"(?:from|von|vom|du|de|des|del|desde|dal|dalle|das|van|od|fran|fra) (?=\S)"
)
_BARE_HOUR = re.compile(r"\d{1,2}")
_24_HOURS = re.compile(r"(?:uhr|uur|h)$|^(?:kl|klokken|klockan|klo|um)\b")


# One end of a range, as written and as parsed.
_End = tuple[str, str]


class _DateTime(NamedTuple):
    """A date, and the time of day that was written beside it with its offset from UTC."""

    day: date
    time: time | None = None
    offset: timezone | None = None

    def within(self, zone: tzinfo | None) -> _DateTime:
        """Return the moment as a clock in `zone` shows it, if the text says when it is in UTC."""
        if zone is None or self.time is None or self.offset is None:
            return self
        moment = datetime.combine(self.day, self.time, self.offset).astimezone(zone)
        return _DateTime(moment.date(), moment.time())


def parse_date(text: str, country: str | None = None, zone: tzinfo | None = None) -> str | None:
    """Return the date of a text as YYYY-MM-DD; None if there is none, or more than one.

    `country` is the code of the country whose order of day and month applies. In `zone`, the date
    of a time with an offset is the one in that time zone; else it is the one that was written.
    """
    moment = _parse_datetime(_simplify(text), country)
    return moment.within(zone).day.isoformat() if moment else None


def parse_time(text: str, zone: tzinfo | None = None) -> str | None:
    """Return the time of day of a text as HH:MM:SS; None if there is none.

    A time with an offset from UTC needs its date and the time zone to read it in.
    """
    text = _simplify(text)
    moment = _parse_datetime(text, None)
    if moment is None:
        clock = _TIME_BY_NAME.get(text) or _parse_clock(text) or _parse_compact(text)
    elif moment.offset and zone is None:
        clock = None
    else:
        clock = moment.within(zone).time
    return clock.isoformat() if clock else None


def parse_date_range(
    text: str, country: str | None = None, zone: tzinfo | None = None
) -> tuple[str, str] | None:
    """Return both dates of a text such as `24.12.2026 - 26.12.2026`, in its order, else None."""
    return _parse_range(text, lambda end: parse_date(end, country, zone), _have_one_order)


def parse_time_range(text: str, zone: tzinfo | None = None) -> tuple[str, str] | None:
    """Return both times of a text such as `9:00 - 17:00` or `9-17 Uhr`, in its order, else None."""
    return _parse_range(text, lambda end: parse_time(end, zone))


def _simplify(text: str) -> str:
    return "" if len(text) > MAX_CHARS else fold_letters(normalize_typed(text))


# Dates.


def _parse_datetime(text: str, country: str | None) -> _DateTime | None:
    """Read a date, or a date with a time behind it."""
    if day := _parse_day(text, country):
        return _DateTime(day)
    if match := _ISO_DATETIME.fullmatch(text):
        day = _parse_day(match[1], country)
        return _add_time(day, match[2], is_iso=True) if day else None
    text = _TIME_AFTER_DAY.sub(" ", text)
    for at, character in enumerate(text):
        if character in " ," and (day := _parse_day(text[:at].rstrip(" ,"), country)):
            clock = _AT.sub("", text[at:].lstrip(" ,"), count=1)
            if moment := _add_time(day, clock):
                return moment
    return None


def _add_time(day: date, text: str, *, is_iso: bool = False) -> _DateTime | None:
    """Return the moment of a date and the text behind it; None if that is not a time."""
    if clock := _parse_any_time(text, is_iso=is_iso):
        return _DateTime(day, clock)
    match = _OFFSET.fullmatch(text)
    clock = _parse_any_time(match["time"], is_iso=is_iso) if match else None
    if match is None or clock is None:
        return None
    # `9:00-12:00` are two times, and `09:00:00-12:00` is one.
    is_offset = match["zero"] or match["named"] or is_iso or match["time"].count(":") == 2
    shift = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    if not is_offset or shift > MAX_OFFSET:
        return None
    return _DateTime(day, clock, timezone(-shift if match["sign"] == "-" else shift))


def _parse_any_time(text: str, *, is_iso: bool) -> time | None:
    """Read a time behind a date, where four digits are a year unless ISO 8601 says otherwise."""
    return _parse_clock(text) or (_parse_compact(text, _ISO_COMPACT_TIME) if is_iso else None)


def _parse_day(text: str, country: str | None) -> date | None:
    """Read a date without a time, with or without its weekday."""
    if match := _WEEKDAY_FIRST.fullmatch(text):
        name, rest = match[1], match[2]
    elif match := _WEEKDAY_LAST.fullmatch(text):
        name, rest = match[2] or match[4], match[1] or match[3]
    else:
        return _parse_bare_day(text, country)
    day = _parse_bare_day(rest, country) if name in _WEEKDAYS else None
    if day is None:  # `Mar 24, 2026` does not begin with a Tuesday
        return _parse_bare_day(text, country)
    return day if day.weekday() in _WEEKDAYS[name] else None


def _parse_bare_day(text: str, country: str | None) -> date | None:
    if match := _NUMERIC.fullmatch(text):
        return _choose_order(match[1], match[2], match[3], match[4], country)
    if match := _SPACED.fullmatch(text):
        return _choose_order(match[1], " ", match[2], match[3], country)
    if match := _COMPACT.fullmatch(text) or _EASTERN.fullmatch(text):
        return _make_date(match[1], match[2], match[3])
    return _parse_named_day(text, country)


def _choose_order(
    first: str, mark: str, second: str, third: str, country: str | None
) -> date | None:
    """Return the date of three numbers, if there is only one that they can be."""
    if len(first) == 4:
        return _make_date(first, second, third)
    if len(first) > 2 or len(third) not in (2, 4):
        return None
    if len(third) == 2 and country in OTHER_CALENDARS:
        return None
    day_first, month_first = (
        _make_date(third, second, first),
        _make_date(third, first, second),
    )
    year_first = None
    if len(third) == 2 and (mark == "-" or country in YEAR_FIRST):
        year_first = _make_date(first, second, third)
    if mark == ".":
        is_clear = not (day_first and year_first) or country not in DOTTED_YEAR_FIRST
        return day_first if is_clear else None
    if country in MONTH_FIRST:
        preferred = month_first
    elif country is None or country in MIXED_ORDER or (year_first and country in YEAR_FIRST):
        preferred = None
    else:
        preferred = day_first
    candidates = {each for each in (day_first, month_first, year_first) if each}
    return preferred or (candidates.pop() if len(candidates) == 1 else None)


def _parse_named_day(text: str, country: str | None) -> date | None:
    """Read a day, the name of a month and a year, in any order that leaves no doubt."""
    words = _WORD_OR_NUMBER.findall(text)
    if not 3 <= len(words) <= 9 or not all(map(_BETWEEN_WORDS.fullmatch, _gaps(text))):
        return None
    months = [at for at, word in enumerate(words) if _month(word)]
    numbers = [at for at, word in enumerate(words) if word.isdigit()]
    others = [at for at in range(len(words)) if at not in months and at not in numbers]
    if (
        len(months) != 1
        or len(numbers) != 2
        or not _DATE_WORDS.issuperset(words[at] for at in others)
    ):
        return None
    if words[months[0]].startswith("listopad") and country in _OCTOBER_IS_LISTOPAD:
        return None
    first, second = (words[at] for at in numbers)
    month = str(_month(words[months[0]]))
    if len(first) == 4:
        return _make_date(first, month, second) if numbers[0] < months[0] else None
    is_between = numbers[0] < months[0] < numbers[1]
    # `Dec 24-26` are three days.
    if not is_between and (len(second) == 2 or months[0] > numbers[1]):
        return None
    return _make_date(second, month, first)


def _gaps(text: str) -> Iterator[str]:
    """Yield what stands between the words and numbers of a text."""
    end = 0
    for match in _WORD_OR_NUMBER.finditer(text):
        yield text[end : match.start()]
        end = match.end()
    yield text[end:]


def _month(word: str) -> int | None:
    """Return the number of a month; Hebrew writes `in` as a letter before it."""
    return _MONTHS.get(word) or _MONTHS.get(word.removeprefix("ב"))


def _make_date(year: str, month: str, day: str) -> date | None:
    if len(year) not in (2, 4) or len(day) > 2:
        return None
    number = int(year)
    if len(year) == 2:
        number += 2000 if number + 2000 < FIRST_SHORT_YEAR + 100 else 1900
    try:
        return date(number, int(month), int(day)) if number in YEARS else None
    except ValueError:
        return None


# Times.


def _parse_clock(text: str) -> time | None:
    """Read a time whose hours stand apart from the minutes, or that says that it is one."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    is_morning = bool(match["am"] or match["am_after"] or match["morning"])
    is_afternoon = bool(match["pm"] or match["pm_after"] or match["afternoon"])
    unit = (match["unit"] or "").strip()
    is_marked = match["before"] or unit or is_morning or is_afternoon
    # "5 hrs" and "5 min" are durations, and "9,30" may be a number.
    if match["minute"] is None and (not is_marked or unit in _DURATION_UNITS):
        return None
    if (match["mark"] == "," and not is_marked) or (is_morning and is_afternoon):
        return None
    hour = int(match["hour"])
    if hour == 12 and (is_morning or is_afternoon):
        if match["morning"] or match["afternoon"]:
            return None
        hour = 0
    if is_morning and hour > 12:
        return None
    if is_afternoon and hour < 12:
        hour += 12
    return _make_time(hour, match["minute"], match["second"])


def _parse_compact(text: str, pattern: re.Pattern[str] = _COMPACT_TIME) -> time | None:
    match = pattern.fullmatch(text)
    return _make_time(int(match[1]), *match.groups()[1:]) if match else None


def _make_time(hour: int, minute: str | None, second: str | None = None) -> time | None:
    try:
        return time(hour, int(minute or 0), int(second or 0))
    except ValueError:
        return None


# Ranges.


def _parse_range(
    text: str,
    parse: Callable[[str], str | None],
    agree: Callable[[_End, _End], bool] = lambda *_: True,
) -> tuple[str, str] | None:
    """Return both ends of a text, if there is only one place where it can be split.

    `agree` says whether two ends, each as written and as parsed, can belong together.
    """
    text = _BEFORE_START.sub("", _simplify(text), count=1)
    ranges = set()
    for match in islice(_BETWEEN_ENDS.finditer(text), MAX_SPLITS):
        start, end = _complete_ends(text[: match.start()], text[match.end() :])
        first, last = parse(start), parse(end)
        if first and last and agree((start, first), (end, last)):
            ranges.add((first, last))
    return ranges.pop() if len(ranges) == 1 else None


def _have_one_order(start: _End, end: _End) -> bool:
    """Return whether day and month of both dates are in one order, unlike `6/7/2026-20/7/2026`."""
    return bool(_orders(*start) & _orders(*end))


def _orders(text: str, iso_date: str) -> frozenset[str]:
    """Return the orders that a text may have its day and month in, given what it was parsed as."""
    match = _NUMERIC.match(text)
    written = (int(match[1]), int(match[3])) if match else ()
    month, day = int(iso_date[5:7]), int(iso_date[8:])
    orders = {"day first": (day, month), "month first": (month, day)}
    possible = frozenset(name for name, order in orders.items() if written in (order, ()))
    return possible or frozenset(orders)


def _complete_ends(start: str, end: str) -> tuple[str, str]:
    """Add to a bare hour that the other end counts 24 hours: `9-17 Uhr`, `kl. 9-17`."""
    if _BARE_HOUR.fullmatch(start) and _24_HOURS.search(end):
        return f"{start} h", end
    if _BARE_HOUR.fullmatch(end) and _24_HOURS.search(start):
        return start, f"{end} h"
    return start, end

"""One source's settings rendered over one lead. What is no number or no date is left out, and said: the lead still flows."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from worker.contract import Lead
from worker.errors import Unmappable
from worker.fitting import fit, fit_around
from worker.money import currency_code, read_money
from worker.templates import Context, Template, TemplateError, as_text, compile_template
from worker.units import parse_duration
from worker.writing import LeadSettings

QUOTED = 120
"""Characters of a sender's value that are quoted in a sentence about it."""


class Sum(Struct, frozen=True):
    """A lead's value as Pipedrive takes it; `currency` is an ISO 4217 code."""

    amount: float
    currency: str


class Draft:
    """Renders settings, and gathers sentences about what had to be left out. Raises Unmappable where a setting is wrong."""

    def __init__(self, source: str, settings: LeadSettings, lead: Lead, seen: Context) -> None:
        self.source = source
        self.settings = settings
        self.lead = lead
        self.seen = seen
        self.left_out: list[str] = []

    def setting(self, key: str) -> str:
        """The place in the source file, as a cause names it."""
        return f"sources.{self.source}.lead.{key}"

    def template(self, key: str, text: str) -> Template:
        try:
            return compile_template(text)
        except TemplateError as error:
            raise Unmappable(str(error), setting=self.setting(key), field=key) from error

    def text(self, key: str, text: str) -> str:
        return self.template(key, text).render(self.seen)

    def line(self, key: str, text: str) -> str:
        """The rendered text on one line, with single spaces."""
        return " ".join(self.text(key, text).split())

    def duration(self, key: str, text: str) -> float:
        try:
            return parse_duration(text)
        except ValueError as error:
            raise Unmappable(str(error), setting=self.setting(key), field=key) from error

    def origin_id(self, submission_id: str) -> str:
        """At most 255 characters, with the submission's id whole: a lead whose outcome is unknown is found by it."""
        text = self.line("origin_id", self.settings.origin_id)
        if submission_id not in text:
            raise Unmappable("origin_id must contain {submission_id}", setting=self.setting("origin_id"), field="origin_id")
        return fit_around(text, submission_id)

    def value(self) -> Sum | None:
        """The lead's value; the currency of the source file goes before the one the sender wrote."""
        settings = self.settings.value
        text = self.line("value.amount", settings.amount) if settings else ""
        if not settings or not text:
            return None
        named = self.line("value.currency", settings.currency)
        currency = currency_code(named)
        amount, written, agrees = self._amount(text, currency)
        chosen = currency or written
        if named and not currency:
            self._say(f"The value “{_short(text)}” is left out: the currency “{_short(named)}” is unknown.")
        elif amount is None:
            self._say(f"The value “{_short(text)}” is left out: it is not a number.")
        elif not chosen:
            self._say(f"The value “{_short(text)}” is left out: it has no currency.")
        else:
            if not agrees:
                self._say(f"The value “{_short(text)}” was written as {chosen}, as the source file says.")
            return Sum(int(amount) if float(amount).is_integer() else amount, chosen)
        return None

    @property
    def writes_value(self) -> bool:
        """Whether the value written is the lead's own, and not an answer."""
        settings = self.settings.value
        return settings is not None and "value.amount" in self.template("value.amount", settings.amount).names

    def _amount(self, text: str, currency: str | None) -> tuple[float | None, str | None, bool]:
        """The number, the currency its text names, and whether that fits. A number that came as one is not interpreted."""
        given = self.lead.value.amount if self.lead.value else None
        if isinstance(given, int | float) and not isinstance(given, bool) and as_text(given) == text and math.isfinite(given):
            return given, None, True
        found = read_money(text, currency)
        return (found.amount, found.currency, found.agrees) if found else (None, None, True)

    def expected_close(self, received_at: float) -> str | None:
        """An ISO date; a duration counts from the day, in UTC, on which the submission came in."""
        text = self.line("expected_close", self.settings.expected_close or "")
        found = (read_date(text) or _after(text, received_at)) if text else None
        if text and not found:
            self._say(f"The expected close date “{_short(text)}” is left out: it is not a date.")
        return found

    def _say(self, sentence: str) -> None:
        self.left_out.append(sentence)


_DATE = re.compile(
    r"(?P<y>\d{4})(?P<mark>[-/.])(?P<m>\d{1,2})(?P=mark)(?P<d>\d{1,2})(?:[T ].*)?"
    r"|(?P<D>\d{1,2})\. ?(?P<M>\d{1,2})\. ?(?P<Y>\d{4})",
    re.ASCII,
)


def read_date(text: str) -> str | None:
    """The ISO form of a date that can be read one way only: year first, or day.month.year with points; else None."""
    found = _DATE.fullmatch(text.strip())
    if not found:
        return None
    year, month, day = (int(found[low] or found[low.upper()]) for low in "ymd")
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _after(duration: str, received_at: float) -> str | None:
    try:
        return (datetime.fromtimestamp(received_at, UTC) + timedelta(seconds=parse_duration(duration))).date().isoformat()
    except (ValueError, OverflowError):
        return None


def _short(text: str) -> str:
    """For standing in “ ”: with no end of a quotation in it, so that whoever keeps the sentence can take the text out again."""
    return fit(text, QUOTED).replace("”", '"')

"""Custom fields: encodes a submission's text as the JSON value that the field's type takes.

Leads take the deals' fields in the v1 form (all at the top level, companion fields beside them);
persons take theirs in the v2 form (objects):
https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide#custom-fields

| type              | lead (v1)                         | person (v2)                      |
|-------------------|-----------------------------------|----------------------------------|
| enum              | 12                                | 12                               |
| set               | "12,13"                           | [12, 13]                         |
| monetary          | 500 and KEY_currency "EUR"        | {"value": 500, "currency": "EUR"} |
| date-, timerange  | "…" and KEY_until "…"             | {"value": "…", "until": "…"}     |
| time              | "09:00:00"                        | {"value": "09:00:00"}            |
| address           | "…"                               | {"value": "…"}                   |
| all others        | the value                         | the value                        |

The fields that contact sync adds to persons have readable keys. They stand beside the built-in
fields, and are recognised by their key: `im` is a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Literal

from msgspec import Struct, field

from worker.lead.dates import parse_date, parse_date_range, parse_time, parse_time_range
from worker.lead.money import parse_money
from worker.units import int_if_whole

# From the table of field types in Pipedrive's API reference.
MAX_SHORT_CHARS, MAX_LONG_CHARS = 255, 65_000
TRUE_WORDS = frozenset({"yes", "true", "1", "on", "y"})
FALSE_WORDS = frozenset({"no", "false", "0", "off", "n"})

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,16})?", re.ASCII)


class EncodingContext(Struct, frozen=True):
    """How texts are read: as they are written in `country` (a code), by the clock of `zone`.

    `has_currency` says whether the account has a currency, and is asked only for a sum that names
    one.
    """

    country: str | None = None
    zone: tzinfo | None = None
    has_currency: Callable[[str], bool] = lambda _: True


DEFAULT_CONTEXT = EncodingContext()


Encoder = Callable[["FieldInfo", str, EncodingContext], dict[str, Any]]


class Option(Struct, frozen=True):
    id: int | str
    label: str


class FieldInfo(Struct, frozen=True, kw_only=True):
    """A custom field of the account.

    `entity` says whether leads or persons have it, which decides the form of its values.
    """

    key: str
    name: str
    type: str
    entity: Literal["lead", "person"]
    options: list[Option] = field(default_factory=list)

    def encode(self, text: str, context: EncodingContext = DEFAULT_CONTEXT) -> dict[str, Any]:
        """Return what goes into the request body for `text`, by key, companion fields included.

        Raises ValueError, in plain words, if the text does not fit the type, or the account.
        """
        text = text.strip()
        if not text:
            raise ValueError("there is no text to write")
        if self.encoder is None:
            raise ValueError(f"fields of the type {self.type!r} cannot be written from text")
        return self.encoder(self, text, context)

    @property
    def encoder(self) -> Encoder | None:
        """What encodes text for this field; None if it cannot be written from text."""
        synced = SYNCED_ENCODERS.get(self.key) if self.entity == "person" else None
        return synced or ENCODERS.get(self.type)

    def encode_single(self, value: Any) -> dict[str, Any]:
        return {self.key: value}

    def encode_pair(self, companion: str, value: Any, other: Any) -> dict[str, Any]:
        """Encode a value with its companion; if `other` is None, the value alone."""
        if self.entity == "person":
            return {self.key: {"value": value} | ({} if other is None else {companion: other})}
        return {self.key: value} | ({} if other is None else {f"{self.key}_{companion}": other})

    def find_option_id(self, text: str) -> int | str | None:
        """Return the id of an option by label (ignoring case) or by id."""
        label = text.strip().casefold()
        by_label = (
            option.id for option in self.options if option.label.strip().casefold() == label
        )
        by_id = (option.id for option in self.options if str(option.id) == label)
        return next(by_label, next(by_id, None))

    def require_option_id(self, text: str) -> int | str:
        option_id = self.find_option_id(text)
        if option_id is None:
            labels = ", ".join(repr(option.label) for option in self.options[:12]) or "none"
            raise ValueError(
                f"expected one of the field's options ({labels}), got {_redacted(text)}"
            )
        return option_id


def _encode_short_text(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    return info.encode_single(_require_length(text, MAX_SHORT_CHARS))


def _encode_long_text(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    return info.encode_single(_require_length(text, MAX_LONG_CHARS))


def _encode_double(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    return info.encode_single(_parse_number(text))


def _encode_int(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    number = _parse_number(text)
    if not isinstance(number, int):
        raise ValueError(f"expected a whole number, got {_redacted(text)}")
    return info.encode_single(number)


def _encode_id(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    """Encode a user, person or organisation, which can only be given by id."""
    if not re.fullmatch(r"[0-9]{1,15}", text, re.ASCII):
        raise ValueError(f"expected an id (a whole number), got {_redacted(text)}")
    return info.encode_single(int(text))


def _encode_monetary(info: FieldInfo, text: str, context: EncodingContext) -> dict[str, Any]:
    """Encode an amount with its currency.

    On a lead, an amount without a currency gets the account's default; for persons that is not
    documented, so they need the currency.
    """
    money = parse_money(text, country=context.country)
    if money is None:
        raise ValueError(f"expected an amount such as '500 EUR', got {_redacted(text)}")
    if money.currency is None and info.entity == "person":
        raise ValueError(
            f"expected an amount with its currency such as '500 EUR', got {_redacted(text)}"
        )
    if money.currency is not None and not context.has_currency(money.currency):
        raise ValueError(f"expected a currency of the account, got {money.currency}")
    return info.encode_pair("currency", int_if_whole(money.amount), money.currency)


def _encode_enum(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    return info.encode_single(info.require_option_id(text))


def _encode_set(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    """Encode options. A label may contain a comma, so the whole text is tried before its parts."""
    whole = info.find_option_id(text)
    parts = [part for part in re.split(r"[,;\n]", text) if part.strip()]
    ids = (
        [whole]
        if whole is not None
        else list(dict.fromkeys(info.require_option_id(part) for part in parts))
    )
    if not ids:
        raise ValueError(f"expected options of the field, got {_redacted(text)}")
    return info.encode_single(",".join(str(one) for one in ids) if info.entity == "lead" else ids)


def _encode_boolean(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    word = text.casefold()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError(f"expected yes or no, got {_redacted(text)}")
    return info.encode_single(word in TRUE_WORDS)


def _encode_date(info: FieldInfo, text: str, context: EncodingContext) -> dict[str, Any]:
    day = parse_date(text, context.country, context.zone)
    if day is None:
        raise ValueError(
            "expected a date such as 2025-01-31 that can be read in one way only,"
            f" got {_redacted(text)}"
        )
    return info.encode_single(day)


def _encode_date_range(info: FieldInfo, text: str, context: EncodingContext) -> dict[str, Any]:
    days = parse_date_range(text, context.country, context.zone)
    if days is None:
        raise ValueError(
            f"expected a start and an end such as '2025-01-31 / 2025-02-28', got {_redacted(text)}"
        )
    start, end = days
    if end < start:
        raise ValueError(f"expected a start before the end, got {_redacted(text)}")
    return info.encode_pair("until", start, end)


def _encode_time(info: FieldInfo, text: str, context: EncodingContext) -> dict[str, Any]:
    clock = parse_time(text, context.zone)
    if clock is None:
        raise ValueError(f"expected a time such as 09:30, got {_redacted(text)}")
    return info.encode_pair("until", clock, None)


def _encode_time_range(info: FieldInfo, text: str, context: EncodingContext) -> dict[str, Any]:
    """Encode a start and an end, which may be on the next day."""
    times = parse_time_range(text, context.zone)
    if times is None:
        raise ValueError(
            f"expected a start and an end such as '09:30 - 17:00', got {_redacted(text)}"
        )
    return info.encode_pair("until", *times)


def _encode_address(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    return info.encode_pair("", _require_length(text, MAX_SHORT_CHARS), None)


def _encode_messenger(info: FieldInfo, text: str, _: EncodingContext) -> dict[str, Any]:
    """Encode a messenger's name, of which a person may have several."""
    value = _require_length(text, MAX_SHORT_CHARS)
    return info.encode_single([{"value": value, "primary": True}])


def _parse_number(text: str) -> int | float:
    """Parse a number as programs write it (`1.200` is 1.2), else as people do (`1,200` is 1200)."""
    if _NUMBER.fullmatch(text):
        return int_if_whole(float(text)) if "." in text else int(text)
    money = parse_money(text)
    if money is None or money.currency is not None:
        raise ValueError(f"expected a number, got {_redacted(text)}")
    return int_if_whole(money.amount)


def _require_length(text: str, max_chars: int) -> str:
    if len(text) > max_chars:
        raise ValueError(f"expected up to {max_chars} characters, got {len(text)}")
    return text


def _redacted(text: str) -> str:
    """Describe the text in errors without quoting it, because it may be personal."""
    return f"another text ({len(text)} characters)"


# Encoders by Pipedrive's name of the field type. Other types cannot be written from text.
ENCODERS: dict[str, Encoder] = {
    "varchar": _encode_short_text,
    "varchar_auto": _encode_short_text,
    "varchar_options": _encode_short_text,
    "phone": _encode_short_text,
    "text": _encode_long_text,
    "double": _encode_double,
    "int": _encode_int,
    "monetary": _encode_monetary,
    "enum": _encode_enum,
    "set": _encode_set,
    "boolean": _encode_boolean,
    "date": _encode_date,
    "daterange": _encode_date_range,
    "time": _encode_time,
    "timerange": _encode_time_range,
    "address": _encode_address,
    "user": _encode_id,
    "people": _encode_id,
    "org": _encode_id,
}

# Encoders of the fields that contact sync adds to persons, by key.
SYNCED_ENCODERS: dict[str, Encoder] = {
    "job_title": _encode_short_text,
    "birthday": _encode_date,
    "postal_address": _encode_address,
    "notes": _encode_long_text,
    "im": _encode_messenger,
}

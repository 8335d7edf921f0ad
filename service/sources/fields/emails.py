"""E-mail addresses as people, address books and spreadsheets write them.

Checked by their syntax alone, never by a lookup.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from email_validator import EmailNotValidError, validate_email

from service.sources.fields.effort import EMAIL_LETTER_UNITS, EMAIL_UNITS, Effort
from service.sources.fields.text import clean_line
from worker.lead.typed_text import normalize_signs

MAX_EMAIL_CHARS, MAX_LOCAL_CHARS, MAX_DOMAIN_CHARS = 254, 64, 253
# Characters of a text in which addresses are looked for.
MAX_TEXT_CHARS = 400
MAX_ADDRESSES = 5
# Dots of a domain; the library's time grows with its parts.
MAX_DOTS = 8

# Addresses that need no library: ASCII, with nothing quoted and no IP address.
_PLAIN = re.compile(
    r"[a-z0-9_+&'#~-]+(?:\.[a-z0-9_+&'#~-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}"
)
# An `@`, also as a full-width or small form and as a URL escapes it.
_AT_SIGNS = ("@", "\uff20", "\ufe6b", "%40")
_ANGLE = re.compile(r"^(?P<name>[^<>@]*)<(?P<address>[^<>]+)>")
_SEPARATORS = re.compile(r"[\s;,|]+|(?<=\w)/(?=\w)")
_SPACED_AT = re.compile(r"(?<=\w) ?@ ?(?=\w)")
_SURROUNDING = " \t'\"`<>()[]{}.,;:*“”„‘’«»"
_SCHEME = re.compile(r"^(?:mailto|e-?mail|smtp):\s*", re.IGNORECASE)


class Address(NamedTuple):
    """An address, the name that was written with it, and whether the text said more."""

    email: str
    name: str | None = None
    has_more: bool = False


def parse_email(text: str, effort: Effort) -> str | None:
    """The first address of a text, in lower case; None if it holds none."""
    address = parse_address(text, effort)
    return address.email if address else None


def parse_address(text: str, effort: Effort) -> Address | None:
    """The address of a field that asks for one: `Ada <a@b>`, `mailto:a@b?subject=`, two of them."""
    text = text.strip()[:MAX_TEXT_CHARS]
    simple = text.lower()
    if len(simple) <= MAX_EMAIL_CHARS and _PLAIN.fullmatch(simple) and _has_short_parts(simple):
        return Address(simple)
    if not any(sign in text for sign in _AT_SIGNS) or not effort.take_unusual(text):
        return None
    line = clean_line(normalize_signs("NFKC", text)[:MAX_TEXT_CHARS])
    if "%40" in line and "@" not in line:
        line = unquote(line)
    if "@" not in line:
        return None
    line = _SPACED_AT.sub("@", line)
    line = _SCHEME.sub("", line.strip(_SURROUNDING))
    if match := _ANGLE.match(f"{line}>" if "<" in line and ">" not in line else line):
        email = _check(match["address"].partition("?")[0].strip(_SURROUNDING), effort)
        name = match["name"].strip(_SURROUNDING)
        return Address(email, name or None) if email else None
    parts = [part for part in _SEPARATORS.split(line.partition("?")[0]) if part.strip(_SURROUNDING)]
    addresses = [part.strip(_SURROUNDING) for part in parts if "@" in part][:MAX_ADDRESSES]
    if not addresses or len(parts) > 2 * len(addresses) + 2:
        # A sentence that contains an address does not answer a question for one.
        return None
    email = next((email for one in addresses if (email := _check(one, effort))), None)
    return Address(email, has_more=len(parts) > 1) if email else None


def _check(address: str, effort: Effort) -> str | None:
    """The address in lower case; None if its syntax is wrong."""
    address = _SCHEME.sub("", address).lower()
    is_possible = (
        3 <= len(address) <= MAX_EMAIL_CHARS
        and address.count("@") == 1
        and 0 < address.rpartition("@")[2].count(".") <= MAX_DOTS
        and _has_short_parts(address)
    )
    if not is_possible:
        return None
    if _PLAIN.fullmatch(address):
        return address
    foreign_letters = sum(letter > "\x7f" for letter in address.rpartition("@")[2])
    if not effort.take(EMAIL_UNITS + EMAIL_LETTER_UNITS * foreign_letters):
        return None
    try:
        result = validate_email(address, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError, ValueError):
        return None
    return result.normalized.lower()


def _has_short_parts(address: str) -> bool:
    """Whether neither the part before the `@` nor the domain is too long (RFC 5321)."""
    local, _, domain = address.partition("@")
    return len(local) <= MAX_LOCAL_CHARS and len(domain) <= MAX_DOMAIN_CHARS

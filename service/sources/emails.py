"""E-mail addresses: lower-cased and checked by their syntax alone, never by a look-up."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

from service.sources.text import line

LONGEST = 254


def email(text: str) -> str | None:
    """The address in lower case, or None if nobody could be written to at it. `mailto:` is taken off."""
    address = line(text).removeprefix("mailto:").lower()
    if not 3 <= len(address) <= LONGEST or address.count("@") != 1 or "." not in address.rpartition("@")[2]:
        return None
    try:
        found = validate_email(address, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, UnicodeError, ValueError):
        return None
    return found.normalized.lower()

"""The filter of a list: its query parameters, and the language of the search box.

    ada acme            both words, anywhere in name, e-mail, phone, company, campaign or ids
    "ada lovelace"      the phrase
    +49 170/1234567     a phone number, however it is written
    state:dead source:contact cause:invalid utm_campaign:spring email:ada company:acme
                        the value begins with that; quotes take spaces: utm_campaign:"spring sale"

Case and accents are ignored. For whoever sees personal data masked, a name, an e-mail address or a
phone number matches only as a whole: letter by letter, searches would undo the mask.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import urlencode

from msgspec import Struct, structs

from worker.contract import State

MAX_VALUE_CHARS = 500
MAX_TERMS = 20
# Adjacent numbers with at least this many digits in all are one phone number.
MIN_PHONE_DIGITS = 9

# The control character before each value of a kind in the searched text; nobody types one.
TAGS = {
    "id": "\x01", "name": "\x02", "email": "\x03", "phone": "\x04", "company": "\x05",
    "utm_campaign": "\x06",
    "utm_source": "\x07", "utm_medium": "\x08", "lead": "\x0e", "form": "\x0f",
}  # fmt: skip

# Kinds of values that a viewer sees masked.
PERSONAL_KEYS = frozenset({"name", "email", "phone"})
# The control character after a personal value.
END = "\x10"

# The query parameters of a filter.
PARAMETERS = ("state", "source", "cause", "q")

# These are compared as a whole.
EXACT_KEYS = ("state", "source", "cause")

_TOKEN = re.compile(
    r'(?:(?P<key>[a-z_]+):)?(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))', re.IGNORECASE
)
_PHONE = re.compile(r"\+?[\d()/.\-]{3,}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f]")
_SPREAD = re.compile(r"(?<![\w:.@-])\+?\d[\d()/.\-]*(?: [\d()/.\-]+)+(?![\w:@])", re.ASCII)


class FilterError(ValueError):
    """A filter is wrong; `field` is the parameter at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownStateError(FilterError):
    """A filter names a state that does not exist; `state` is the word that was given."""

    def __init__(self, field: str, state: str) -> None:
        super().__init__(field, f"expected one of {', '.join(State)}, got {state!r}")
        self.state = state


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which submissions to select; None selects any.

    `state` is one or several states joined by commas, `source` a source's name, `cause` a
    `CauseCard`'s id (or the code or step of causes), `q` the text of the search box. With `whole`,
    personal data match only as a whole.
    """

    state: str | None = None
    source: str | None = None
    cause: str | None = None
    q: str | None = None
    whole: bool = False

    @property
    def is_empty(self) -> bool:
        return not any((self.state, self.source, self.cause, self.q))

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Filter:
        """Read query parameters; others are ignored. Raises `FilterError`."""
        values = {name: (parameters.get(name) or "").strip() or None for name in PARAMETERS}
        for name, value in values.items():
            if value and len(value) > MAX_VALUE_CHARS:
                raise FilterError(
                    name, f"expected at most {MAX_VALUE_CHARS} characters, got {len(value)}"
                )
        parsed = structs.replace(cls(), **values)
        if parsed.state:
            parse_states(parsed.state)
        parse_terms(parsed.q)
        return parsed

    def parameters(self) -> dict[str, str]:
        """The query parameters that `parse` reads, without those that are None."""
        return {name: value for name in PARAMETERS if (value := getattr(self, name))}

    def query(self) -> str:
        """The query string of a URL, without `?`."""
        return urlencode(self.parameters())

    def masked(self) -> Filter:
        """The same filter for somebody who sees personal data masked."""
        return structs.replace(self, whole=True)


class Term(Struct, frozen=True):
    """One condition of the search box: `key` is empty for free text."""

    key: str
    text: str


def parse_terms(q: str | None) -> list[Term]:
    """The conditions of a search, all of which must hold. Raises `FilterError`."""
    joined = _SPREAD.sub(lambda matches: _join_phone_number(matches[0]), q or "")
    matches = [_build_term(match) for match in _TOKEN.finditer(joined)]
    terms = [term for term in matches if term.text]
    if len(terms) > MAX_TERMS:
        raise FilterError("q", f"expected at most {MAX_TERMS} words, got {len(terms)}")
    for term in terms:
        if term.key == "state":
            parse_states(term.text, "q")
    return terms


def _join_phone_number(numbers: str) -> str:
    """Join the parts of a phone number; other adjacent numbers stay apart."""
    is_phone = numbers[0] in "+0" or sum(sign.isdigit() for sign in numbers) >= MIN_PHONE_DIGITS
    return numbers.replace(" ", "") if is_phone else numbers


def _build_term(match: re.Match[str]) -> Term:
    key = (match["key"] or "").lower()
    text = match["phrase"] if match["phrase"] is not None else match["word"] or ""
    if key in TAGS or key in EXACT_KEYS:
        return Term(key, text.strip())
    return Term("", f"{match['key']}:{text}" if key else text.strip())


def parse_states(text: str, field: str = "state") -> list[str]:
    """The states of a comma-separated list. Raises `FilterError`."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    valid = [state.value for state in State]
    if unknown := [word for word in words if word not in valid]:
        raise UnknownStateError(field, unknown[0][:40])
    return words


def fold(text: str) -> str:
    """Text as it is compared: without case, accents, control characters and repeated spaces."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return " ".join(_CONTROL.sub(" ", text.casefold()).split())


def text_variants(text: str) -> list[str]:
    """The texts by which a free word may be found: itself, and the digits of a phone number."""
    variants = [fold(text)]
    if _PHONE.fullmatch(text):
        digits = re.sub(r"\D", "", text).lstrip("0")
        variants += [digits] if len(digits) >= 3 and digits not in variants else []
    return [each for each in variants if each]

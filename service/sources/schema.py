"""The source file as structs: every key with its type and default.

`source_file/toml_reader.py` fills them from TOML, `source_file/validation.py` checks what types
cannot say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from worker.lead.settings import LeadMapping, LeadSettings, Rule
from worker.units import SECONDS_BY_UNIT, parse_duration, parse_size

# Values that people write in more than one way. Each function raises ValueError with what is
# expected, in the words of `Fault.expected`.

# Ten years: anything longer is a mistake.
MAX_DURATION_SECONDS = 10 * 366 * 86_400.0
MAX_RATE_COUNT = 9_999_999
EXPECTED_DURATION = 'a duration such as 90, "10m", "1h30m" or "30d"'
EXPECTED_SIZE = 'a size such as 65536, "256KiB" or "1MiB"'
EXPECTED_RATE = 'a rate such as "60/m", or "off"'
EXPECTED_STRINGS = "a string or a list of strings, none of them empty"
EXPECTED_COUNTRY = 'the two letters of a country, such as "DE" (and "GB", not "UK")'
_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)
_RATE = re.compile(r"([0-9]+)\s*/\s*([smhd])", re.ASCII)


class Rate(Struct, frozen=True):
    """`count` events in any `seconds`."""

    count: int
    seconds: float


def read_duration(value: object) -> float:
    """Seconds from a number of seconds, or from text with units."""
    try:
        seconds = parse_duration(value) if isinstance(value, str) else _read_number(value)
    except ValueError:
        raise ValueError(EXPECTED_DURATION) from None
    if not 0 <= seconds <= MAX_DURATION_SECONDS:
        raise ValueError(f"{EXPECTED_DURATION}, from 0 to ten years")
    return seconds


def read_size(value: object) -> int:
    """Bytes from a number of bytes, or from text with a unit."""
    try:
        return parse_size(value) if isinstance(value, str) else int(_read_number(value))
    except ValueError:
        raise ValueError(EXPECTED_SIZE) from None


def read_rate(value: object) -> Rate | None:
    """A rate from text such as `60/m`; None for `off`."""
    if value == "off":
        return None
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(EXPECTED_RATE)
    digits = match[1].lstrip("0")
    if not digits or len(digits) > len(str(MAX_RATE_COUNT)):
        raise ValueError(f"{EXPECTED_RATE}, with a count from 1 to {MAX_RATE_COUNT:,}")
    return Rate(count=int(digits), seconds=SECONDS_BY_UNIT[match[2]])


def read_count(value: object) -> int | None:
    """A whole number from 1; None for `off`."""
    if value == "off":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_RATE_COUNT:
        raise ValueError(f'a number from 1 to {MAX_RATE_COUNT:,}, or "off"')
    return value


def read_strings(value: object) -> list[str]:
    """`"x"` or `["x", "y"]` as a list."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and item for item in items):
        raise ValueError(EXPECTED_STRINGS)
    return list(items)


def read_country(value: object) -> str:
    """The two letters of a country, in upper case."""
    if not isinstance(value, str) or not _COUNTRY.fullmatch(value):
        raise ValueError(EXPECTED_COUNTRY)
    return value.upper()


def _read_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise ValueError("not a number")
    return float(value)


def parsed_by(parse: Callable[[object], object]) -> Meta:
    """Marks a key whose TOML value goes through `parse`, which raises ValueError."""
    return Meta(extra={"parse": parse})


Seconds = Annotated[float, parsed_by(read_duration)]
Bytes = Annotated[int, parsed_by(read_size)]
RateLimit = Annotated[Rate | None, parsed_by(read_rate)]
Count = Annotated[int | None, parsed_by(read_count)]
Strings = Annotated[list[str], parsed_by(read_strings)]
Country = Annotated[str | None, parsed_by(read_country)]
Scalar = str | int | float | bool


# The tables of the source file.


class PairList(Struct, frozen=True, forbid_unknown_fields=True):
    """A list of name/value objects `at` a path, or an object of them by their ids.

    `key` and `value` are paths inside each of them.
    """

    at: str
    key: str = "name"
    value: str = "value"


class PathCondition(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the value `at` a path equals one of some values, compared as text."""

    at: str
    equals: Scalar | list[Scalar] = True


class ReadSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X.read]`: how a payload is unwrapped before its fields are mapped."""

    root: str | None = None
    json_param: Strings = field(default_factory=list)
    pairs: PairList | list[PairList] | None = None
    unwrap_lists: bool = False
    event_id: str | None = None
    test: PathCondition | None = None
    only: PathCondition | None = None
    labels: dict[str, list[str]] = field(default_factory=dict)

    @property
    def pair_lists(self) -> list[PairList]:
        """`pairs` as a list, whether it was written as one or as a single table."""
        return self.pairs if isinstance(self.pairs, list) else [self.pairs] if self.pairs else []


class MapRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line of `map` that changes the value on its way to the field `to`.

    `take` counts from 1, and from the end where it is negative. `default` is for a field that has
    no value otherwise.
    """

    to: str
    unescape: Literal["html"] | None = None
    match: str | None = None
    split: str | None = None
    trim: bool = False
    strip: str | None = None
    take: int | None = None
    join: str | None = None
    extract: Literal["email", "phone", "url"] | None = None
    case: Literal["title", "lower", "upper"] | None = None
    default: str | None = None

    @property
    def takes_part(self) -> bool:
        """Whether it takes a part of the value and leaves another."""
        return bool(self.match or self.take or self.extract)

    @property
    def changes_value(self) -> bool:
        return (
            self.takes_part
            or self.join is not None
            or bool(self.unescape or self.split or self.trim or self.strip or self.case)
        )


class HandshakeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X.handshake]`: what a sender asks before it posts, and the answer it wants.

    Every key is an occasion of its own; `when` limits `answer` and `echo`.
    """

    when: PathCondition | None = None
    answer: dict[str, str] = field(default_factory=dict)
    echo: str | None = None
    query: str | None = None
    header: str | None = None
    ping: bool = False


class VerifySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X.verify]`: how a request proves who sent it."""

    scheme: Literal["none", "token", "hmac", "standard-webhooks", "jwt"] | None = None
    secret_env: Strings = field(default_factory=list)
    header: str | None = None
    query: str | None = None
    field: str | None = None
    algorithm: Literal["sha256", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    signed: str = "{body}"
    timestamp_header: str | None = None
    id_header: str | None = None
    list_prefixes: str | None = msgspec.field(default=None, name="list")
    tolerance: Seconds = 300.0
    challenge_env: str | None = None


class FetchSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X.fetch]`: where the worker gets the record of an event that carries ids only.

    `version` is that of the product's API, for products that take it in a header.
    """

    token_env: str | None = None
    base_url: str | None = None
    version: str | None = None


class SourceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X]`: the keys that people write.

    The adapter's `rate_limit` and `verify` apply where the source leaves them out.
    `leads_per_hour` bounds only what comes without a proof of origin.
    """

    adapter: str = "form"
    origins: list[str] = field(default_factory=list)
    redirect: str | None = None
    redirect_origins: list[str] = field(default_factory=list)
    honeypot: Strings = field(default_factory=list)
    min_fill_seconds: Seconds = 0.0
    dedupe_window: Seconds = 600.0
    rate_limit: RateLimit = None
    rate_limit_source: RateLimit = None
    leads_per_hour: Count = 200
    max_body: Bytes = 262_144
    reply: int | None = None
    default_country: Country = None
    ignore: Strings = field(default_factory=list)
    dedupe_ignore: Strings = field(default_factory=list)
    dedupe_on: Strings = field(default_factory=list)
    map: dict[str, str | MapRule] = field(default_factory=dict)
    read: ReadSettings = field(default_factory=ReadSettings)
    handshake: HandshakeSettings | None = None
    verify: VerifySettings | None = None
    fetch: FetchSettings | None = None
    lead: LeadSettings = field(default_factory=LeadSettings)
    rules: list[Rule] = field(default_factory=list)


# The source file once it is loaded.


MIN_SECRET_CHARS = 16


class SourceSecret(Struct, frozen=True):
    """A secret that does not print. `env` is the environment variable it came from."""

    env: str
    value: str

    def __repr__(self) -> str:
        return f"SourceSecret({self.env})"

    __str__ = __repr__

    @property
    def is_short(self) -> bool:
        """Whether it could be guessed."""
        return len(self.value) < MIN_SECRET_CHARS

    @property
    def raw(self) -> bytes:
        return self.value.encode("utf-8", "surrogateescape")


class Source(SourceSettings, frozen=True, kw_only=True):
    """A configured origin of submissions, checked, with its secrets.

    `line` is its line in the source file, for messages.
    """

    name: str
    line: int | None = None
    secrets: tuple[SourceSecret, ...] = ()
    challenge: SourceSecret | None = None
    fetch_token: SourceSecret | None = None

    @property
    def map_rules(self) -> dict[str, MapRule]:
        """`map` with a rule for each line, whether it was written as one or as a field's name."""
        return {
            path: line if isinstance(line, MapRule) else MapRule(to=line)
            for path, line in self.map.items()
        }

    @property
    def verification(self) -> VerifySettings:
        """The rules in force; scheme `none` where neither the source nor its adapter has any."""
        return self.verify or VerifySettings(scheme="none")

    @property
    def lead_mapping(self) -> LeadMapping:
        """How the leads of this source are written to Pipedrive: all the worker knows of it."""
        return LeadMapping(
            self.name,
            self.lead,
            self.rules,
            self.line,
            self.default_country,
            verified=self.verification.scheme != "none",
        )


class SourceFile(Struct, frozen=True):
    """A source file without faults."""

    path: str
    sources: dict[str, Source]


class Fault(Struct, frozen=True):
    """Where a source file is wrong, what belongs there, and what is there.

    `where` is like `leadline.toml:12 sources.contact.lead.titel`.
    """

    where: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.got}"


class ConfigError(Exception):
    """The source file cannot be used; `faults` holds everything wrong with it, in its order."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


Table = dict[str, Any]

"""The source file as structs: what may stand in it, with every default. `loader` fills them,
`checks` judges them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from worker.lead.settings import LeadMapping, LeadSettings, Rule
from worker.units import SECONDS_BY_UNIT, parse_duration, parse_size

# Durations, sizes and rates as they stand in the source file. Each function raises ValueError with
# what is expected.

MAX_DURATION_SECONDS = 10 * 366 * 86_400.0
"""Ten years: anything longer is a slip of the pen."""

EXPECTED_DURATION = 'a duration such as 90, "10m", "1h30m" or "30d"'
EXPECTED_SIZE = 'a size such as 65536, "256KiB" or "1MiB"'
EXPECTED_RATE = 'a rate such as "60/m", or "off"'

_RATE = re.compile(r"([0-9]{1,7})\s*/\s*([smhd])", re.ASCII)


class Rate(Struct, frozen=True):
    """`count` requests in any `seconds`."""

    count: int
    seconds: float


def read_duration(value: object) -> float:
    """Seconds. A bare number is seconds; a text needs its unit."""
    try:
        seconds = parse_duration(value) if isinstance(value, str) else _number(value)
    except ValueError:
        raise ValueError(EXPECTED_DURATION) from None
    if not 0 <= seconds <= MAX_DURATION_SECONDS:
        raise ValueError(f"{EXPECTED_DURATION}, at most ten years")
    return seconds


def read_size(value: object) -> int:
    """Bytes. A bare number is bytes."""
    try:
        return parse_size(value) if isinstance(value, str) else int(_number(value))
    except ValueError:
        raise ValueError(EXPECTED_SIZE) from None


def read_rate(value: object) -> Rate | None:
    """How many in what time; None for `off`."""
    if value == "off":
        return None
    if isinstance(value, str) and (found := _RATE.fullmatch(value.strip())) and int(found[1]) > 0:
        return Rate(count=int(found[1]), seconds=SECONDS_BY_UNIT[found[2]])
    raise ValueError(EXPECTED_RATE)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError("not a number")
    return float(value)


def parsed_by(parse: Callable[[object], object], expected: str) -> Meta:
    """Marks a key whose TOML value is parsed from how people write it; `parse` raises
    ValueError.
    """
    return Meta(extra={"parse": parse, "expected": expected})


def read_texts(value: object) -> list[str]:
    """`"x"` or `["x", "y"]` as a list. Raises ValueError."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) and item for item in items):
        raise ValueError("a text or a list of texts, none empty")
    return list(items)


Seconds = Annotated[float, parsed_by(read_duration, EXPECTED_DURATION)]
Bytes = Annotated[int, parsed_by(read_size, EXPECTED_SIZE)]
RateLimit = Annotated[Rate | None, parsed_by(read_rate, EXPECTED_RATE)]
Texts = Annotated[list[str], parsed_by(read_texts, "a text or a list of texts, none empty")]
Scalar = str | int | float | bool


class SourceSecret(Struct, frozen=True):
    """A secret that does not print. `env` is the variable it came from."""

    env: str
    value: str

    def __repr__(self) -> str:
        return f"Secret({self.env})"

    __str__ = __repr__

    @property
    def raw(self) -> bytes:
        return self.value.encode("utf-8", "surrogateescape")


class PairList(Struct, frozen=True, forbid_unknown_fields=True):
    """A list of name/value objects `at` a path, or such objects by their ids; `key` and `value` are
    paths inside each of them.
    """

    at: str
    key: str = "name"
    value: str = "value"


class PathCondition(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether what stands `at` a path equals one of the values, by their text."""

    at: str
    equals: Scalar | list[Scalar] = True


class ReadSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X.read]`: how to unwrap a payload before it is mapped."""

    root: str | None = None
    json_param: Texts = field(default_factory=list)
    pairs: PairList | list[PairList] | None = None
    unwrap_lists: bool = False
    event_id: str | None = None
    test: PathCondition | None = None
    only: PathCondition | None = None
    labels: dict[str, list[str]] = field(default_factory=dict)

    @property
    def pair_lists(self) -> list[PairList]:
        """Every list of name/value objects."""
        return self.pairs if isinstance(self.pairs, list) else [self.pairs] if self.pairs else []


class VerifySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X.verify]`: how a request proves that it comes from whom it says."""

    scheme: Literal["none", "token", "hmac", "standard-webhooks", "jwt"] | None = None
    secret_env: Texts = field(default_factory=list)
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
    """`[sources.X.fetch]`: where the worker gets the record of an event that carries ids only."""

    token_env: str | None = None
    base_url: str | None = None
    version: str | None = None  # of the product's API, where a header names it


class SourceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sources.X]`: the keys a person may write."""

    adapter: str = "form"
    origins: list[str] = field(default_factory=list)
    redirect: str | None = None
    redirect_origins: list[str] = field(default_factory=list)
    honeypot: Texts = field(default_factory=list)
    min_fill_seconds: Seconds = 0.0
    dedupe_window: Seconds = 600.0
    rate_limit: RateLimit = None  # left out: the adapter's
    max_body: Bytes = 262_144
    reply: int | None = None
    map: dict[str, str] = field(default_factory=dict)
    read: ReadSettings = field(default_factory=ReadSettings)
    verify: VerifySettings | None = None  # left out: the adapter's; never None in a loaded source
    fetch: FetchSettings | None = None
    lead: LeadSettings = field(default_factory=LeadSettings)
    rules: list[Rule] = field(default_factory=list)


class Source(SourceSettings, frozen=True, kw_only=True):
    """A configured place that submissions come from, checked, with its secrets."""

    name: str
    line: int | None = None
    secrets: tuple[SourceSecret, ...] = ()
    challenge: SourceSecret | None = None
    fetch_token: SourceSecret | None = None

    @property
    def verification(self) -> VerifySettings:
        """The scheme in force: the source's own, or the adapter's; scheme `none` where there is
        neither.
        """
        return self.verify or VerifySettings(scheme="none")

    @property
    def lead_mapping(self) -> LeadMapping:
        """How the leads of this source are written to Pipedrive: all the worker knows of it."""
        return LeadMapping(self.name, self.lead, self.rules, self.line)


class SourceFile(Struct, frozen=True):
    """A source file that is right in every part."""

    path: str
    sources: dict[str, Source]


class Fault(Struct, frozen=True):
    """What is wrong, where (`leadline.toml:12 sources.contact.lead.titel`), what belongs there, and
    what stands there.
    """

    where: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.got}"


class ConfigError(Exception):
    """The source file cannot be used; `faults` holds everything that is wrong with it, in the
    file's order.
    """

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


Table = dict[str, Any]

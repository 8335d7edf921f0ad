"""The types of settings, and their parsers.

Each parser raises ValueError with the text `expected X, got Y`, which never shows a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from worker.contract import STATES, State
from worker.encryption import parse_key
from worker.units import parse_duration, parse_size

Network = IPv4Network | IPv6Network
T = TypeVar("T")

REDIS_SCHEMES = frozenset({"redis", "rediss", "unix", "redis+sentinel"})
_RETENTION = {state: facts.retention for state, facts in STATES.items() if facts.retention}
STATE_BY_RETENTION_KEY = {retention.key: state for state, retention in _RETENTION.items()}
MIN_OPS_TOKEN_CHARS = 24
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


class Secret(str):
    """Text whose `repr` hides it, so that tracebacks and logged structs do too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class OpsToken(NamedTuple):
    """Somebody who may use the console."""

    name: str
    role: Literal["viewer", "operator"]
    token: Secret


def integer_between(low: int, high: int) -> Callable[[str], int]:
    """Returns a parser of whole numbers between two bounds, both included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Returns a parser that accepts one of these words, ignoring case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"expected one of {', '.join(words)}, got {text!r}")
        return text.lower()

    return parse


def parse_yes_or_no(text: str) -> bool:
    return one_of("yes", "no")(text) == "yes"


def parse_seconds(text: str) -> float:
    """Parses `90`, `90s` or `1m30s` into seconds; more than zero."""
    value = (
        float(text)
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text, re.ASCII)
        else parse_duration(text)
    )
    if value <= 0:
        raise ValueError(f"expected more than 0 seconds, got {text!r}")
    return value


def parse_delays(text: str) -> tuple[float, ...]:
    """Parses comma-separated durations into seconds."""
    values = tuple(parse_duration(part) for part in split_list(text))
    if not values or min(values) <= 0:
        raise ValueError(f"expected durations above 0 separated by commas, got {text!r}")
    return values


def parse_positive_size(text: str) -> int:
    value = parse_size(text)
    if value < 1:
        raise ValueError(f"expected a size above 0, got {text!r}")
    return value


def parse_country(text: str) -> str:
    """Parses the two letters of a country; whether there is one, the source file's loader says."""
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise ValueError(f"expected the two letters of a country, such as DE, got {text!r}")
    return text.upper()


def split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_retention(text: str) -> Mapping[State, float | None]:
    """Parses retention into seconds by state; None stands for `never`.

    A state that is not named keeps its default; `discarded` follows `ignored`. The result is a
    plain dict because settings are pickled for other processes, and a read-only view cannot be.
    """
    texts = {retention.key: retention.default for retention in _RETENTION.values()}
    for part in split_list(text):
        name, equals, value = part.partition("=")
        name = name.strip().lower().replace("quarantined", "quarantine")
        if not equals or name not in STATE_BY_RETENTION_KEY:
            states = ", ".join(STATE_BY_RETENTION_KEY)
            raise ValueError(
                f"expected STATE=DURATION or STATE=never with a state of {states}, got {part!r}"
            )
        texts[name] = value.strip().lower()
    texts = {name: texts.get(text, text) for name, text in texts.items()}
    return {
        STATE_BY_RETENTION_KEY[name]: None if text == "never" else parse_duration(text)
        for name, text in texts.items()
    }


def parse_token(text: str) -> Secret:
    """Parses a credential: visible ASCII, because a header can carry nothing else."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(
            "expected a credential of visible ASCII characters, got one with others (not shown)"
        )
    return Secret(text)


def parse_ops_tokens(text: str) -> tuple[OpsToken, ...]:
    """Parses `name:role:token`, comma-separated; names and tokens must be unique."""
    tokens: list[OpsToken] = []
    for place, part in enumerate(split_list(text), start=1):
        name, _, rest = part.partition(":")
        role, _, value = rest.partition(":")
        name, role, value = name.strip(), role.strip().lower(), value.strip()
        if not name or role not in ("viewer", "operator") or not _TOKEN.fullmatch(value):
            raise ValueError(
                "expected name:role:token with role viewer or operator, got something else as"
                f" entry {place} (not shown)"
            )
        if len(value) < MIN_OPS_TOKEN_CHARS:
            raise ValueError(
                f"expected tokens of at least {MIN_OPS_TOKEN_CHARS} characters, got a shorter one"
                f" as entry {place} (not shown)"
            )
        tokens.append(OpsToken(name, "viewer" if role == "viewer" else "operator", Secret(value)))
    for what, values in (
        ("name", [item.name for item in tokens]),
        ("token", [str(item.token) for item in tokens]),
    ):
        if len(set(values)) < len(values):
            raise ValueError(f"expected each {what} once, got one twice (not shown)")
    return tuple(tokens)


# Loopback, and what only machines of the same network have: `private` in a list of networks.
PRIVATE_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parses addresses, CIDR ranges and the word `private`, comma-separated."""
    parsed: list[Network] = []
    for part in split_list(text):
        if part.lower() == "private":
            parsed += PRIVATE_NETWORKS
            continue
        try:
            parsed.append(ip_network(part, strict=False))
        except ValueError:
            raise ValueError(
                "expected IP addresses, CIDR ranges or `private`, separated by commas, got"
                f" {part!r}"
            ) from None
    return tuple(parsed)


def parse_encryption_keys(text: str) -> tuple[Secret, ...]:
    """Parses encryption keys in base64, newest first, comma-separated."""
    parts = split_list(text)
    for part in parts:
        parse_key(part)
    return tuple(Secret(part) for part in parts)


def parse_http_url(text: str) -> str:
    """Parses an http(s) URL without query or credentials; removes a trailing slash."""
    url = _split_url(text, "an http:// or https:// URL")
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or url.query
        or url.fragment
        or url.username is not None
    ):
        raise ValueError(
            "expected an http:// or https:// URL without query or credentials, got"
            f" {_without_password(url, text)!r}"
        )
    return text.rstrip("/")


def parse_secret_url(text: str) -> Secret:
    """Parses an http(s) URL that is itself a secret, as a webhook's is; it may have a query."""
    expected = "an http:// or https:// URL"
    url = _split_url(text, expected, secret=True)
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or any(sign.isspace() for sign in text)
    ):
        raise ValueError(f"expected {expected}, got something else (not shown)")
    return Secret(text)


def parse_redis_url(text: str) -> Secret:
    """Parses a redis://, rediss://, unix:// or redis+sentinel:// URL; it may hold a password."""
    url = _split_url(text, "a Redis URL", secret=True)
    if url.scheme not in REDIS_SCHEMES:
        raise ValueError(
            "expected redis://, rediss://, unix:// or redis+sentinel://, got"
            f" {url.scheme or 'no scheme'}"
        )
    if url.scheme == "unix" and not url.path.startswith("/"):
        raise ValueError("expected unix:///path/of/the/socket, got a path that is not absolute")
    if url.scheme == "redis+sentinel" and (not url.netloc or not url.path.strip("/")):
        raise ValueError(
            "expected redis+sentinel://host:26379,host:26379/MASTER/0, got no host or no master"
            " name"
        )
    if url.scheme in ("redis", "rediss") and not url.hostname:
        raise ValueError(f"expected {url.scheme}://host:6379/0, got no host")
    return Secret(text)


def _split_url(text: str, expected: str, *, secret: bool = False) -> SplitResult:
    """Splits a URL; checks the port only if there is a single host."""
    try:
        url = urlsplit(text)
        if "," not in url.netloc and url.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"expected {expected}, got {'something else (not shown)' if secret else repr(text)}"
        ) from None
    return url


def _without_password(url: SplitResult, text: str) -> str:
    """The URL without credentials."""
    return text if url.username is None else text.replace(url.netloc, "***@" + (url.hostname or ""))

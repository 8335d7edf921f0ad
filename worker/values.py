"""Reads the text of one setting. Each reader raises ValueError as `expected X, got Y`; none shows a
secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from worker.contract import State
from worker.encryption import parse_key
from worker.units import parse_duration, parse_size

Network = IPv4Network | IPv6Network
T = TypeVar("T")

REDIS_SCHEMES = frozenset({"redis", "rediss", "unix", "redis+sentinel"})
RETAINED = {
    "delivered": State.DELIVERED,
    "dead": State.DEAD,
    "quarantine": State.QUARANTINED,
    "ignored": State.IGNORED,
    "discarded": State.DISCARDED,
}
_DEFAULT_RETENTION = {"delivered": "30d", "dead": "never", "quarantine": "14d", "ignored": "7d"}
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


class Secret(str):
    """Text that does not show itself in representations, and so not in tracebacks and logged
    structs.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class OpsToken(NamedTuple):
    """Who may use the console, and how far."""

    name: str
    role: Literal["viewer", "operator"]
    token: Secret


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers between two bounds, both included."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """A reader of one word, whatever its case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"expected one of {', '.join(words)}, got {text!r}")
        return text.lower()

    return read


def seconds(text: str) -> float:
    """`90`, `90s` or `1m30s`, above nought."""
    value = (
        float(text)
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text, re.ASCII)
        else parse_duration(text)
    )
    if value <= 0:
        raise ValueError(f"expected more than 0 seconds, got {text!r}")
    return value


def delays(text: str) -> tuple[float, ...]:
    """Comma-separated durations, in seconds."""
    values = tuple(parse_duration(part) for part in listed(text))
    if not values or min(values) <= 0:
        raise ValueError(f"expected durations above 0 separated by commas, got {text!r}")
    return values


def size(text: str) -> int:
    value = parse_size(text)
    if value < 1:
        raise ValueError(f"expected a size above 0, got {text!r}")
    return value


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def retention(text: str) -> Mapping[State, float | None]:
    """Seconds by state, None for `never`. A state that is not named keeps its default; `discarded`
    goes with `ignored`.

    A plain dict, because settings are handed to processes that are started afresh, and a read-only
    view cannot be pickled.
    """
    given = dict(_DEFAULT_RETENTION)
    for part in listed(text):
        name, equals, value = part.partition("=")
        name = name.strip().lower().replace("quarantined", "quarantine")
        if not equals or name not in RETAINED:
            raise ValueError(
                f"expected STATE=DURATION or STATE=never with a state of {', '.join(RETAINED)}, got"
                f" {part!r}"
            )
        given[name] = value.strip().lower()
    given.setdefault("discarded", given["ignored"])
    kept = {
        name: None if value == "never" else parse_duration(value) for name, value in given.items()
    }
    return {RETAINED[name]: seconds for name, seconds in kept.items()}


def token(text: str) -> Secret:
    """A credential: visible ASCII, since anything else cannot stand in a header."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(
            "expected a credential of visible ASCII characters, got one with others (not shown)"
        )
    return Secret(text)


def ops_tokens(text: str) -> tuple[OpsToken, ...]:
    """`name:role:token`, comma-separated; names and tokens are unique."""
    tokens: list[OpsToken] = []
    for place, part in enumerate(listed(text), start=1):
        name, _, rest = part.partition(":")
        role, _, value = rest.partition(":")
        name, role, value = name.strip(), role.strip().lower(), value.strip()
        if not name or role not in ("viewer", "operator") or not _TOKEN.fullmatch(value):
            raise ValueError(
                "expected name:role:token with role viewer or operator, got another thing as entry"
                f" {place} (not shown)"
            )
        tokens.append(OpsToken(name, "viewer" if role == "viewer" else "operator", Secret(value)))
    for what, seen in (
        ("name", [item.name for item in tokens]),
        ("token", [str(item.token) for item in tokens]),
    ):
        if len(set(seen)) < len(seen):
            raise ValueError(f"expected each {what} once, got one of them twice (not shown)")
    return tuple(tokens)


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and CIDR ranges, comma-separated."""
    found: list[Network] = []
    for part in listed(text):
        try:
            found.append(ip_network(part, strict=False))
        except ValueError:
            raise ValueError(
                f"expected IP addresses or CIDR ranges separated by commas, got {part!r}"
            ) from None
    return tuple(found)


def keys(text: str) -> tuple[Secret, ...]:
    """Encryption keys in base64, the newest first, comma-separated."""
    parts = listed(text)
    for part in parts:
        parse_key(part)
    return tuple(Secret(part) for part in parts)


def http_url(text: str) -> str:
    """An http or https URL without query, credentials or a slash at the end."""
    url = _split(text, "an http:// or https:// URL")
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or url.query
        or url.fragment
        or url.username is not None
    ):
        raise ValueError(
            "expected an http:// or https:// URL without query or credentials, got"
            f" {_shown(url, text)!r}"
        )
    return text.rstrip("/")


def secret_url(text: str) -> Secret:
    """An http or https URL that is itself a secret, as webhooks' are; it may have a query."""
    expected = "an http:// or https:// URL"
    url = _split(text, expected, secret=True)
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or any(sign.isspace() for sign in text)
    ):
        raise ValueError(f"expected {expected}, got something else (not shown)")
    return Secret(text)


def redis_url(text: str) -> Secret:
    """redis://, rediss://, unix:// or redis+sentinel://; may hold a password."""
    url = _split(text, "a Redis URL", secret=True)
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


def _split(text: str, expected: str, *, secret: bool = False) -> SplitResult:
    """The parts of a URL; its port is looked at only where there is a single host."""
    try:
        url = urlsplit(text)
        if "," not in url.netloc and url.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"expected {expected}, got {'something else (not shown)' if secret else repr(text)}"
        ) from None
    return url


def _shown(url: SplitResult, text: str) -> str:
    """The URL without what may be a password."""
    return text if url.username is None else text.replace(url.netloc, "***@" + (url.hostname or ""))

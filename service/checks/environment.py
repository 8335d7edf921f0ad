"""The settings and Redis: what is wrong with them, and what they leave closed or unsafe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import redis

from service.checks.finding import Finding, fail, ok, warn
from worker.accept.promise import (
    UNTRUSTED_PROXY,
    Breach,
    Surroundings,
    Terms,
    find_breaches,
    sync_breaches,
)
from worker.accept.promise_watch import read_clock_seconds, read_recorded
from worker.errors import StoreUnavailable
from worker.pipedrive.client import DEFAULT_BASE_URL
from worker.settings.table import Settings, SettingsError, find_misspelt
from worker.store import keys
from worker.store.durability import MIN_VERSION, NO_EVICTION, Durability, Sync, read_durability

SETTINGS = "settings"


def check_settings(env: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """The settings, or None where they cannot be used, and every finding."""
    spelling = [
        warn(SETTINGS, f"{name} is not a setting; did you mean {meant}?", meant)
        for name, meant in find_misspelt(env).items()
    ]
    try:
        settings = Settings.for_all(env)
    except SettingsError as error:
        return None, [
            *spelling,
            *(fail(SETTINGS, fault, fault.partition(":")[0]) for fault in error.faults),
        ]
    findings = [*spelling, *_check_security(settings)]
    return settings, findings if findings else [ok(SETTINGS, "all settings can be used")]


def _check_security(settings: Settings) -> Iterator[Finding]:
    if not settings.ops_tokens:
        yield warn(
            SETTINGS,
            "the console is closed, as nobody has a token: set name:role:token",
            "LEADLINE_OPS_TOKENS",
        )
    if settings.pipedrive_plan == "unlimited" and settings.pipedrive_base_url == DEFAULT_BASE_URL:
        yield warn(
            SETTINGS,
            "calls to the real Pipedrive are not paced: name the account's plan",
            "PIPEDRIVE_PLAN",
        )
    if not settings.encryption_keys:
        yield warn(
            SETTINGS,
            "submissions are stored in plain text: make a key with `leadline keys new`",
            "LEADLINE_ENCRYPTION_KEYS",
        )
    place = _nearest_existing(settings.data_dir)
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        yield fail(
            SETTINGS,
            f"{place} is not a writable directory, so the local spool cannot be stored",
            "LEADLINE_DATA_DIR",
        )


def _nearest_existing(path: Path) -> Path:
    """The directory itself or its nearest existing parent: missing ones are created later."""
    whole = path.absolute()
    return next((each for each in (whole, *whole.parents) if each.exists()), whole)


# Redis: whether it responds, is recent enough, and keeps what it has acknowledged.

REDIS = "redis"
UNREADABLE = "cannot be read here: ask whoever runs this Redis"


def check_store(client: redis.Redis, url: str, terms: Terms) -> list[Finding]:
    """Every finding about the server. `url` may hold a password, which is never shown."""
    try:
        client.ping()
        durability, clock_seconds = read_durability(client), read_clock_seconds(client)
    except StoreUnavailable as error:
        return [fail(REDIS, f"{redact_url(url)} cannot be used: {error}", "REDIS_URL")]
    except redis.ResponseError as error:
        return [fail(REDIS, f"{redact_url(url)} refuses: {error}", "REDIS_URL")]
    except (redis.RedisError, OSError) as error:
        return [
            fail(REDIS, f"{redact_url(url)} cannot be reached: {_error_text(error)}", "REDIS_URL")
        ]
    return [
        *check_durability(durability, url, terms, clock_seconds),
        *(_finding(each) for each in _read_recorded(client) if each.what in RECORDED_ONLY),
    ]


def _read_recorded(client: redis.Redis) -> list[Breach]:
    """What running processes see; nothing where this cannot be read, as on a cluster."""
    try:
        stored = cast("dict[bytes, bytes]", client.hgetall(keys.UNSAFE))
        return read_recorded(stored, float(client.time()[0]))
    except redis.RedisError:
        return []


# What only a running process notices, so that it must be read from its record.
RECORDED_ONLY = frozenset({UNTRUSTED_PROXY.what, "data_dir", "disk_space"})


def check_durability(
    durability: Durability, url: str, terms: Terms, clock_seconds: float = 0.0
) -> list[Finding]:
    """What the server's answer means, under these terms."""
    surroundings = Surroundings(durability=durability, clock_seconds=clock_seconds)
    breaches = list(find_breaches(surroundings, terms))
    return [
        *_check_server(durability, url),
        *(_finding(breach) for breach in breaches),
        *_check_role(durability),
        *_check_sync(durability, terms),
        *_check_eviction(durability),
    ]


def _finding(breach: Breach) -> Finding:
    return (warn if breach.advice else fail)(REDIS, breach.sentence, breach.setting)


def redact_url(url: str) -> str:
    """The address without credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _check_server(durability: Durability, url: str) -> Iterator[Finding]:
    """Compatible servers report which Redis version they match."""
    name = f"{durability.software} at {redact_url(url)}"
    oldest = ".".join(map(str, MIN_VERSION))
    if not durability.version:
        yield warn(REDIS, f"{name}: the version {UNREADABLE}; at least {oldest} is needed")
    elif not durability.is_outdated:
        yield ok(REDIS, f"{name} responds, compatible with Redis {durability.version_text}")


def _check_role(durability: Durability) -> Iterator[Finding]:
    if durability.is_replica:
        yield fail(
            REDIS,
            "this is a replica, which takes no writes: name the primary, or the sentinels",
            "REDIS_URL",
        )


def _check_sync(durability: Durability, terms: Terms) -> Iterator[Finding]:
    """What the journal mends is a warning; without the journal, it is a breach like any other."""
    if not durability.append_only_writes:
        yield fail(REDIS, "it cannot write its append-only file: is the disk full?", "appendonly")
    if durability.sync is Sync.EACH_WRITE:
        yield ok(REDIS, "keeps what it acknowledged: appendonly yes, appendfsync always")
    elif terms.journal != "never":
        for breach in sync_breaches(durability, terms):
            message = (
                f"{breach.cause}; each submission is therefore also kept in the local journal,"
                " which costs time: set appendonly yes and appendfsync always"
            )
            yield warn(REDIS, message, breach.setting)


def _check_eviction(durability: Durability) -> Iterator[Finding]:
    if durability.eviction_policy is None:
        message = f"its maxmemory-policy {UNREADABLE}; it must be {NO_EVICTION}"
        yield warn(REDIS, message, "maxmemory-policy")
    elif not durability.evicts:
        yield ok(REDIS, f"drops nothing when memory is full: maxmemory-policy {NO_EVICTION}")


def _error_text(error: Exception) -> str:
    return str(error) or type(error).__name__

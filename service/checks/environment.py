"""The settings and Redis: what is wrong with them, and what they leave closed or unsafe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import redis

from service.checks.finding import Finding, fail, ok, warn
from worker.pipedrive.client import DEFAULT_BASE_URL
from worker.settings.table import Settings, SettingsError, find_misspelt

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
MIN_VERSION = (6, 2)
PERSISTENCE_SETTINGS = (
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "save",
    "appendonly",
    "maxmemory-policy",
)
UNREADABLE = "cannot be read here: ask whoever runs this Redis"


def check_store(client: redis.Redis, url: str, *, wait_replicas: int = 0) -> list[Finding]:
    """Every finding about the server. `url` may hold a password, which is never shown."""
    try:
        client.ping()
        info = client.info()
    except redis.ResponseError as error:
        return [fail(REDIS, f"{redact_url(url)} refuses: {error}", "REDIS_URL")]
    except (redis.RedisError, OSError) as error:
        return [
            fail(REDIS, f"{redact_url(url)} cannot be reached: {_error_text(error)}", "REDIS_URL")
        ]
    config = _read_config(client)
    return [
        *_check_server(info, url),
        *_check_role(info, wait_replicas),
        *_check_persistence(info, config),
        *_check_eviction(info, config),
    ]


def redact_url(url: str) -> str:
    """The address without credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _read_config(client: redis.Redis) -> dict[str, str]:
    """The settings that can be read; managed servers often refuse CONFIG."""
    values: dict[str, str] = {}
    for name in PERSISTENCE_SETTINGS:
        try:
            values |= cast("dict[str, str]", client.config_get(name))
        except redis.RedisError:
            return values
    return values


def _check_server(info: dict[str, Any], url: str) -> Iterator[Finding]:
    """Compatible servers report in `redis_version` which Redis version they match."""
    version = str(info.get("redis_version", ""))
    name = f"{info.get('server_name', 'redis')} at {redact_url(url)}"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if not numbers:
        yield warn(REDIS, f"{name}: the version {UNREADABLE}; at least 6.2 is needed")
    elif numbers < MIN_VERSION:
        yield fail(REDIS, f"{name} is compatible with Redis {version}: at least 6.2 is needed")
    else:
        yield ok(REDIS, f"{name} responds, compatible with Redis {version}")
    if str(info.get("cluster_enabled", "0")) == "1":
        yield fail(
            REDIS,
            "this is a cluster, which would spread one submission's keys over several nodes:"
            " use a single server",
            "REDIS_URL",
        )


def _check_role(info: dict[str, Any], wait_replicas: int) -> Iterator[Finding]:
    if info.get("role") == "slave":
        yield fail(
            REDIS,
            "this is a replica, which takes no writes: name the primary, or the sentinels",
            "REDIS_URL",
        )
    replicas = int(info.get("connected_slaves", 0))
    if replicas < wait_replicas:
        awaited = f"{wait_replicas} replica{'' if wait_replicas == 1 else 's'}"
        message = f"each submission waits for {awaited}, but {replicas} are connected"
        yield fail(REDIS, message, "LEADLINE_WAIT_REPLICAS")


def _check_persistence(info: dict[str, Any], config: dict[str, str]) -> Iterator[Finding]:
    enabled = config.get("appendonly") or {"1": "yes", "0": "no"}.get(str(info.get("aof_enabled")))
    fsync = config.get("appendfsync")
    if enabled is None:
        yield warn(
            REDIS,
            f"whether it keeps what it acknowledged {UNREADABLE}; it needs appendonly yes",
            "appendonly",
        )
        return
    if enabled == "no":
        loss = "only snapshots are kept" if config.get("save") else "NOTHING IS KEPT"
        message = (
            f"{loss}: acknowledged submissions are LOST when it stops; set appendonly yes and"
            " appendfsync always"
        )
        yield warn(REDIS, message, "appendonly")
        return
    if info.get("aof_last_write_status", "ok") != "ok":
        yield fail(REDIS, "it cannot write its append-only file: is the disk full?", "appendonly")
    if fsync is None:
        yield warn(
            REDIS, f"appendonly is on; appendfsync {UNREADABLE}, it should be always", "appendfsync"
        )
    elif fsync != "always":
        lost = "the last second or two" if fsync == "everysec" else "up to half a minute"
        message = (
            f"{lost} of acknowledged submissions can be lost with the machine: appendfsync is"
            f" {fsync}, set always"
        )
        yield warn(REDIS, message, "appendfsync")
    elif config.get("no-appendfsync-on-rewrite") == "yes":
        message = "nothing is synced while its file is rewritten: set no-appendfsync-on-rewrite no"
        yield warn(REDIS, message, "no-appendfsync-on-rewrite")
    else:
        yield ok(REDIS, "keeps what it acknowledged: appendonly yes, appendfsync always")


def _check_eviction(info: dict[str, Any], config: dict[str, str]) -> Iterator[Finding]:
    policy = config.get("maxmemory-policy") or info.get("maxmemory_policy")
    if policy is None:
        yield warn(
            REDIS, f"its maxmemory-policy {UNREADABLE}; it must be noeviction", "maxmemory-policy"
        )
    elif policy != "noeviction":
        message = (
            "when memory is full, submissions would be lost silently: its maxmemory-policy"
            f" is {policy}, set noeviction"
        )
        yield fail(REDIS, message, "maxmemory-policy")
    else:
        yield ok(REDIS, "drops nothing when memory is full: maxmemory-policy noeviction")


def _error_text(error: Exception) -> str:
    return str(error) or type(error).__name__

"""Every setting in one table: name, default, unit, help, and the process that may hold it.

They are read once at the start, from the mapping that is passed in.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from worker.contract import State
from worker.settings import types
from worker.settings.public_url import EXPECTED_PUBLIC_URL, find_url_fault
from worker.settings.types import Network, OpsToken, Secret

SERVICE = "service"
WORKER = "worker"
BOTH = frozenset({SERVICE, WORKER})


class SettingsError(Exception):
    """Settings are unusable; `faults` has one line for each, `NAME: expected X, got Y`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table.

    `default` is the text that one would write; None leaves the setting unset, and `unset` says what
    happens then. `unit` is shown beside the value. `only` are the processes that read it.
    """

    name: str
    parse: Callable[[str], Any]
    help: str
    default: str | None = None
    unset: str = ""
    unit: str = "text"
    secret: bool = False
    only: frozenset[str] = BOTH

    @property
    def default_value(self) -> Any:
        return None if self.default is None else self.parse(self.default)

    @property
    def default_text(self) -> str:
        return self.default or f"unset ({self.unset})"


def _setting(name: str, parse: Callable[[str], Any], help: str, **rest: Any) -> Any:
    row = Setting(name=name, parse=parse, help=help, **rest)
    return field(default_factory=lambda: row.default_value, metadata={"setting": row})


_ONLY_SERVICE, _ONLY_WORKER = frozenset({SERVICE}), frozenset({WORKER})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process, with its own secrets only. In seconds and bytes."""

    config: Path | None = _setting(
        "LEADLINE_CONFIG",
        Path,
        "The source file.",
        unit="path",
        unset="leadline.toml in the working directory, else the packaged example",
    )
    data_dir: Path = _setting(
        "LEADLINE_DATA_DIR",
        Path,
        "Embedded Redis files and the local spool.",
        default=".leadline",
        unit="path",
    )
    host: str = _setting(
        "LEADLINE_HOST",
        str,
        "The address the service listens on.",
        default="127.0.0.1",
        unit="address",
    )
    port: int = _setting(
        "LEADLINE_PORT",
        types.integer_between(0, 65535),
        "The port the service listens on; 0 takes a free one.",
        default="8000",
        unit="port",
    )
    redis_url: Secret | None = _setting(
        "REDIS_URL",
        types.parse_redis_url,
        "redis://, rediss://, unix:// or redis+sentinel://host:26379,host:26379/MASTER/0.",
        unit="URL",
        unset="embedded",
        secret=True,
    )
    pipedrive_api_token: Secret | None = _setting(
        "PIPEDRIVE_API_TOKEN",
        types.parse_token,
        "The API token of a Pipedrive user; or the three OAuth settings below.",
        unset="OAuth, or with `leadline up` the sandbox",
        secret=True,
        only=_ONLY_WORKER,
    )
    pipedrive_client_id: Secret | None = _setting(
        "PIPEDRIVE_CLIENT_ID",
        types.parse_token,
        "OAuth: the app's client id.",
        unset="no OAuth",
        secret=True,
        only=_ONLY_WORKER,
    )
    pipedrive_client_secret: Secret | None = _setting(
        "PIPEDRIVE_CLIENT_SECRET",
        types.parse_token,
        "OAuth: the app's client secret.",
        unset="no OAuth",
        secret=True,
        only=_ONLY_WORKER,
    )
    pipedrive_refresh_token: Secret | None = _setting(
        "PIPEDRIVE_REFRESH_TOKEN",
        types.parse_token,
        "OAuth: the first refresh token; later ones are kept in Redis.",
        unset="no OAuth",
        secret=True,
        only=_ONLY_WORKER,
    )
    pipedrive_base_url: str = _setting(
        "PIPEDRIVE_BASE_URL",
        types.parse_http_url,
        "The base URL of /v1/... and /api/v2/...; may be a company domain or a stand-in.",
        default="https://api.pipedrive.com",
        unit="URL",
    )
    pipedrive_oauth_url: str = _setting(
        "PIPEDRIVE_OAUTH_URL",
        types.parse_http_url,
        "Where access tokens are refreshed.",
        default="https://oauth.pipedrive.com/oauth/token",
        unit="URL",
    )
    pipedrive_plan: str = _setting(
        "PIPEDRIVE_PLAN",
        types.one_of("lite", "growth", "premium", "ultimate", "unlimited"),
        "The plan whose API limits apply; unlimited applies none (for stand-ins).",
        default="lite",
        unit="plan",
    )
    pipedrive_seats: int = _setting(
        "PIPEDRIVE_SEATS",
        types.integer_between(1, 100_000),
        "Paid seats; the daily token budget grows with them.",
        default="1",
        unit="seats",
    )
    pipedrive_daily_tokens: int | None = _setting(
        "PIPEDRIVE_DAILY_TOKENS",
        types.integer_between(1, 10**11),
        "The account's API tokens a day.",
        unit="tokens",
        unset="derived from plan and seats",
    )
    ops_tokens: tuple[OpsToken, ...] | None = _setting(
        "LEADLINE_OPS_TOKENS",
        types.parse_ops_tokens,
        "Console users, comma-separated: name:role:token; the role is viewer or operator.",
        unset="console closed",
        secret=True,
        only=_ONLY_SERVICE,
    )
    alert_webhook: Secret | None = _setting(
        "LEADLINE_ALERT_WEBHOOK",
        types.parse_secret_url,
        "Where alerts are posted, in the format of Slack's incoming webhooks.",
        unit="URL",
        unset="no alerts",
        secret=True,
        only=_ONLY_SERVICE,
    )
    alert_oldest: float = _setting(
        "LEADLINE_ALERT_OLDEST",
        types.parse_seconds,
        "How long a lead may wait for its delivery before there is an alert.",
        default="15m",
        unit="seconds",
        only=_ONLY_SERVICE,
    )
    public_url: str | None = _setting(
        "LEADLINE_PUBLIC_URL",
        types.parse_http_url,
        "The URL that senders see, for schemes that sign it.",
        unit="URL",
        unset="from the request",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "LEADLINE_TRUSTED_PROXIES",
        types.parse_networks,
        "Proxies whose X-Forwarded-For is trusted: addresses or ranges, comma-separated; private"
        " stands for loopback and private ranges.",
        default="",
        unset="none",
        unit="CIDR",
    )
    allow_private_urls: bool = _setting(
        "LEADLINE_ALLOW_PRIVATE_URLS",
        types.parse_yes_or_no,
        "Whether configured URLs (fetch, alerts) may be private or loopback addresses and plain"
        " http; for development and tests.",
        default="no",
        unit="yes or no",
    )
    connections_per_address: int = _setting(
        "LEADLINE_CONNECTIONS_PER_ADDRESS",
        types.integer_between(1, 4096),
        "Connections that one client address may have; trusted proxies may have any number.",
        default="32",
        unit="connections",
        only=_ONLY_SERVICE,
    )
    default_country: str | None = _setting(
        "LEADLINE_DEFAULT_COUNTRY",
        types.parse_country,
        "Where phone numbers without + come from, unless the source or the lead says so.",
        unset="such numbers stay as typed",
        unit="two letters",
    )
    encryption_keys: tuple[Secret, ...] = _setting(
        "LEADLINE_ENCRYPTION_KEYS",
        types.parse_encryption_keys,
        "Keys that encrypt stored submissions, newest first, comma-separated.",
        default="",
        unset="not encrypted",
        unit="32 bytes in base64 each",
        secret=True,
    )
    service_processes: int = _setting(
        "LEADLINE_SERVICE_PROCESSES",
        types.integer_between(1, 64),
        "Server processes.",
        default="1",
        unit="processes",
    )
    worker_processes: int = _setting(
        "LEADLINE_WORKER_PROCESSES",
        types.integer_between(1, 64),
        "Worker processes.",
        default="1",
        unit="processes",
    )
    slots: int = _setting(
        "LEADLINE_SLOTS",
        types.integer_between(1, 512),
        "Deliveries at a time in each worker process.",
        default="32",
        unit="deliveries",
    )
    retry_delays: tuple[float, ...] = _setting(
        "LEADLINE_RETRY_DELAYS",
        types.parse_delays,
        "Waits between the tries of a failing delivery, jittered; after the last one it is dead.",
        default="10s,1m,5m,30m,2h,6h,12h,24h",
        unit="durations",
    )
    settle_seconds: float = _setting(
        "LEADLINE_SETTLE_SECONDS",
        types.parse_seconds,
        "How long a create with unknown outcome settles before it is looked for.",
        default="90",
        unit="seconds",
    )
    probe_seconds: float = _setting(
        "LEADLINE_PROBE_SECONDS",
        types.parse_seconds,
        "How soon a paused delivery is first tried again; grows to an hour.",
        default="30",
        unit="seconds",
    )
    retention: Mapping[State, float | None] = _setting(
        "LEADLINE_RETENTION",
        types.parse_retention,
        "When a submission's content is erased, by state; discarded goes with ignored.",
        default="delivered=30d,dead=never,quarantine=14d,ignored=7d",
        unit="state=duration",
    )
    spool_max: int = _setting(
        "LEADLINE_SPOOL_MAX",
        types.parse_positive_size,
        "The most that the local spool of each process may hold.",
        default="256MiB",
        unit="bytes",
    )
    journal: Literal["auto", "always", "never"] = _setting(
        "LEADLINE_JOURNAL",
        types.one_of("auto", "always", "never"),
        "Whether each submission is also written to a local journal before its 2xx; auto: where"
        " Redis does not sync each write.",
        default="auto",
        unit="auto, always or never",
    )
    accept_unsafe_redis: bool = _setting(
        "LEADLINE_ACCEPT_UNSAFE_REDIS",
        types.parse_yes_or_no,
        "Whether to accept submissions although Redis may lose them in ways that no journal mends.",
        default="no",
        unit="yes or no",
    )
    unverified_max: int = _setting(
        "LEADLINE_UNVERIFIED_MAX",
        types.parse_positive_size,
        "The most that submissions without a proof of origin may take of Redis, all together.",
        default="256MiB",
        unit="bytes",
    )
    wait_replicas: int = _setting(
        "LEADLINE_WAIT_REPLICAS",
        types.integer_between(0, 16),
        "Redis replicas that must have a submission before its 2xx.",
        default="0",
        unit="replicas",
    )
    log_format: Literal["json", "console"] | None = _setting(
        "LEADLINE_LOG_FORMAT",
        types.one_of("json", "console"),
        "The format of log lines.",
        unset="json, console on a terminal",
        unit="json or console",
    )

    @classmethod
    def for_service(cls, env: Mapping[str, str]) -> Settings:
        """Loads the settings for `serve`, without Pipedrive credentials. Raises SettingsError."""
        return load(env, frozenset({SERVICE}))

    @classmethod
    def for_worker(cls, env: Mapping[str, str]) -> Settings:
        """Loads the settings for `work`: needs Pipedrive credentials. Raises SettingsError."""
        return load(env, frozenset({WORKER}), need_credentials=True)

    @classmethod
    def for_all(cls, env: Mapping[str, str]) -> Settings:
        """Loads all settings, for commands such as `up` and `check`, credentials or not.

        Raises SettingsError.
        """
        return load(env, BOTH)

    @property
    def uses_oauth(self) -> bool:
        return bool(
            self.pipedrive_client_id
            and self.pipedrive_client_secret
            and self.pipedrive_refresh_token
        )

    @property
    def has_credentials(self) -> bool:
        """Whether Pipedrive can be called at all."""
        return bool(self.pipedrive_api_token) or self.uses_oauth


# The table: field name -> row, in the order in which settings are documented.
SETTINGS: dict[str, Setting] = {each.name: each.metadata["setting"] for each in fields(Settings)}

_OAUTH = ("pipedrive_client_id", "pipedrive_client_secret", "pipedrive_refresh_token")


def load(
    env: Mapping[str, str], roles: Iterable[str] = BOTH, *, need_credentials: bool = False
) -> Settings:
    """Loads the settings of a process in these `roles`; an empty variable counts as unset.

    Raises SettingsError with every fault.
    """
    played, values, faults = frozenset(roles), {}, []
    for key, row in SETTINGS.items():
        text = env.get(row.name, "").strip()
        if not text or not row.only & played:
            continue
        try:
            values[key] = row.parse(text)
        except ValueError as fault:
            faults.append(f"{row.name}: {fault}")
    faults += _url_faults(values)
    if WORKER in played:
        faults += _credential_faults(env, need_credentials)
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def _url_faults(values: Mapping[str, Any]) -> list[str]:
    """Checks the webhook's URL as far as it can be told without looking its name up."""
    url = values.get("alert_webhook")
    fault = None if url is None or values.get("allow_private_urls") else find_url_fault(url)
    row = SETTINGS["alert_webhook"]
    return [f"{row.name}: expected {EXPECTED_PUBLIC_URL}, got {fault} (not shown)"] if fault else []


def _credential_faults(env: Mapping[str, str], needed: bool) -> list[str]:
    """Checks for a token or all three OAuth settings; neither is fine unless `needed`."""
    has_token = bool(env.get("PIPEDRIVE_API_TOKEN", "").strip())
    oauth = {SETTINGS[key].name: bool(env.get(SETTINGS[key].name, "").strip()) for key in _OAUTH}
    if has_token and all(oauth.values()):
        return [
            "PIPEDRIVE_API_TOKEN: expected either an API token or the three OAuth settings, got"
            " both"
        ]
    if any(oauth.values()):
        present = next(name for name, is_set in oauth.items() if is_set)
        return [
            f"{name}: expected a value because {present} is set, got nothing"
            for name, is_set in oauth.items()
            if not is_set
        ]
    if needed and not has_token:
        return [
            "PIPEDRIVE_API_TOKEN: expected an API token, or the three OAuth settings, got nothing"
        ]
    return []


def find_misspelt(env: Mapping[str, str]) -> dict[str, str]:
    """Finds variables that look like a misspelt setting, each with the one probably meant.

    A source's own secrets may have any name and are left alone.
    """
    names = {row.name for row in SETTINGS.values()}
    unknown = [
        name
        for name in env
        if name.startswith(("LEADLINE_", "PIPEDRIVE_", "REDIS_")) and name not in names
    ]
    matches = {name: difflib.get_close_matches(name, names, n=1, cutoff=0.85) for name in unknown}
    return {name: closest[0] for name, closest in matches.items() if closest}

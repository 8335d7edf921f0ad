"""Settings of the sandbox. Every field has a default that suits a demonstration."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Plan = Literal["lite", "growth", "premium", "ultimate"]


class SandboxSettings(Struct, frozen=True, kw_only=True):
    """Where the sandbox listens, what it accepts and what it limits."""

    host: str = "127.0.0.1"
    # 0 takes any free port.
    port: int = 8090
    api_token: str = "sandbox-token"
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"
    refresh_token: str = "sandbox-refresh"
    # Whether each refresh issues another refresh token and invalidates the one used.
    rotate_refresh_token: bool = False
    access_token_seconds: int = 3599
    # API tokens a UTC day; None: no budget, and no headers about one.
    daily_tokens: int | None = None
    # Whose burst limits apply; None: no burst limit, and no headers about one.
    plan: Plan | None = None
    # Whether the API token, too, gets the larger burst limit of OAuth apps.
    oauth_burst: bool = False
    # How long the search index lags behind changes; lists never lag.
    search_delay_seconds: float = 2.0
    # Whether persons accept `job_title`, `birthday`, `im`, `notes` and `postal_address`.
    contact_sync: bool = False
    # The most leads and deals together, and the most records of any other kind.
    capacity: int = 100_000
    # How many calls `GET /_sandbox/state` can list; the totals count all of them.
    remembered_calls: int = 20_000
    # SQLite file that keeps the account between starts; None: memory only.
    state_file: str | None = None
    # Faults in force from the start, by name (`service.sandbox.fault_presets`).
    faults: tuple[str, ...] = ()
    # Makes ids and the probabilities of faults repeatable.
    seed: int = 0

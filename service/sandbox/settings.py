"""What the sandbox pretends to be. Every field has a default that suits a demonstration."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Plan = Literal["lite", "growth", "premium", "ultimate"]


class SandboxSettings(Struct, frozen=True, kw_only=True):
    """Where the sandbox listens, what it accepts and how far its limits reach."""

    host: str = "127.0.0.1"
    port: int = 8090
    """0 takes any free port."""
    api_token: str = "sandbox-token"
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"
    refresh_token: str = "sandbox-refresh"
    rotate_refresh_token: bool = False
    """Whether each refresh hands out another refresh token and the one used dies."""
    access_token_seconds: int = 3599
    daily_tokens: int | None = None
    """API tokens a UTC day; None: no budget, and no headers that speak of one."""
    plan: Plan | None = None
    """Whose burst limits hold; None: no burst limit, and no headers that speak of one."""
    oauth_burst: bool = False
    """Whether the API token too gets the wider window of OAuth apps."""
    search_delay_seconds: float = 2.0
    """How long the search index lags behind changes; lists never do."""
    contact_sync: bool = False
    """Whether persons take `job_title`, `birthday`, `im`, `notes` and `postal_address`."""
    capacity: int = 100_000
    """The most leads and deals together, and the most of every other kind; beyond it a create is
    refused.
    """
    remembered_calls: int = 20_000
    """How many of the latest calls `GET /_sandbox/state` can list; the totals count all of them."""
    state_file: str | None = None
    """SQLite file that keeps the account between starts; None: memory only."""
    seed: int = 0
    """Makes ids and the faults' chances repeatable."""

"""A client of the sandbox with a clock of its own, and the records that most tests begin with."""

from __future__ import annotations

from typing import Any

import httpx
from litestar import Litestar
from litestar.testing import TestClient

from service.sandbox.serve import create_app
from service.sandbox.settings import SandboxSettings

TOKEN = SandboxSettings().api_token
NOBODY = "00000000-0000-4000-8000-000000000000"


class ManualClock:
    """Stands still until it is advanced. It starts at noon UTC, so that no test crosses midnight."""

    def __init__(self) -> None:
        self.now = 1_760_097_600.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def connect_directly(settings: SandboxSettings, clock: ManualClock) -> TestClient[Litestar]:
    """A client with the API token that calls the application without a socket."""
    client = TestClient(create_app(settings, wall=clock, ticks=clock))
    client.headers["x-api-token"] = TOKEN
    return client


def add_person(
    client: httpx.Client,
    name: str = "Jane Doe",
    email: str | None = "jane@example.org",
    **more: Any,
) -> int:
    """Create a person; returns its id."""
    emails = [{"value": email}] if email else []
    answer = client.post("/api/v2/persons", json={"name": name, "emails": emails, **more})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["data"]["id"])


def add_lead(client: httpx.Client, person_id: int, **more: Any) -> str:
    """Create a lead; returns its id."""
    answer = client.post("/v1/leads", json={"title": "A lead", "person_id": person_id, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["id"])


def data(answer: httpx.Response) -> Any:
    """The `data` of a successful response."""
    assert answer.is_success, answer.text
    body = answer.json()
    assert body["success"] is True
    return body["data"]

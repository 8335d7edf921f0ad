"""A state file keeps the account between starts."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest

from service.sandbox.serve import SETTINGS_VARIABLE
from service.sandbox.settings import SandboxSettings
from tests.polling import eventually
from tests.sandbox.account import TOKEN, ManualClock, add_lead, add_person, connect_directly, data
from tests.sandbox.test_credentials import refresh

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> SandboxSettings:
    return SandboxSettings(
        state_file=str(tmp_path / "account" / "sandbox.sqlite"),
        rotate_refresh_token=True,
        daily_tokens=1000,
    )


def test_everything_outlives_a_restart(settings: SandboxSettings, clock: ManualClock) -> None:
    """Records, their order, spent tokens, refresh token and search index survive a restart."""
    with connect_directly(settings, clock) as first:
        person = add_person(first)
        leads = [add_lead(first, person, origin_id=str(number)) for number in range(3)]
        first.patch(f"/v1/leads/{leads[0]}", json={"title": "changed"})
        first.delete(f"/v1/leads/{leads[1]}")
        token = refresh(first).json()["refresh_token"]
        before = first.get("/_sandbox/state").json()
    with connect_directly(settings, clock) as second:
        after = second.get("/_sandbox/state").json()
        assert [after[kind] for kind in ("leads", "persons", "labels")] == [
            before[kind] for kind in ("leads", "persons", "labels")
        ]
        assert after["totals"]["tokens_today"] == before["totals"]["tokens_today"]
        (hit,) = data(second.get("/api/v2/persons/search", params={"term": "jane@example.org"}))[
            "items"
        ]
        assert hit["item"]["id"] == person
        assert refresh(second, token).status_code == 200
        assert add_person(second) == person + 1
        assert add_lead(second, person) not in leads


def test_a_reset_is_kept_too(settings: SandboxSettings, clock: ManualClock) -> None:
    """After a reset and a restart there is only the stock account."""
    with connect_directly(settings, clock) as first:
        add_person(first)
        first.post("/_sandbox/reset")
    with connect_directly(settings, clock) as second:
        state = second.get("/_sandbox/state").json()
        assert (state["persons"], len(state["labels"])) == ([], 6)


def test_a_refused_request_leaves_nothing_on_disk(
    settings: SandboxSettings, clock: ManualClock
) -> None:
    """A request that was refused half-way leaves nothing in the file."""
    with connect_directly(settings, clock) as api:
        api.post(
            "/v1/notes",
            json={"content": "x", "person_id": add_person(api), "pinned_to_lead_flag": 1},
        )
    with sqlite3.connect(settings.state_file or "") as database:
        kinds = {kind for (kind,) in database.execute("SELECT DISTINCT kind FROM record")}
    assert "note" not in kinds


def test_nothing_acknowledged_is_lost_to_a_kill(settings: SandboxSettings) -> None:
    """Killed right after its response, the sandbox has the person at its next start."""
    port = _free_port()
    chosen = msgspec.structs.replace(settings, port=port)
    url = f"http://127.0.0.1:{port}"
    for expected in (1, 2):
        process = _start(chosen)
        try:
            with httpx.Client(base_url=url, headers={"x-api-token": TOKEN}) as client:
                assert eventually(partial(_is_up, client))
                assert add_person(client) == expected
        finally:
            process.kill()
            process.wait(10)


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    """`run` serves until SIGTERM and then exits with 0."""
    port = _free_port()
    chosen = SandboxSettings(port=port, state_file=str(tmp_path / "sandbox.sqlite"))
    process = _start(chosen)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert eventually(lambda: _is_up(client))
        process.terminate()
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait(10)


def _start(settings: SandboxSettings) -> subprocess.Popen[bytes]:
    environment = os.environ | {SETTINGS_VARIABLE: msgspec.json.encode(settings).decode()}
    return subprocess.Popen([sys.executable, "-m", "service.sandbox"], env=environment, cwd=ROOT)


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/_sandbox/health").status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

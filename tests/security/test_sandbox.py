"""The sandbox on a developer's machine: pages of other sites, odd input, and its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings

SETTINGS = SandboxSettings(port=0)
FAULT = b'{"match": {"operation": "leads.add"}, "effect": {"kind": "close"}}'


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_in_thread(SETTINGS) as served:
        yield served


ELSEWHERE = [
    pytest.param({"origin": "https://evil.example"}, id="its origin"),
    pytest.param({"origin": "null"}, id="a frame without origin"),
    pytest.param({"origin": "http://127.0.0.1:1"}, id="another port"),
    pytest.param({"sec-fetch-site": "cross-site"}, id="cross-site"),
    pytest.param({"sec-fetch-site": "same-site"}, id="another port, as browsers say it"),
    pytest.param({"host": "evil.example"}, id="a name that resolves to loopback"),
    pytest.param({"host": "127.0.0.1.evil.example:80"}, id="a name that looks like loopback"),
]


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_a_page_of_another_site_can_do_nothing(url: str, headers: dict[str, str]) -> None:
    """It can neither set faults nor reset, nor read, nor call the API."""
    token = {"x-api-token": SETTINGS.api_token}
    for method, path, content in [
        ("POST", "/_sandbox/faults", FAULT),
        ("POST", "/_sandbox/faults/slow", b""),
        ("DELETE", "/_sandbox/faults", b""),
        ("POST", "/_sandbox/reset", b""),
        ("GET", "/_sandbox/state", b""),
        ("GET", "/api/v2/persons", b""),
    ]:
        answer = httpx.request(method, url + path, content=content, headers=headers | token)
        assert answer.status_code == 403, (method, path)
    assert httpx.get(f"{url}/_sandbox/faults").json() == {"faults": []}


def test_its_own_page_and_programs_may(url: str) -> None:
    """Its own page, a link to it, and a program without such headers are let in."""
    port = urlsplit(url).port
    for headers in [
        {},
        {"origin": url, "sec-fetch-site": "same-origin"},
        {"host": f"localhost:{port}", "origin": f"http://localhost:{port}"},
    ]:
        assert httpx.post(f"{url}/_sandbox/reset", headers=headers).status_code == 200
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert httpx.get(f"{url}/", headers=link).status_code == 200


@pytest.mark.parametrize("number", ["9" * 5000, "٣", "%C2%B2", "-1", "%ff", "1e9", "0x1"])
def test_odd_numbers_are_no_fault(url: str, number: str) -> None:
    """Whatever stands where a number belongs, the answer is no 5xx."""
    token = {"x-api-token": SETTINGS.api_token}
    meanwhile = {
        "match": {"operation": "persons.get", "count": 1},
        "effect": {"kind": "meanwhile", "change": "merge-person", "status": 400},
    }
    assert httpx.post(f"{url}/_sandbox/faults", json=meanwhile).status_code in (201, 400)
    for path in [
        f"/_sandbox/state?calls={number}",
        f"/?refresh={number}",
        f"/api/v2/persons/{number}",
        f"/api/v2/persons?limit={number}&cursor={number}",
        f"/v1/leads?start={number}",
    ]:
        assert httpx.get(url + path, headers=token).status_code < 500, path
    httpx.delete(f"{url}/_sandbox/faults")


def test_its_file_is_its_owner_s(tmp_path: Path) -> None:
    """The account may hold real people; the file and what SQLite puts beside it say so."""
    path = tmp_path / "sandbox.sqlite"
    path.touch(0o644)
    with serve_in_thread(SandboxSettings(port=0, state_file=str(path))) as served:
        httpx.post(f"{served}/_sandbox/expire-access-tokens")
        files = list(tmp_path.glob("sandbox.sqlite*"))
        assert len(files) > 1
        assert [file.name for file in files if file.stat().st_mode & 0o077] == []

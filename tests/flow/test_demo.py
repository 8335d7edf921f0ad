from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.cli.run import with_example_secrets
from service.local.stack import LocalStack
from worker.settings.table import Settings

pytestmark = pytest.mark.timeout(600)


def demo(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """`leadline demo` as a person runs it, in an empty directory with an empty environment."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)} | settings
    command = [sys.executable, "-m", "service.cli.main", "demo"]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=500, check=False
    )


def test_the_demo_succeeds_and_shows_the_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sample ends as expected, and the table shows what arrived in Pipedrive."""
    monkeypatch.chdir(tmp_path)
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    first = next(line for line in done.stdout.splitlines() if line.startswith("web form"))
    for text in (
        "delivered (created)",
        "Ada Lovelace",
        "Website, PPC, Hot",
        "Paid search (73)",
        "spring",
        "contact:01",
    ):
        assert text in first
    assert "fixed and replayed" in done.stdout
    assert "http://127.0.0.1:8090/" in done.stdout
    assert look_again(tmp_path, done.stdout) == 5


def look_again(folder: Path, output: str) -> int:
    """Follows the demo's last lines on other ports, and returns the number of leads."""
    words = next(line for line in output.splitlines() if line.startswith("Look at it:")).split()[
        3:-2
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)} | dict(
        word.split("=", 1) for word in words
    )
    settings = Settings.for_all(env)
    with LocalStack(
        settings, with_example_secrets(settings, env), data_dir=settings.data_dir, free_ports=True
    ) as stack:
        return len(
            httpx.get(f"{stack.endpoints.sandbox_url}/_sandbox/state", trust_env=False).json()[
                "leads"
            ]
        )


def test_the_demo_says_why_it_failed(tmp_path: Path) -> None:
    """With a closed port it exits with an error that names the address and what to do."""
    done = demo(tmp_path, PIPEDRIVE_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "http://127.0.0.1:9" in done.stderr
    assert "leadline sandbox" in done.stderr


def test_the_demo_never_touches_a_real_account(tmp_path: Path) -> None:
    """With credentials of a real account it exits before sending anything."""
    done = demo(tmp_path, PIPEDRIVE_API_TOKEN="t" * 40)
    assert done.returncode == 1
    assert "makes up people" in done.stderr

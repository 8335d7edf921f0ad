"""Client generators read the document that the service serves, for Python and for TypeScript."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest

from tests.flow.intake_world import open_world

NPM_PROJECT = Path(__file__).parents[1] / "openapi"
# Media types that the generator leaves out of a client, which is no fault of the document.
UNSUPPORTED = ("Unsupported content type text/plain", "Unsupported content_type application/jsonl")


@pytest.fixture
def document(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The served document in a file."""
    path = tmp_path / "openapi.json"
    with open_world(redis_url, monkeypatch) as world:
        path.write_bytes(world.client.get("/docs/openapi.json").content)
    return path


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a tool; its output, where it ended well."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | {"PATH": tools}, capture_output=True, text=True
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def test_a_python_client_is_made_of_it(document: Path, tmp_path: Path) -> None:
    """`openapi-python-client` understands every operation, but for media types it does not know;
    the client that it makes can be imported.
    """
    client = tmp_path / "leadline_client"
    output = run(
        "openapi-python-client", "generate", "--path", document, "--output-path", client, "--meta", "none"
    )  # fmt: skip
    warnings = [
        part
        for part in output.split("WARNING")[1:]
        if not any(unsupported in part for unsupported in UNSUPPORTED)
    ]
    assert warnings == []
    assert {path.name for path in (client / "api").iterdir()} >= {"intake", "ops", "monitoring"}
    calls = "from leadline_client.api.ops import bulk, retry, submissions; from leadline_client.api.intake import submit"
    run(sys.executable, "-c", calls, cwd=tmp_path)


@pytest.fixture(scope="session")
def npm_tools() -> Path:
    """The folder of the tools in `tests/openapi`, installed once and kept for the next run.

    Without npm, or without its registry: skipped at home, a failure where `CI` is set.
    """
    lock = NPM_PROJECT / "package-lock.json"
    folder = (
        Path(tempfile.gettempdir()) / f"leadline-npm-{sha256(lock.read_bytes()).hexdigest()[:16]}"
    )
    if (folder / "done").exists():
        return folder
    problem = "npm is not on the PATH"
    if shutil.which("npm"):
        fresh = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NPM_PROJECT / name, fresh / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=90)
        problem = f"npm ci failed: {done.stderr[-500:]}"
        if done.returncode == 0:
            (fresh / "done").touch()
            with contextlib.suppress(OSError):  # another process was quicker
                fresh.rename(folder)
            return folder
        shutil.rmtree(fresh)
    if os.environ.get("CI"):
        pytest.fail(problem)
    pytest.skip(problem)


def test_typescript_types_are_made_of_it(document: Path, tmp_path: Path, npm_tools: Path) -> None:
    """`openapi-typescript` makes types of it that the TypeScript compiler accepts."""
    types = tmp_path / "leadline.d.ts"
    tools = npm_tools / "node_modules" / ".bin"
    run(tools / "openapi-typescript", document, "--output", types, cwd=tmp_path)
    run(tools / "tsc", "--noEmit", types, cwd=tmp_path)
    assert '"/in/contact"' in types.read_text()

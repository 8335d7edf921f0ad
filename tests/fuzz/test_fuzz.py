"""Short runs of the fuzzers; `make fuzz` runs them at length."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import served


def test_the_reader_withstands_mutated_requests(tmp_path: Path) -> None:
    """Two thousand mutations of the labelled requests raise nothing and can all be stored."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this platform")
    command = [sys.executable, "-m", "tests.fuzz.mutated", "--cases=2000", f"--findings={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert runs is not None, done.stderr[-3000:]
    assert int(runs[1]) >= 2_000


def test_the_server_does_what_its_document_says(tmp_path: Path) -> None:
    """Schemathesis finds nothing in any operation of the running server."""
    with served.running_server(tmp_path) as url:
        done = served.run(url, examples=1, seed=1)
    assert done.returncode == 0, done.stdout[-5000:] + (tmp_path / "serve.log").read_text()[-2000:]
    assert served.cases(done.stdout) > 1_000

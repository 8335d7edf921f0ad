"""The wheel holds all that runs, and nothing that does not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    completed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert completed.returncode == 0, completed.stderr
    (path,) = folder.glob("leadline-*.whl")
    return zipfile.ZipFile(path)


def test_everything_that_runs_is_inside(wheel: zipfile.ZipFile) -> None:
    """Modules, templates, styles, scripts and the packaged example are in the wheel."""
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("service", "worker")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files | {"service/leadline.example.toml"} <= set(wheel.namelist())


def test_nothing_else_is_inside(wheel: zipfile.ZipFile) -> None:
    """No tests, no data and no settings of anybody's machine are in the wheel."""
    folders = {name.partition("/")[0] for name in wheel.namelist()}
    assert folders == {"service", "worker", "leadline-0.1.0.dist-info"}


def test_the_command_is_registered(wheel: zipfile.ZipFile) -> None:
    """Installing gives `leadline`; the licence travels along."""
    assert (
        "leadline = service.cli.main:main"
        in wheel.read("leadline-0.1.0.dist-info/entry_points.txt").decode()
    )
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())

"""The source file, watched: what a change on disk does."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.sources.schema import ConfigError
from service.sources.source_file.watcher import SourceFileWatcher

ONE = '[sources.contact.lead]\nlabels = ["Website"]\n'


def write_and_watch(tmp_path: Path, text: str = ONE) -> tuple[Path, SourceFileWatcher]:
    path = tmp_path / "leadline.toml"
    path.write_text(text, encoding="utf-8")
    return path, SourceFileWatcher(path, {})


def test_a_changed_file_is_in_force_without_a_restart(tmp_path: Path) -> None:
    """After a change the next poll brings the new version to service and worker alike."""
    path, sources = write_and_watch(tmp_path)
    mappings = sources.mappings
    assert mappings["contact"].lead.labels == ["Website"]
    path.write_text(ONE.replace("Website", "Web site"), encoding="utf-8")
    assert sources.poll() is True
    assert mappings["contact"].lead.labels == ["Web site"]
    assert sources.sources["contact"].lead.labels == ["Web site"]
    assert sources.poll() is False


@pytest.mark.parametrize("text", ['[sources.contact]\nadaptor = "form"\n', "not TOML"])
def test_a_file_with_faults_changes_nothing(text: str, tmp_path: Path) -> None:
    """A version with faults leaves the last good one in force."""
    path, sources = write_and_watch(tmp_path)
    path.write_text(text, encoding="utf-8")
    assert sources.poll() is False
    assert list(sources.sources) == ["contact"]


def test_a_file_that_vanishes_changes_nothing(tmp_path: Path) -> None:
    """While the file is away the last good version stays; it is read once it is back."""
    path, sources = write_and_watch(tmp_path)
    path.unlink()
    assert sources.poll() is False
    assert list(sources.sources) == ["contact"]
    path.write_text(ONE + "[sources.other]\n", encoding="utf-8")
    assert sources.poll() is True
    assert list(sources.sources) == ["contact", "other"]


def test_the_first_reading_must_succeed(tmp_path: Path) -> None:
    """A process does not start with a file that cannot be used."""
    with pytest.raises(ConfigError):
        write_and_watch(tmp_path, "[sources.contact]\nadaptor = 1\n")

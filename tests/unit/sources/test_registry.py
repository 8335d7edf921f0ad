"""A product is one file: the registry finds it, and the wizard recognises it by what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.sources import adapters
from service.sources.adapters.base import Evidence
from service.sources.adapters.registry import ADAPTERS, SHARED_MODULES, find_adapters

FOLDER = Path(str(adapters.__file__)).parent
MODULE = """
from service.sources.adapters.base import Adapter
from service.sources.adapters.json import read
"""


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules belong to the package too."""
    monkeypatch.setattr(adapters, "__path__", [str(FOLDER), str(tmp_path)])
    return tmp_path


def test_each_file_is_an_adapter() -> None:
    """Every module but the shared ones is one adapter, under the name of its file."""
    modules = {path.stem for path in FOLDER.glob("*.py")} - SHARED_MODULES - {"__init__"}
    assert list(ADAPTERS) == sorted(module.replace("_", "-") for module in modules)


def test_a_new_file_is_found(extra: Path) -> None:
    """A file added to the package is an adapter without a line elsewhere."""
    text = f'{MODULE}ADAPTER = Adapter(name="one-more", title="One More", read=read)\n'
    (extra / "one_more.py").write_text(text, "utf-8")
    assert find_adapters()["one-more"].title == "One More"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("no_adapter", "", "no_adapter to define ADAPTER"),
        ("other_type", "ADAPTER = 'x'\n", "got 'x'"),
        (
            "other_name",
            f'{MODULE}ADAPTER = Adapter(name="othername", title="O", read=read)\n',
            "named 'other-name', got 'othername'",
        ),
    ],
)
def test_a_file_without_its_adapter(extra: Path, name: str, text: str, message: str) -> None:
    """A file that declares no adapter, or one of another name, is an error that names the file."""
    (extra / f"{name}.py").write_text(text, "utf-8")
    with pytest.raises(TypeError, match=message):
        find_adapters()


def test_titles_and_reasons() -> None:
    """No two products share a title, and only what is for any payload goes unrecognised."""
    assert len({adapter.title for adapter in ADAPTERS.values()}) == len(ADAPTERS)
    assert {name for name, adapter in ADAPTERS.items() if not adapter.detectors} == {"form", "json"}
    for adapter in ADAPTERS.values():
        records = [each for each in adapter.detectors if each.evidence is Evidence.RECORD]
        assert bool(records) is (adapter.record_api is not None), adapter.name

"""The provider pages: every product has one, and what they tell people to write is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.sources.adapters.registry import ADAPTERS
from service.sources.schema import Source
from service.sources.source_file.loader import load_sources

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path for path in (ROOT / "docs" / "providers").glob("*.md")}
# The guide's sources need the adapter that it adds; its own test loads them.
GUIDE = ROOT / "docs" / "adding-a-provider.md"
ALL_PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").rglob("*.md")} - {GUIDE})]
_TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ENV = re.compile(r'"([A-Z][A-Z0-9_]+)"')


def sources(block: str) -> dict[str, Source]:
    """The sources of a block, with some secret for every variable that it names."""
    env = dict.fromkeys(_ENV.findall(block), "c2VjcmV0")
    return load_sources(block, env, secrets=("verify", "fetch")).sources


def blocks(page: Path) -> list[str]:
    return _TOML.findall(page.read_text("utf-8"))


@pytest.mark.parametrize(
    "block", [block for page in ALL_PAGES for block in blocks(page)], ids=lambda b: b.split("\n")[0]
)
def test_blocks_load(block: str) -> None:
    """Every TOML block of README and docs is a source file without a fault."""
    assert sources(block)


def test_every_adapter_has_a_page() -> None:
    """The folder holds one page an adapter, under its name, and an introduction."""
    assert set(PAGES) == {*ADAPTERS, "README"}


@pytest.mark.parametrize("name", ADAPTERS)
def test_page_sets_its_product_up(name: str) -> None:
    """A page says what to do where, gives the lines, what the product sends and what to know."""
    text = PAGES[name].read_text("utf-8")
    assert text.startswith(f"# {ADAPTERS[name].title}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Set it up", "What it sends", "Worth knowing",
    ]  # fmt: skip
    assert re.search(r"^1\. ", text, re.MULTILINE)
    first = next(iter(sources(blocks(PAGES[name])[0]).values()))
    assert first.adapter == name
    assert ADAPTERS[name].record_api is None or first.fetch_token


def test_nothing_is_left_open() -> None:
    """Only a form that browsers post is shown without a secret; no other block teaches that."""
    opened = {
        source.name
        for page in PAGES.values()
        for block in blocks(page)
        for source in sources(block).values()
        if not source.secrets
    }
    assert opened == {"contact", "survey"}

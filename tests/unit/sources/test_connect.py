"""What the guide tells people to write is right as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.sources.config import Source
from service.sources.loader import load
from service.sources.registry import ADAPTERS

GUIDE = (Path(__file__).parents[3] / "deploy" / "connect.md").read_text("utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
_ENV = re.compile(r'"([A-Z][A-Z0-9_]+)"')


def sources(block: str) -> dict[str, Source]:
    """The sources of a block, with some secret for every variable that it names."""
    env = dict.fromkeys(_ENV.findall(block), "c2VjcmV0")
    return load(block, env, secrets=("verify", "fetch")).sources


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_blocks_load(block: str) -> None:
    """Every block is a source file in which nothing is wrong."""
    assert sources(block)


def test_every_product_is_there() -> None:
    """No product is left out, and each that sends ids alone says how its records are fetched."""
    written = {source.adapter: source for block in BLOCKS for source in sources(block).values()}
    assert set(written) == set(ADAPTERS)
    for name, adapter in ADAPTERS.items():
        assert adapter.records is None or written[name].fetch_token


def test_nothing_is_open() -> None:
    """Only a form that browsers post is taken without a secret; no other block teaches that."""
    opened = {source.name for block in BLOCKS for source in sources(block).values() if not source.secrets}
    assert opened == {"contact", "survey"}


def test_links() -> None:
    """Every product of the table at the top leads to its section."""
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-") for line in GUIDE.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", GUIDE)) <= headings

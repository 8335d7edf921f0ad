"""What the README tells people to write in the source file is right as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.sources.adapters.registry import ADAPTERS
from service.sources.schema import Source
from service.sources.source_file.loader import load_sources

README = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
ALL = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
GUIDE = README.partition("## Connect your form\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
TITLES = {
    "form": "Your own form", "json": "A partner that posts JSON, and anything else",
    "meta-lead-ads": "Meta Lead Ads", "google-ads": "Google Ads", "linkedin": "LinkedIn",
    "hubspot": "HubSpot",
}  # fmt: skip
"""Adapter -> how people call it, where that is not its name with capitals."""
_ENV = re.compile(r'"([A-Z][A-Z0-9_]+)"')


def sources(block: str) -> dict[str, Source]:
    """The sources of a block, with some secret for every variable that it names."""
    env = dict.fromkeys(_ENV.findall(block), "c2VjcmV0")
    return load_sources(block, env, secrets=("verify", "fetch")).sources


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.splitlines()[0])
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
    opened = {
        source.name for block in BLOCKS for source in sources(block).values() if not source.secrets
    }
    assert opened == {"contact", "survey"}


def test_each_product_has_its_own_fold() -> None:
    """Whoever looks for a product finds it by its name, with its lines and where to paste the URL
    inside.
    """
    folds = re.findall(
        r"<details><summary><b>(.+?)</b></summary>\n\n(.*?)\n\n</details>", GUIDE, re.DOTALL
    )
    assert GUIDE.count("<details>") == len(folds)
    for name in ADAPTERS:
        title = TITLES.get(name, name.replace("-", " ").title())
        [text] = [text for said, text in folds if said == title]
        lines, _, told = text.rpartition("```")
        assert f'adapter = "{name}"' in lines
        assert len(told.strip()) > 60, f"{name}: where to paste the URL"

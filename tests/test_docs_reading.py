"""`docs/reading.md` prints what `leadline preview --explain` prints of labelled submissions.

    python -m tests.test_docs_reading

writes the page's outputs anew, after a change of what is read.
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from service.cli.preview import print_explanation
from service.intake.preview import preview
from service.sources.source_file.loader import load_sources
from tests.corpus.reading import CASES, NOW, build_request, load_cases

PAGE = Path(__file__).parents[1] / "docs" / "reading.md"
# The link to a case, and the block below it.
_OUTPUT = re.compile(
    r"(\[`(\w+)`\]\(\.\./tests/corpus/cases/\2\.json\):\n\n```text\n)(.*?)(^```$)",
    re.MULTILINE | re.DOTALL,
)


def explain(name: str) -> str:
    """What is printed of a case on a terminal, without bold type."""
    [case] = [case for case in load_cases(CASES) if case.name == name]
    [source] = load_sources(case.source_toml, case.env).sources.values()
    now = NOW if case.now is None else case.now
    with redirect_stdout(io.StringIO()) as printed:
        print_explanation(preview(source, build_request(case), now, explain=True))
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())


def outputs() -> list[tuple[str, str]]:
    """Each case on the page, and the output that stands there."""
    return [(match[2], match[3]) for match in _OUTPUT.finditer(PAGE.read_text("utf-8"))]


@pytest.mark.parametrize(("name", "printed"), outputs(), ids=[name for name, _ in outputs()])
def test_the_page_prints_what_the_command_prints(name: str, printed: str) -> None:
    """An output on the page is that of the code as it is."""
    assert printed == explain(name), "python -m tests.test_docs_reading writes it anew"


def test_every_output_is_checked() -> None:
    """The page has five outputs, and each of them belongs to a labelled submission."""
    assert len(outputs()) == PAGE.read_text("utf-8").count("```text") == 5


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    text = _OUTPUT.sub(lambda match: f"{match[1]}{explain(match[2])}{match[4]}", text)
    PAGE.write_text(text, "utf-8")

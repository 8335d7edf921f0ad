"""Exports: nothing a spreadsheet would run, nothing that breaks the table, nothing lost."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ops.export import (
    BOM,
    COLUMNS,
    FORMULA_STARTS,
    ExportRow,
    escape_formula,
    write_csv,
    write_jsonl,
)
from service.ops.schemas import Item
from worker.contract import State

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("https://evil.example","x")',
    "＝1+1",
    "＋1",
    "－1",
    "＠A1",
    "−1",
]
BEFORE = ["", " ", "   ", "\t", "\r", "\n", "\r\n", "\v", "\f", "\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}", "\N{WORD JOINER}",
          "\N{ZERO WIDTH NO-BREAK SPACE}", "\N{IDEOGRAPHIC SPACE}", "\N{EM SPACE}",
          "\N{RIGHT-TO-LEFT OVERRIDE}", "\x00", "\x1f",
          "\N{SOFT HYPHEN}", " \N{NO-BREAK SPACE}\t\N{ZERO WIDTH JOINER}"]  # fmt: skip


def test_formulas_are_made_inert() -> None:
    """Whatever invisible stands before it, a cell that a spreadsheet could run begins with an
    apostrophe.
    """
    for formula in FORMULAS:
        for before in BEFORE:
            assert escape_formula(before + formula) == "'" + before + formula


@pytest.mark.parametrize("text", ["\tx", "\rx", "\nx", " \nx", "\N{NO-BREAK SPACE}\tx"])
def test_cells_that_begin_with_a_break_are_made_inert(text: str) -> None:
    """A tab or a line's end at the front moves what follows into a cell of its own in some
    programs.
    """
    assert escape_formula(text) == "'" + text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ada",
        "a=b",
        "1+1",
        "5",
        "ada@example.com",
        " Ada",
        "'quoted",
        "1-2",
        "\N{NO-BREAK SPACE}x",
    ],
)
def test_harmless_cells_stay_as_they_are(text: str) -> None:
    """What no program runs is not touched."""
    assert escape_formula(text) == text


@pytest.mark.parametrize(
    ("value", "cell"), [(None, ""), (5, "5"), (-5, "'-5"), (True, "True"), (State.DEAD, "dead")]
)
def test_other_values(value: object, cell: str) -> None:
    """Values that are no text are written as text."""
    assert escape_formula(value) == cell


def line(**lead: Any) -> ExportRow:
    item = Item(
        id="01M811DCZAQ26KZXKTYW5S19CC", source="contact", state=State.DEAD, result=None, who="=A…",
        campaign=None, attempts=1,
        received_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z", next_at=None,
        cause="c1",
    )  # fmt: skip
    return ExportRow(item, lead or None)


def rows(*lines: ExportRow, bom: bool = False) -> list[dict[str, str]]:
    raw = b"".join(write_csv([list(lines)], bom=bom))
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))


@given(st.text(), st.text())
def test_a_csv_is_read_as_it_was_written(name: str, message: str) -> None:
    """Quotes, commas and line ends in a cell are text of that cell; a row stays a row, whatever is
    in it.
    """
    [cells] = rows(line(name=name, message=message))
    written = (name + message).encode("utf-8", "replace").decode()
    read = cells["lead_name"].removeprefix("'" if escape_formula(name) != name else "") + cells[
        "lead_message"
    ].removeprefix("'" if escape_formula(message) != message else "")
    assert read == written
    assert all(not cell or cell[0] not in FORMULA_STARTS for cell in cells.values())


def test_the_csv_is_rfc_4180() -> None:
    """Commas, CRLF, doubled quotes, the head line first; a byte order mark only where it is asked
    for.
    """
    raw = b"".join(write_csv([[line(name='Ada "A", Lovelace')]]))
    head, body = raw.split(b"\r\n")[:2]
    assert head.decode().split(",") == list(COLUMNS)
    assert b'"Ada ""A"", Lovelace"' in body
    assert raw.endswith(b"\r\n")
    assert not raw.startswith(BOM)
    assert b"".join(write_csv([], bom=True)).startswith(b"\xef\xbb\xbfid,")


def test_the_lead_is_flattened() -> None:
    """Each canonical field has its column; the sum and the campaign theirs, click ids and answers
    as JSON.
    """
    [cells] = rows(
        line(
            email="a@b.example",
            value={"amount": 5, "currency": "EUR"},
            utm={"campaign": "spring"},
            answers={"Q": "=1"},
        ),
        bom=True,
    )
    assert cells["lead_email"] == "a@b.example"
    assert (cells["lead_value_amount"], cells["lead_value_currency"], cells["utm_campaign"]) == (
        "5",
        "EUR",
        "spring",
    )
    assert json.loads(cells["answers"]) == {"Q": "=1"}
    assert cells["who"] == "'=A…"


def test_json_lines_hold_item_and_lead() -> None:
    """Each line is one object, whatever line ends the lead holds; an erased one has no lead."""
    raw = b"".join(write_jsonl([[line(name="a\nb\u2028c")], [line()]]))
    cells = [json.loads(each) for each in raw.decode().split("\n") if each]
    assert [each["lead"] for each in cells] == [{"name": "a\nb\u2028c"}, None]
    assert cells[0]["id"] == "01M811DCZAQ26KZXKTYW5S19CC"


def test_an_export_is_made_piece_by_piece() -> None:
    """The first piece is there before the second batch is read."""

    def batches() -> Any:
        yield [line(name="Ada")]
        raise RuntimeError("read too early")

    pieces = write_csv(batches())
    assert next(pieces).startswith(b"id,")
    assert b"Ada" in next(pieces)
    with pytest.raises(RuntimeError):
        next(pieces)

"""The filtered list as a file: CSV without formulas, or JSON Lines, made in batches.

CSV is RFC 4180 in UTF-8: commas, CRLF, quotes where needed, a header line. It begins with a byte
order mark only on request: Excel needs it to recognise UTF-8, most programs take it for a part of
the first column's name.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct, structs

from service.ops import masking
from service.ops.items import build_item, read_quarantine_reasons
from service.ops.schemas import Item
from worker.contract import Lead, Money, Utm
from worker.lead.settings import LeadMapping
from worker.ledger import Ledger

BATCH_SIZE = 200
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
MEDIA_TYPES = {
    "csv": "text/csv; header=present; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
}

# What a spreadsheet may take for the beginning of a formula.
FORMULA_STARTS = frozenset("=+-@＝＋－＠﹢﹣﹦﹫−")
LINE_BREAKS = frozenset("\t\r\n\v\f")

NESTED_FIELDS = ("value", "utm", "click_ids", "answers", "name")
LEAD_COLUMNS = ("name", *(field for field in Lead.__struct_fields__ if field not in NESTED_FIELDS))
# The header of the CSV: an item of the list, then its lead; click ids and answers as JSON.
COLUMNS = (
    *Item.__struct_fields__,
    *(f"lead_{field}" for field in LEAD_COLUMNS),
    *(f"lead_value_{field}" for field in Money.__struct_fields__),
    *(f"utm_{field}" for field in Utm.__struct_fields__),
    "click_ids",
    "answers",
)


class ExportRow(Struct, frozen=True):
    """One submission. `lead` is None where the content is erased."""

    item: Item
    lead: dict[str, Any] | None


def read_export_rows(
    ledger: Ledger, ids: Iterable[str], mappings: Mapping[str, LeadMapping], *, reveal: bool
) -> Iterator[list[ExportRow]]:
    """Read these submissions in batches, each as it is then. Raises `StoreUnavailable`."""
    remaining = iter(ids)
    while batch := list(islice(remaining, BATCH_SIZE)):
        records = list(ledger.each_record(batch, raw=False))
        reasons = read_quarantine_reasons(ledger, records)
        yield [
            ExportRow(
                build_item(record, mappings, reveal=reveal, quarantined_for=reasons.get(record.id)),
                masking.mask_lead(record.lead, reveal=reveal) if record.lead is not None else None,
            )
            for record in records
        ]


def write_csv(batches: Iterable[Sequence[ExportRow]], *, bom: bool = False) -> Iterator[bytes]:
    """The file in pieces, header first."""
    yield (BOM if bom else b"") + _csv([COLUMNS])
    for batch in batches:
        yield _csv(_cells(line) for line in batch)


def write_jsonl(batches: Iterable[Sequence[ExportRow]]) -> Iterator[bytes]:
    """The file in pieces; each line is an item of the list with its `lead`."""
    encoder = msgspec.json.Encoder()
    for batch in batches:
        yield encoder.encode_lines(
            [structs.asdict(line.item) | {"lead": line.lead} for line in batch]
        )


def escape_formula(cell: object) -> str:
    """The text of a cell, with an apostrophe before what a spreadsheet might run."""
    text = "" if cell is None else str(cell)
    for char in text:
        if char in FORMULA_STARTS or char in LINE_BREAKS:
            return "'" + text
        if not char.isspace() and unicodedata.category(char) not in ("Cf", "Cc", "Mn"):
            break
    return text


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([escape_formula(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cells(row: ExportRow) -> Iterator[object]:
    lead = row.lead or {}
    yield from structs.astuple(row.item)
    yield from (lead.get(field) for field in LEAD_COLUMNS)
    for group, kind in (("value", Money), ("utm", Utm)):
        yield from (lead.get(group, {}).get(field) for field in kind.__struct_fields__)
    yield from (_json(lead.get(group)) for group in ("click_ids", "answers"))


def _json(value: Any) -> str | None:
    return msgspec.json.encode(value).decode() if value else None

"""Loads the cases and reads each with the product, in process, without Redis or network."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

import msgspec

from service.cli.preview import encode_as_sent
from service.intake.preview import preview
from service.sources.request import InboundRequest
from service.sources.source_file.loader import load_sources
from tests.corpus.score import Case, CaseScore, Reading, is_field, score

CASES = Path(__file__).with_name("cases")
# The arrival of a request whose case does not say: 2025-11-30.
NOW = 1_764_500_000.0


def load_cases(folder: Path = CASES) -> list[Case]:
    """All cases by name. Raises ValueError for a file that is no case."""
    return [_load_case(path) for path in sorted(folder.glob("*.json"))]


def read(case: Case) -> Reading:
    """Reads a case's request through the source of its `source_toml`."""
    [source] = load_sources(case.source_toml, case.env).sources.values()
    result = preview(source, build_request(case), NOW if case.now is None else case.now)
    return Reading(result.outcome.value, [event.lead for event in result.submissions])


def score_all(cases: Iterable[Case]) -> list[CaseScore]:
    return [score(case, read(case)) for case in cases]


def build_request(case: Case) -> InboundRequest:
    """The request as a server would pass it on."""
    sent = case.request
    headers = {name.lower(): value for name, value in (sent.get("headers") or {}).items()}
    if sent.get("content_type") is not None:
        headers = {"content-type": sent["content_type"], **headers}
    return InboundRequest(
        method=sent.get("method", "POST"),
        query=encode_as_sent(sent.get("query") or ""),
        headers=[(name, encode_as_sent(value)) for name, value in headers.items()],
        body=_body(sent.get("body_base64"), sent.get("body_text")),
        url=sent.get("url"),
    )


def _body(encoded: str | None, text: str | None) -> bytes:
    return (text or "").encode() if encoded is None else base64.b64decode(encoded, validate=True)


def _load_case(path: Path) -> Case:
    try:
        case = msgspec.json.decode(path.read_bytes(), type=Case)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if case.name != path.stem:
        raise ValueError(f"{path.name}: the case names itself {case.name!r}")
    for name in (*case.expected, *case.must_be_empty, *case.may):
        if not is_field(name):
            raise ValueError(f"{path.name}: expected a canonical field, got {name!r}")
    return case

"""What all searches share: the length of the term, the choice of fields, the shape of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.sandbox.checks import Call
from service.sandbox.company import Answer, Company
from service.sandbox.paging import page_of_hits
from service.sandbox.refusals import invalid


def require_long_enough(call: Call) -> None:
    """Raises `Refusal` (400) for a term under 2 characters, or under 1 when the match is exact."""
    least = 1 if call.query.get("exact_match") else 2
    if len(call.query["term"].strip()) < least:
        raise invalid(f'"term" length must be at least {least} characters long')


def hits_answer(
    call: Call, company: Company, kind: str, fields: tuple[str, ...], wanted: Callable[[dict[str, Any]], bool]
) -> Answer:
    """The page of hits of one kind, in the fields asked for (all by default)."""
    exact = call.query.get("exact_match", False)
    found = company.search.find(kind, call.query["term"], call.query.get("fields") or fields, exact=exact)
    items = [{"result_score": hit.score, "item": hit.item} for hit in found if wanted(hit.item)]
    page, additional = page_of_hits(items, call.query)
    return Answer({"items": page}, additional)

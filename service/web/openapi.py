"""Describes errors in the OpenAPI document: their schema, with one example for each kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Struct

from service.sources.request import FieldError
from service.web.problems import MEDIA_TYPE, PROBLEM_KINDS, HttpProblem, problem_document

EXAMPLE_REQUEST_ID = "4f1c9a7be05d28c36a91"


class Problem(Struct, frozen=True, kw_only=True):
    """An error as RFC 9457 has it; the service adds extension members where a client needs them.

    `type` is the address of the explanation, `instance` the request's id.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldError]


def problem_example(kind: str) -> dict[str, Any]:
    """The body of a typical problem of this kind."""
    return problem_document(HttpProblem(kind), EXAMPLE_REQUEST_ID)


def group_by_status(kinds: Iterable[str]) -> dict[int, list[str]]:
    """Group kinds of problem by status, which several may share."""
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(PROBLEM_KINDS[kind].status, []).append(kind)
    return dict(sorted(by_status.items()))


def describe_problems(kinds: Iterable[str]) -> str:
    """The description of a response that stands for several kinds of problem."""
    return "; or: ".join(PROBLEM_KINDS[kind].title for kind in kinds) + "."


def problem_responses(*kinds: str) -> dict[int, ResponseSpec]:
    """Describe the problems that a typed handler may answer with, by status."""
    return {
        status: ResponseSpec(
            Problem,
            generate_examples=False,
            description=describe_problems(same_status),
            media_type=MEDIA_TYPE,
            examples=[
                Example(id=kind, summary=PROBLEM_KINDS[kind].title, value=problem_example(kind))
                for kind in same_status
            ],
        )
        for status, same_status in group_by_status(kinds).items()
    }

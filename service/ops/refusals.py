"""What the engine and the actions refuse, as an answer of HTTP: one place for the API and the
pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.ops.actions import EmptyFilter, NotFound, NothingToMend
from service.ops.filters import FilterError
from service.sources.request import FieldError
from service.web.problems import HttpProblem
from worker.errors import NotAllowed, Overtaken, StoreUnavailable
from worker.lead.edit import EditError
from worker.ledger.bulk import CountDiffers

RETRY_SECONDS = "5"


def problem_of(error: Exception) -> HttpProblem | None:
    """The answer to an error raised on purpose; None for any other."""
    return next(
        (answer(error) for kind, answer in _ANSWERS.items() if isinstance(error, kind)), None
    )


def _overtaken(error: Any) -> HttpProblem:
    return HttpProblem(
        "state",
        "Somebody changed it since you looked: look again.",
        extensions={"state": error.state},
    )


def _not_allowed(error: Any) -> HttpProblem:
    return HttpProblem(
        "state", f"It is {error.state}: cannot {error.action}.", extensions={"state": error.state}
    )


def _edit(error: Any) -> HttpProblem:
    return HttpProblem(
        "value",
        errors=[FieldError(field, message) for field, message in sorted(error.faults.items())],
    )


def _count(error: Any) -> HttpProblem:
    return HttpProblem("count", f"{error}.", extensions={"count": error.count})


_ANSWERS: dict[type[Exception], Callable[[Any], HttpProblem]] = {
    NotFound: lambda error: HttpProblem("not-found", f"{error}."),
    Overtaken: _overtaken,
    NotAllowed: _not_allowed,
    NothingToMend: lambda error: HttpProblem("state", f"{error}."),
    EditError: _edit,
    EmptyFilter: lambda _: HttpProblem("filter"),
    FilterError: lambda error: HttpProblem(
        "value", errors=[FieldError(f"filter.{error.field}", str(error))]
    ),
    CountDiffers: _count,
    StoreUnavailable: lambda _: HttpProblem(
        "not-stored",
        "Redis cannot be asked just now; nothing was changed.",
        headers={"Retry-After": RETRY_SECONDS},
    ),
}
"""A class stands before those it descends from."""

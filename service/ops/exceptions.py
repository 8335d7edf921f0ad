"""The refusals of operators' queries and actions, and the HTTP response to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.ops.search_index import Loading
from service.sources.request import FieldError
from service.web.problems import HttpProblem
from worker.errors import LeadlineError, NotAllowed, Overtaken, StoreUnavailable
from worker.lead.edit import EditError
from worker.ledger.bulk import CountDiffers

RETRY_AFTER_SECONDS = 5
LOADING_RETRY_AFTER_SECONDS = 2


class NotFound(LeadlineError):
    """Nothing has this id."""

    code = "not-found"


class NothingToEdit(LeadlineError):
    """The submission's content is erased, or encrypted under a key that this process lacks."""

    code = "nothing-to-edit"


class EmptyFilter(LeadlineError):
    """A bulk action does not say which submissions it is for."""

    code = "filter"


def to_problem(error: Exception, method: str = "POST") -> HttpProblem | None:
    """Find the answer to an error that was raised on purpose; None for any other error.

    `method` is the request's: while Redis is away, the answer to a GET says that it cannot be
    answered, and that to a change says that nothing was changed.
    """
    if isinstance(error, StoreUnavailable) and not isinstance(error, Loading) and method == "GET":
        return HttpProblem("away", headers=_retry_after(RETRY_AFTER_SECONDS))
    return next(
        (build(error) for kind, build in _PROBLEMS.items() if isinstance(error, kind)), None
    )


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def _overtaken(error: Any) -> HttpProblem:
    return HttpProblem(
        "state",
        "Somebody else has changed it; reload it.",
        extensions={"state": error.state},
    )


def _not_allowed(error: Any) -> HttpProblem:
    return HttpProblem(
        "state", f"It is {error.state}: cannot {error.action}.", extensions={"state": error.state}
    )


def _wrong_edit(error: Any) -> HttpProblem:
    return HttpProblem(
        "value",
        errors=[FieldError(field, message) for field, message in sorted(error.faults.items())],
    )


def _count_differs(error: Any) -> HttpProblem:
    return HttpProblem("count", f"{error}.", extensions={"count": error.count})


def _loading(error: Any) -> HttpProblem:
    return HttpProblem(
        "loading",
        f"{error.loaded} of {error.total} submissions are read so far.",
        headers=_retry_after(LOADING_RETRY_AFTER_SECONDS),
    )


def _not_stored(_: Any) -> HttpProblem:
    return HttpProblem(
        "not-stored",
        "Redis does not respond; nothing was changed.",
        headers=_retry_after(RETRY_AFTER_SECONDS),
    )


# A class stands before its base classes.
_PROBLEMS: dict[type[Exception], Callable[[Any], HttpProblem]] = {
    NotFound: lambda error: HttpProblem("not-found", f"{error}."),
    Overtaken: _overtaken,
    NotAllowed: _not_allowed,
    NothingToEdit: lambda error: HttpProblem("state", f"{error}."),
    EditError: _wrong_edit,
    EmptyFilter: lambda _: HttpProblem("filter"),
    CountDiffers: _count_differs,
    Loading: _loading,
    StoreUnavailable: _not_stored,
}

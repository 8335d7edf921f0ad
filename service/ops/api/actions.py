"""`POST /ops/api/...`: what operators change. The audit trail records every change."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, Struct

from service.ops.api.queries import (
    ActionsOfOperators,
    BulkId,
    IsRevealed,
    Queries,
    SubmissionId,
    User,
    revealed,
)
from service.ops.dry_run import DryRunResult
from service.ops.filters import Filter
from service.ops.schemas import BulkStatus
from service.overview import Paused
from service.web.openapi import problem_responses
from worker.contract import State
from worker.erasure.erasure import Erasure

CHANGE_PROBLEMS = (
    "unreadable", "not-signed-in", "forbidden", "cross-site", "not-found", "too-slow", "too-large",
    "value", "locked-out", "not-stored",
)  # fmt: skip

# No store holds more submissions; what is beyond could not be stored as a number either.
MAX_COUNT = 2**53

CauseId = Annotated[str, PathParameter(name="id", description="A cause's id.")]


class NoBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object, or no body at all."""


class EditBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`edit` maps canonical fields, such as `email`, `utm_source` or `answers.Team`, to new values.

    An empty value removes the field.
    """

    edit: dict[str, Any] | None = None


class DiscardBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the submission is given up, for the audit trail."""

    reason: str = ""


class PauseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why deliveries stop, for those who find them stopped."""

    reason: str = ""


class EraseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The e-mail address whose submissions are erased."""

    email: str


class BulkFilter(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The filter of a list; any part may be left out, but not all."""

    state: str | None = None
    source: str | None = None
    cause: str | None = None
    q: str | None = None


class BulkBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`expect` is the count that was seen; if it differs by now, nothing happens."""

    action: Literal["retry", "discard", "accept"]
    expect: Annotated[int, Meta(ge=-MAX_COUNT, le=MAX_COUNT)]
    filter: BulkFilter = BulkFilter()
    edit: dict[str, Any] | None = None


class StateChange(Struct, frozen=True):
    """A submission's new state."""

    id: str
    state: State


class CauseChange(Struct, frozen=True):
    """Whether a cause is ignored from now on."""

    id: str
    ignored: bool


class PauseStatus(Struct, frozen=True):
    """What holds the deliveries up now, or null."""

    paused: Paused | None


class BulkStarted(Struct, frozen=True):
    """A bulk action's id and how many submissions it has."""

    id: str
    count: int


@post(
    "/submissions/{id:str}/retry",
    operation_id="retry",
    summary="Deliver a dead letter again",
    description="With `edit`, its fields are changed first.",
    status_code=200,
    responses=problem_responses("state", *CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def retry(
    actions: ActionsOfOperators, user: User, submission_id: SubmissionId, data: JSONBody[EditBody]
) -> StateChange:
    return StateChange(submission_id, actions.retry(submission_id, user.name, data.edit))


@post(
    "/submissions/{id:str}/accept",
    operation_id="accept",
    summary="Deliver what is in quarantine",
    status_code=200,
    responses=problem_responses("state", *CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def accept(
    actions: ActionsOfOperators, user: User, submission_id: SubmissionId, data: JSONBody[NoBody]
) -> StateChange:
    return StateChange(submission_id, actions.accept(submission_id, user.name))


@post(
    "/submissions/{id:str}/discard",
    operation_id="discard",
    summary="Discard a dead letter or a quarantined submission",
    status_code=200,
    responses=problem_responses("state", *CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def discard(
    actions: ActionsOfOperators,
    user: User,
    submission_id: SubmissionId,
    data: JSONBody[DiscardBody],
) -> StateChange:
    return StateChange(submission_id, actions.discard(submission_id, user.name, data.reason))


@post(
    "/submissions/{id:str}/undo",
    operation_id="undo",
    summary="Take a discard back",
    status_code=200,
    responses=problem_responses("state", *CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def undo(
    actions: ActionsOfOperators, user: User, submission_id: SubmissionId, data: JSONBody[NoBody]
) -> StateChange:
    return StateChange(submission_id, actions.undo(submission_id, user.name))


@post(
    "/submissions/{id:str}/dry-run",
    operation_id="dry-run-edited",
    summary="What a retry with this edit would do now",
    description="It changes nothing, and is for those who may save the edit.",
    status_code=200,
    dependencies=revealed(),
    responses=problem_responses(*CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def dry_run_edited(
    queries: Queries, submission_id: SubmissionId, is_revealed: IsRevealed, data: JSONBody[EditBody]
) -> DryRunResult:
    return queries.dry_run(submission_id, data.edit, reveal=is_revealed)


@post(
    "/causes/{id:str}/ignore",
    operation_id="cause-ignore",
    summary="Ignore a cause",
    description="It reappears as soon as another lead fails for it.",
    status_code=200,
    responses=problem_responses(*CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def ignore_cause(
    actions: ActionsOfOperators, user: User, cause_id: CauseId, data: JSONBody[NoBody]
) -> CauseChange:
    actions.ignore_cause(cause_id, user.name)
    return CauseChange(cause_id, True)


@post(
    "/causes/{id:str}/reopen",
    operation_id="cause-reopen",
    summary="Stop ignoring a cause",
    status_code=200,
    responses=problem_responses(*CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def reopen_cause(
    actions: ActionsOfOperators, user: User, cause_id: CauseId, data: JSONBody[NoBody]
) -> CauseChange:
    actions.reopen_cause(cause_id, user.name)
    return CauseChange(cause_id, False)


@post(
    "/pause",
    operation_id="pause",
    summary="Stop delivering",
    description="Submissions are still accepted.",
    status_code=200,
    responses=problem_responses(*CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def pause(actions: ActionsOfOperators, user: User, data: JSONBody[PauseBody]) -> PauseStatus:
    return PauseStatus(actions.pause(user.name, data.reason))


@post(
    "/resume",
    operation_id="resume",
    summary="Deliver again",
    description="Waiting leads go first.",
    status_code=200,
    responses=problem_responses(*CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def resume(actions: ActionsOfOperators, user: User, data: JSONBody[NoBody]) -> PauseStatus:
    return PauseStatus(actions.resume(user.name))


@post(
    "/erase",
    operation_id="erase",
    summary="Erase everything about an e-mail address",
    description=(
        "It answers once the bytes are gone from disk. What Pipedrive has is listed, for a person"
        " to remove there."
    ),
    status_code=200,
    responses=problem_responses(*CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def erase(actions: ActionsOfOperators, user: User, data: JSONBody[EraseBody]) -> Erasure:
    return actions.erase(data.email, user.name)


@post(
    "/bulk",
    operation_id="bulk",
    summary="Retry, accept or discard all that match",
    description=(
        "A bulk action that delivers lets three go first. `expect` is the count that was seen;"
        " another one is refused."
    ),
    status_code=202,
    responses=problem_responses("filter", "count", *CHANGE_PROBLEMS),
    opt={"parameter_problem": "value", "parameter_prefix": "filter."},
    sync_to_thread=True,
)
def start_bulk(actions: ActionsOfOperators, user: User, data: JSONBody[BulkBody]) -> BulkStarted:
    filter = Filter.parse(msgspec.to_builtins(data.filter))
    bulk = actions.start_bulk(data.action, filter, data.expect, user.name, data.edit)
    return BulkStarted(bulk.id, bulk.count)


@post(
    "/bulk/{id:str}/stop",
    operation_id="bulk-stop",
    summary="Stop a bulk action",
    description="What it did not begin stays as it is.",
    status_code=200,
    responses=problem_responses(*CHANGE_PROBLEMS),
    sync_to_thread=True,
)
def stop_bulk(
    actions: ActionsOfOperators, user: User, bulk_id: BulkId, data: JSONBody[NoBody]
) -> BulkStatus:
    return actions.stop_bulk(bulk_id, user.name)


HANDLERS = [
    retry,
    accept,
    discard,
    undo,
    dry_run_edited,
    ignore_cause,
    reopen_cause,
    pause,
    resume,
    erase,
    start_bulk,
    stop_bulk,
]

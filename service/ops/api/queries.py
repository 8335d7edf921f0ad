"""`GET /ops/api/...`: what any holder of a token may read, masked unless an operator reveals it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Annotated, Any

from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

from service.ops import export
from service.ops.actions import Actions
from service.ops.activity import MAX_HOURS, Activity
from service.ops.dry_run import AccountDrift, DryRunResult
from service.ops.filters import MAX_VALUE_CHARS, Filter
from service.ops.items import read_audit_page
from service.ops.queries import MAX_PAGE_SIZE, SubmissionQueries
from service.ops.schemas import (
    AuditRow,
    BulkStatus,
    CampaignReport,
    CauseCard,
    Detail,
    Item,
    Overview,
    Page,
)
from service.web.openapi import problem_responses
from service.web.problems import HttpProblem
from worker.contract import State
from worker.settings.types import OpsToken

DEFAULT_PAGE_SIZE = 50
DEFAULT_HOURS = 24
DEFAULT_AUDIT_PAGE_SIZE = 100
MAX_AUDIT_PAGE_SIZE = 1000
MAX_BULKS = 100

READ_PROBLEMS = ("not-signed-in", "not-found", "locked-out", "away", "loading")

SubmissionId = Annotated[str, PathParameter(name="id", description="A submission's id.")]
BulkId = Annotated[str, PathParameter(name="id", description="A bulk action's id.")]
Cursor = Annotated[str | None, QueryParameter(description="`next` of the page before.")]

# What the router and the handlers' own dependencies provide.
Queries = NamedDependency[SubmissionQueries]
ActionsOfOperators = NamedDependency[Actions]
User = NamedDependency[OpsToken]
IsRevealed = NamedDependency[bool]


async def filter_from_query(
    user: User,
    actions: ActionsOfOperators,
    states: Annotated[
        str | None,
        QueryParameter(
            name="state",  # whose own name Litestar reserves
            schema_extra={"max_length": MAX_VALUE_CHARS},
            description=f"One or several, joined by commas: {', '.join(State)}.",
        ),
    ] = None,
    source: Annotated[
        str | None, QueryParameter(max_length=MAX_VALUE_CHARS, description="A source's name.")
    ] = None,
    cause: Annotated[
        str | None,
        QueryParameter(
            max_length=MAX_VALUE_CHARS, description="A cause's id, or the code of causes."
        ),
    ] = None,
    q: Annotated[
        str | None,
        QueryParameter(
            max_length=MAX_VALUE_CHARS,
            description=(
                'Words, "phrases", `source:`, `cause:`, `state:`, `utm_campaign:`, `email:`,'
                " `company:`; all must match."
            ),
        ),
    ] = None,
) -> Filter:
    """Build the filter from query parameters; a viewer's searches are recorded.

    Raises `FilterError`.
    """
    texts = {"state": states, "source": source, "cause": cause, "q": q}
    filter = Filter.parse({name: text for name, text in texts.items() if text is not None})
    if user.role == "operator":
        return filter
    if filter.q:
        await asyncio.to_thread(actions.record_search, filter, user.name)
    return filter.masked()


FILTER = {"filter": Provide(filter_from_query)}


def revealed(target: str | None = None) -> dict[str, Provide]:
    """Provide `is_revealed`: whether personal data are shown.

    They are if an operator asks for them. The audit trail records that first, under `target` or the
    submission's id.
    """

    async def provide_is_revealed(
        request: Request[Any, Any, Any],
        user: User,
        actions: ActionsOfOperators,
        reveal: Annotated[
            bool,
            QueryParameter(
                name="reveal",
                description=("1: with personal data. For operators; it goes into the audit trail."),
            ),
        ] = False,
    ) -> bool:
        if not reveal:
            return False
        if user.role != "operator":
            raise HttpProblem("forbidden")
        await asyncio.to_thread(
            actions.record_reveal, target or request.path_params["id"], user.name
        )
        return True

    return {"is_revealed": Provide(provide_is_revealed)}


@get(
    "/overview",
    operation_id="overview",
    summary="How things stand",
    responses=problem_responses(*READ_PROBLEMS),
    sync_to_thread=True,
)
def get_overview(queries: Queries) -> Overview:
    return queries.overview()


@get(
    "/causes",
    operation_id="causes",
    summary="Dead letters by cause",
    responses=problem_responses("unreadable", *READ_PROBLEMS),
    sync_to_thread=True,
)
def list_causes(
    queries: Queries,
    ignored: Annotated[bool, QueryParameter(description="0 leaves ignored causes out.")] = True,
) -> Page[CauseCard]:
    return queries.causes(ignored=ignored)


@get(
    "/chart",
    operation_id="chart",
    summary="Received and delivered by hour",
    responses=problem_responses("unreadable", *READ_PROBLEMS),
    sync_to_thread=True,
)
def get_activity(
    queries: Queries,
    hours: Annotated[int, QueryParameter(ge=1, le=MAX_HOURS)] = DEFAULT_HOURS,
) -> Activity:
    return queries.activity(hours)


@get(
    "/attribution",
    operation_id="attribution",
    summary="Leads by source, campaign and channel, and what became of them",
    responses=problem_responses(*READ_PROBLEMS),
    sync_to_thread=True,
)
def get_attribution(queries: Queries) -> CampaignReport:
    return queries.attribution()


@get(
    "/submissions",
    operation_id="submissions",
    summary="Submissions, the latest change first",
    dependencies=FILTER | revealed("a list"),
    responses=problem_responses("unreadable", "forbidden", *READ_PROBLEMS),
    sync_to_thread=True,
)
def list_submissions(
    queries: Queries,
    filter: NamedDependency[Filter],
    is_revealed: IsRevealed,
    cursor: Cursor = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
) -> Page[Item]:
    return queries.submissions(filter, cursor=cursor or None, limit=limit, reveal=is_revealed)


@get(
    "/submissions/{id:str}",
    operation_id="submission",
    summary="One submission in full",
    dependencies=revealed(),
    responses=problem_responses("unreadable", "forbidden", *READ_PROBLEMS),
    sync_to_thread=True,
)
def get_submission(
    queries: Queries, submission_id: SubmissionId, is_revealed: IsRevealed
) -> Detail:
    return queries.submission(submission_id, reveal=is_revealed)


@get(
    "/submissions/{id:str}/dry-run",
    operation_id="dry-run",
    summary="What a retry would do now",
    dependencies=revealed(),
    responses=problem_responses("unreadable", "forbidden", *READ_PROBLEMS),
    sync_to_thread=True,
)
def dry_run(queries: Queries, submission_id: SubmissionId, is_revealed: IsRevealed) -> DryRunResult:
    return queries.dry_run(submission_id, reveal=is_revealed)


@get(
    "/drift",
    operation_id="drift",
    summary="Names in the source file that the account lacks",
    responses=problem_responses(*READ_PROBLEMS),
    sync_to_thread=True,
)
def get_drift(queries: Queries) -> AccountDrift:
    return queries.drift()


@get(
    "/export.csv",
    operation_id="export-csv",
    summary="The list as CSV without formulas",
    dependencies=FILTER | revealed("an export as csv"),
    media_type=export.MEDIA_TYPES["csv"],
    responses=problem_responses("unreadable", "forbidden", *READ_PROBLEMS),
)
async def export_csv(
    queries: Queries,
    filter: NamedDependency[Filter],
    is_revealed: IsRevealed,
    bom: Annotated[
        bool, QueryParameter(description="1: begin with a byte order mark, for Excel.")
    ] = False,
) -> Stream:
    def start() -> Iterator[bytes]:
        return export.write_csv(queries.export_rows(filter, reveal=is_revealed), bom=bom)

    return await _stream_file("csv", start)


@get(
    "/export.jsonl",
    operation_id="export-jsonl",
    summary="The list as JSON Lines, with the leads",
    dependencies=FILTER | revealed("an export as jsonl"),
    media_type=export.MEDIA_TYPES["jsonl"],
    responses=problem_responses("unreadable", "forbidden", *READ_PROBLEMS),
)
async def export_jsonl(
    queries: Queries, filter: NamedDependency[Filter], is_revealed: IsRevealed
) -> Stream:
    def start() -> Iterator[bytes]:
        return export.write_jsonl(queries.export_rows(filter, reveal=is_revealed))

    return await _stream_file("jsonl", start)


@get(
    "/bulk",
    operation_id="bulks",
    summary="Bulk actions, the newest first",
    responses=problem_responses(*READ_PROBLEMS),
    sync_to_thread=True,
)
def list_bulks(actions: ActionsOfOperators) -> Page[BulkStatus]:
    bulks = actions.newest_bulks(MAX_BULKS)
    return Page(bulks, None, len(bulks))


@get(
    "/bulk/{id:str}",
    operation_id="bulk-progress",
    summary="The progress of a bulk action",
    responses=problem_responses(*READ_PROBLEMS),
    sync_to_thread=True,
)
def get_bulk(actions: ActionsOfOperators, bulk_id: BulkId) -> BulkStatus:
    return actions.bulk_status(bulk_id)


@get(
    "/audit",
    operation_id="audit",
    summary="Who did what, the newest first",
    responses=problem_responses("value", *READ_PROBLEMS),
    # A wrong parameter has always been a 422 here; elsewhere it is a 400.
    opt={"parameter_problem": "value"},
    sync_to_thread=True,
)
def list_audit(
    actions: ActionsOfOperators,
    cursor: Cursor = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_AUDIT_PAGE_SIZE)] = DEFAULT_AUDIT_PAGE_SIZE,
) -> Page[AuditRow]:
    return read_audit_page(actions.audit, cursor or None, limit)


async def _stream_file(form: str, start: Callable[[], Iterator[bytes]]) -> Stream:
    """Stream an export.

    Its head and first rows are made before the response begins, so that a refusal is a response of
    its own and not half a file.
    """

    def make_head() -> tuple[list[bytes], Iterator[bytes]]:
        pieces = start()
        return list(islice(pieces, 2)), pieces

    head, rest = await asyncio.to_thread(make_head)
    disposition = f'attachment; filename="leadline.{form}"'
    return Stream(
        _stream_pieces(head, rest),
        media_type=export.MEDIA_TYPES[form],
        headers={"Content-Disposition": disposition},
    )


async def _stream_pieces(head: list[bytes], rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in head:
        yield piece
    while following := await asyncio.to_thread(lambda: list(islice(rest, 1))):
        yield following[0]


HANDLERS = [
    get_overview,
    list_causes,
    get_activity,
    get_attribution,
    list_submissions,
    get_submission,
    dry_run,
    get_drift,
    export_csv,
    export_jsonl,
    list_bulks,
    get_bulk,
    list_audit,
]

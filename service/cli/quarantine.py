"""`leadline quarantine …`: what looked like spam waits here until a person decides."""

from __future__ import annotations

import click
from msgspec import structs

from service.cli import decisions, output, queries, setup
from service.cli.decisions import BulkRequest
from service.ops.items import quarantine_reason
from worker.contract import State


@click.group()
def quarantine() -> None:
    """Suspected spam: list, accept, discard."""


@quarantine.command("list")
@click.option("--source", help="Only this source.")
@click.option("--q", help="Only what this finds, as in the console's search box.")
@queries.limit_option
@output.json_option
def list_(source: str | None, q: str | None, limit: int, as_json: bool) -> None:
    """List the newest submissions in quarantine and why they are there. Names are masked."""
    with queries.open_session([State.QUARANTINED]) as session:
        filter = queries.build_filter(source=source, q=q)
        page = queries.list_newest(session.queries, filter, limit)
        reasons = {
            item.id: quarantine_reason(session.ledger.timeline(item.id)) for item in page.items
        }
    if as_json:
        items = [structs.asdict(item) | {"why": reasons[item.id]} for item in page.items]
        output.print_json({"items": items, "next": page.next, "total": page.total})
        return
    output.print_table(
        ["id", "source", "who", "since", "reason"],
        [
            (item.id, item.source, item.who, item.updated_at, reasons[item.id])
            for item in page.items
        ],
        title=f"Quarantine ({len(page.items)} of {page.total})",
    )


@quarantine.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
def accept(submission_ids: tuple[str, ...], request: BulkRequest) -> None:
    """Deliver what is not spam: some by id, or all that match.

    Of all that match, three are tried first; if they fail, the rest stays as it is.
    """
    with decisions.open_actions([State.QUARANTINED]) as actions:
        filter = decisions.requested_filter(submission_ids, State.QUARANTINED, request)
        if filter:
            decisions.run_bulk(actions, "accept", filter, request)
        else:
            by = setup.operator_name()
            decisions.apply_to_each(submission_ids, lambda one: actions.accept(one, by))


@quarantine.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
@click.option("--reason", default="spam", help="Kept in the timeline of those named by id.")
def discard(submission_ids: tuple[str, ...], request: BulkRequest, reason: str) -> None:
    """Give up spam: some by id, or all that match. `dead undo` brings it back."""
    with decisions.open_actions([State.QUARANTINED]) as actions:
        filter = decisions.requested_filter(submission_ids, State.QUARANTINED, request)
        if filter:
            decisions.run_bulk(actions, "discard", filter, request)
        else:
            by = setup.operator_name()
            decisions.apply_to_each(submission_ids, lambda one: actions.discard(one, by, reason))

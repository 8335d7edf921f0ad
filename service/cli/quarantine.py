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
@click.option("--source", help="Only of this source.")
@click.option("--q", help="Only what this search finds, as in the console's search box.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@output.json_option
def list_(source: str | None, q: str | None, limit: int, as_json: bool) -> None:
    """The newest submissions in quarantine and why they are there. Names are masked."""
    with queries.open_session([State.QUARANTINED]) as desk:
        page = queries.newest(desk.queries, queries.build_filter(source=source, q=q), limit)
        why = {
            each.id: quarantine_reason(desk.store.ledger.timeline(each.id)) for each in page.items
        }
    if as_json:
        items = [structs.asdict(each) | {"why": why[each.id]} for each in page.items]
        output.print_json({"items": items, "next": page.next, "total": page.total})
        return
    output.table(
        f"Quarantine ({len(page.items)} of {page.total})",
        ["id", "source", "who", "since", "why"],
        [(each.id, each.source, each.who, each.updated_at, why[each.id]) for each in page.items],
    )


@quarantine.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
def accept(submission_ids: tuple[str, ...], asked: BulkRequest) -> None:
    """No spam after all: deliver; some by id, or all that match, of which three go first."""
    with decisions.open_actions([State.QUARANTINED]) as desk:
        wanted = decisions.requested_filter(submission_ids, State.QUARANTINED, asked)
        if wanted:
            decisions.run_bulk(desk, "accept", wanted, asked)
        else:
            decisions.apply_to_each(
                submission_ids, lambda name: desk.accept(name, setup.operator_name())
            )


@quarantine.command()
@click.argument("submission_ids", nargs=-1)
@decisions.bulk_options
def discard(submission_ids: tuple[str, ...], asked: BulkRequest) -> None:
    """Spam indeed: give it up; some by id, or all that match."""
    with decisions.open_actions([State.QUARANTINED]) as desk:
        wanted = decisions.requested_filter(submission_ids, State.QUARANTINED, asked)
        if wanted:
            decisions.run_bulk(desk, "discard", wanted, asked)
        else:
            decisions.apply_to_each(
                submission_ids, lambda name: desk.discard(name, setup.operator_name(), "spam")
            )

"""`leadline quarantine …`: what looked like spam waits here until a person decides."""

from __future__ import annotations

import click
from msgspec import structs

from service.cli import decisions, output, queries, setup
from service.cli.decisions import Asked
from service.ops.items import held_as
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
    with queries.opened([State.QUARANTINED]) as desk:
        page = queries.first(desk.reader, queries.filter_of(source=source, q=q), limit)
        why = {each.id: held_as(desk.store.ledger.timeline(each.id)) for each in page.items}
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
@decisions.many
def accept(submission_ids: tuple[str, ...], asked: Asked) -> None:
    """No spam after all: deliver; some by id, or all that match, of which three go first."""
    with decisions.desk([State.QUARANTINED]) as desk:
        wanted = decisions.chosen(submission_ids, State.QUARANTINED, asked)
        if wanted:
            decisions.bulk(desk, "accept", wanted, asked)
        else:
            decisions.each(submission_ids, lambda name: desk.accept(name, setup.operator()))


@quarantine.command()
@click.argument("submission_ids", nargs=-1)
@decisions.many
def discard(submission_ids: tuple[str, ...], asked: Asked) -> None:
    """Spam indeed: give it up; some by id, or all that match."""
    with decisions.desk([State.QUARANTINED]) as desk:
        wanted = decisions.chosen(submission_ids, State.QUARANTINED, asked)
        if wanted:
            decisions.bulk(desk, "discard", wanted, asked)
        else:
            decisions.each(
                submission_ids, lambda name: desk.discard(name, setup.operator(), "spam")
            )

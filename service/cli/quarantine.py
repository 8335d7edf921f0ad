"""`leadline quarantine …`: what looked like spam waits here until a person decides."""

from __future__ import annotations

import click
from msgspec import structs

from service.cli import deciding, listed, show, start
from service.cli.deciding import Asked
from service.ops.items import held_as
from worker.contract import State


@click.group()
def quarantine() -> None:
    """Suspected spam: list, accept, discard."""


@quarantine.command("list")
@click.option("--source", help="Only of this source.")
@click.option("--q", help="Only what this search finds, as in the console's search box.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@show.json_option
def list_(source: str | None, q: str | None, limit: int, as_json: bool) -> None:
    """The newest submissions in quarantine and why they are there. Names are masked."""
    with listed.opened([State.QUARANTINED]) as desk:
        page = listed.first(desk.reader, listed.filter_of(source=source, q=q), limit)
        why = {each.id: held_as(desk.store.ledger.timeline(each.id)) for each in page.items}
    if as_json:
        items = [structs.asdict(each) | {"why": why[each.id]} for each in page.items]
        show.print_json({"items": items, "next": page.next, "total": page.total})
        return
    show.table(
        f"Quarantine ({len(page.items)} of {page.total})",
        ["id", "source", "who", "since", "why"],
        [(each.id, each.source, each.who, each.updated_at, why[each.id]) for each in page.items],
    )


@quarantine.command()
@click.argument("submission_ids", nargs=-1)
@deciding.many
def accept(submission_ids: tuple[str, ...], asked: Asked) -> None:
    """No spam after all: deliver; some by id, or all that match, of which three go first."""
    with deciding.desk([State.QUARANTINED]) as desk:
        wanted = deciding.chosen(submission_ids, State.QUARANTINED, asked)
        if wanted:
            deciding.bulk(desk, "accept", wanted, asked)
        else:
            deciding.each(submission_ids, lambda name: desk.accept(name, start.operator()))


@quarantine.command()
@click.argument("submission_ids", nargs=-1)
@deciding.many
def discard(submission_ids: tuple[str, ...], asked: Asked) -> None:
    """Spam indeed: give it up; some by id, or all that match."""
    with deciding.desk([State.QUARANTINED]) as desk:
        wanted = deciding.chosen(submission_ids, State.QUARANTINED, asked)
        if wanted:
            deciding.bulk(desk, "discard", wanted, asked)
        else:
            deciding.each(submission_ids, lambda name: desk.discard(name, start.operator(), "spam"))

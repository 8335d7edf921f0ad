"""`leadline quarantine …`: what looked like spam waits here until a person decides."""

from __future__ import annotations

import click
from msgspec import structs

from service.cli import listed, show, start
from service.cli.dead import find
from worker.contract import State
from worker.errors import NotAllowed


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
        why = {each.id: desk.store.ledger.timeline(each.id)[-1].why for each in page.items}
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
@click.argument("submission_ids", nargs=-1, required=True)
def accept(submission_ids: tuple[str, ...]) -> None:
    """No spam after all: deliver."""
    with start.opened(start.settings()) as store:
        for submission_id in submission_ids:
            record = find(store.ledger, submission_id)
            if record.state is not State.QUARANTINED:
                raise NotAllowed(submission_id, record.state, "accept")
            click.echo(f"{submission_id} {store.sweeper.replay(submission_id, start.operator(), 'accepted', None)}")


@quarantine.command()
@click.argument("submission_ids", nargs=-1, required=True)
def discard(submission_ids: tuple[str, ...]) -> None:
    """Spam indeed: give it up."""
    with start.opened(start.settings()) as store:
        for submission_id in submission_ids:
            store.ledger.discard(submission_id, start.operator(), "spam")
            click.echo(f"{submission_id} {State.DISCARDED}")

"""`leadline quarantine …`: what looked like spam waits here until a person decides."""

from __future__ import annotations

import click

from service.cli import show, start
from service.cli.dead import find
from worker.contract import State
from worker.errors import NotAllowed


@click.group()
def quarantine() -> None:
    """Suspected spam: list, accept, discard."""


@quarantine.command("list")
@click.option("--limit", default=50, show_default=True)
@show.json_option
def list_(limit: int, as_json: bool) -> None:
    """The newest submissions in quarantine and why they are there."""
    with start.opened(start.settings()) as store:
        found = store.ledger.in_state(State.QUARANTINED, limit=limit)
        total = store.ledger.counts()[State.QUARANTINED]
        why = {record.id: store.ledger.timeline(record.id)[-1].why for record in found}
    rows = [(record.id, record.source, show.ago(record.updated_at), why[record.id]) for record in found]
    if as_json:
        items = [{"id": row[0], "source": row[1], "why": row[3]} for row in rows]
        show.print_json({"items": items, "next": None, "total": total})
        return
    show.table(f"Quarantine ({len(rows)} of {total})", ["id", "source", "since", "why"], rows)


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

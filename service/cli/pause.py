"""`leadline pause` and `leadline resume`: for everybody, until somebody says otherwise."""

from __future__ import annotations

import click

from service.cli import start


@click.command()
@click.argument("reason", default="")
def pause(reason: str) -> None:
    """Stop delivering; accepting goes on and what is in hand is finished."""
    with start.opened(start.settings()) as store:
        store.ledger.gate.pause(reason, start.operator())
    click.echo("paused: nothing is delivered until `leadline resume`")


@click.command()
def resume() -> None:
    """Deliver again, what waits first."""
    with start.opened(start.settings()) as store:
        before = store.ledger.gate.paused()
        store.ledger.gate.resume(start.operator())
    click.echo(f"resumed (was: {before.reason})" if before else "nothing was paused")

"""`leadline causes …`: what dead letters died of, and which of it needs nobody."""

from __future__ import annotations

import click

from service.cli import deciding, listed, show, start
from worker.contract import State


@click.group()
def causes() -> None:
    """Dead letters by cause: list, ignore, reopen."""


@causes.command("list")
@show.json_option
def list_(as_json: bool) -> None:
    """The most frequent first, those that are ignored last."""
    with listed.opened([State.DEAD]) as desk:
        page = desk.reader.causes()
    if as_json:
        show.print_json(page)
        return
    show.table(
        "Causes",
        ["id", "count", "what", "sources", "last seen", "mend", "ignored"],
        [
            (each.id, each.count, each.title, ", ".join(each.sources), each.last_seen, each.hint, "yes" * each.ignored)
            for each in page.items
        ],
    )


@causes.command()
@click.argument("cause_ids", nargs=-1, required=True)
def ignore(cause_ids: tuple[str, ...]) -> None:
    """What died of it needs nobody, until it comes back."""
    with deciding.desk([State.DEAD]) as desk:

        def ignored(cause: str) -> str:
            desk.ignore(cause, start.operator())
            return "ignored"

        deciding.each(cause_ids, ignored)


@causes.command()
@click.argument("cause_ids", nargs=-1, required=True)
def reopen(cause_ids: tuple[str, ...]) -> None:
    """It needs somebody again."""
    with deciding.desk([State.DEAD]) as desk:

        def reopened(cause: str) -> str:
            desk.unignore(cause, start.operator())
            return "open"

        deciding.each(cause_ids, reopened)

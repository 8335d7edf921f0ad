"""`leadline bulk …`: how the actions on many submissions go, whoever made them."""

from __future__ import annotations

import click

from service.cli import deciding, show, start


@click.group()
def bulk() -> None:
    """Actions on many: list, show, stop."""


@bulk.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Actions.")
@show.json_option
def list_(limit: int, as_json: bool) -> None:
    """The newest, with their outcomes."""
    with deciding.desk() as desk:
        found = desk.newest_bulks(limit)
    if as_json:
        show.print_json({"items": found, "next": None, "total": len(found)})
        return
    show.table(
        "Bulk actions",
        ["id", "action", "by", "at", "count", "delivered", "dead", "done", "skipped", "left", "stopped"],
        [
            (each.id, each.action, each.by, each.at, each.count, each.delivered, each.dead, each.done, each.skipped, each.left,
             each.stopped)
            for each in found
        ],
    )  # fmt: skip


@bulk.command("show")
@click.argument("bulk_id")
@show.json_option
def show_(bulk_id: str, as_json: bool) -> None:
    """How one goes."""
    with deciding.desk() as desk:
        found = desk.bulk_progress(bulk_id)
    if as_json:
        show.print_json(found)
    else:
        deciding.tell(found)


@bulk.command()
@click.argument("bulk_id")
def stop(bulk_id: str) -> None:
    """Leave what it did not begin as it is."""
    with deciding.desk() as desk:
        deciding.tell(desk.bulk_stop(bulk_id, start.operator()))

"""`leadline`: the table of commands. Each is imported only when it is called, so that `--help` is
quick.
"""

from __future__ import annotations

import importlib
import resource
from contextlib import suppress
from typing import ClassVar

import click

COMMANDS = {
    "up": ("service.cli.up", "Everything on this machine in the foreground."),
    "demo": (
        "service.cli.demo",
        "A sample of every kind through the whole road, shown as a table.",
    ),
    "serve": ("service.cli.run", "The HTTP service."),
    "work": ("service.cli.run", "The RQ workers."),
    "sandbox": ("service.cli.run", "A stand-in for Pipedrive on loopback."),
    "check": ("service.cli.check", "Checks source file, Redis and Pipedrive."),
    "preview": ("service.cli.preview", "What a raw body would become."),
    "sources": (
        "service.cli.sources",
        "Sources: list, show, and a new one from a captured request.",
    ),
    "backtest": (
        "service.cli.backtest",
        "The source file on disk over what is stored: what would change.",
    ),
    "attribution": (
        "service.cli.attribution",
        "How many leads carry channel, campaign and click id.",
    ),
    "status": ("service.cli.operate", "Queue, dead letters by cause, budget, workers."),
    "dead": ("service.cli.dead", "Dead letters: list, show, retry, edit, discard, export."),
    "quarantine": ("service.cli.quarantine", "Suspected spam: list, accept, discard."),
    "causes": ("service.cli.operate", "Dead letters by cause: list, ignore, reopen."),
    "bulk": ("service.cli.operate", "Actions on many: list, show, stop."),
    "audit": ("service.cli.operate", "Who did what to which submission."),
    "pause": ("service.cli.operate", "Stop delivering."),
    "resume": ("service.cli.operate", "Deliver again."),
    "erase": ("service.cli.erase", "Erase a person: records, spools, Redis's files."),
    "pipedrive": ("service.cli.pipedrive", "The Pipedrive operations by hand."),
}
"""Command -> the module that defines it, and its line of help."""


class LazyGroup(click.Group):
    """Loads a command's module when it is asked for."""

    table: ClassVar[dict[str, tuple[str, str]]] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.table:
            return None
        command: click.Command = getattr(importlib.import_module(self.table[name][0]), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leadline", prog_name="leadline")
def main() -> None:
    """Leadline takes web-form posts and webhooks and brings each to Pipedrive as one attributed
    lead.
    """
    _leave_no_core()


def _leave_no_core() -> None:
    """A core file would hold leads and secrets in clear. Whatever a command starts inherits this,
    Redis too.
    """
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()

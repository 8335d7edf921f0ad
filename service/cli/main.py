"""`leadline`: the table of commands. Each is imported only when it is called, to start quickly."""

from __future__ import annotations

import importlib
import resource
from contextlib import suppress
from typing import ClassVar

import click
from click.shell_completion import CompletionItem

# Command -> the module that defines it, and the first line of its help.
COMMANDS = {
    "up": ("service.cli.run", "Run everything on this machine in the foreground."),
    "demo": ("service.cli.demo", "Send a sample of every kind and show what arrives."),
    "serve": ("service.cli.run", "Run the HTTP service."),
    "work": ("service.cli.run", "Run the RQ workers."),
    "sandbox": ("service.cli.run", "Run a stand-in for Pipedrive on loopback."),
    "check": ("service.cli.check", "Check settings, source file, Redis and Pipedrive."),
    "preview": ("service.cli.preview", "Show what a raw body would become."),
    "sources": ("service.cli.sources", "Sources of leads: list, show, new."),
    "backtest": ("service.cli.backtest", "Show what the current source file would change."),
    "attribution": (
        "service.cli.attribution",
        "Count the leads that carry channel, campaign and click id.",
    ),
    "status": ("service.cli.operate", "Show queue, dead letters by cause, budget, workers."),
    "dead": (
        "service.cli.dead",
        "Dead letters: list, show, retry, edit, discard, undo, export.",
    ),
    "quarantine": ("service.cli.quarantine", "Suspected spam: list, accept, discard."),
    "causes": ("service.cli.operate", "Causes of dead letters: list, ignore, reopen."),
    "bulk": ("service.cli.operate", "Bulk actions: list, show, stop."),
    "audit": ("service.cli.operate", "Show who did what to which submission."),
    "pause": ("service.cli.operate", "Stop delivering."),
    "resume": ("service.cli.operate", "Deliver again."),
    "erase": (
        "service.cli.personal_data",
        "Erase a person from submissions, spools and Redis's files.",
    ),
    "keys": ("service.cli.personal_data", "Encryption keys: new, rotate."),
    "pipedrive": (
        "service.cli.pipedrive",
        "The Pipedrive account: leads, labels, sources, fields.",
    ),
}


class LazyGroup(click.Group):
    """Imports a command's module only when the command is called."""

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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands from the table: click would import every module for its help."""
        commands = [
            CompletionItem(name, help=line)
            for name, (_, line) in self.table.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leadline", prog_name="leadline")
def main() -> None:
    """Leadline delivers web-form posts and webhooks to Pipedrive as attributed leads."""
    _disable_core_dumps()


def _disable_core_dumps() -> None:
    """Core files would hold leads and secrets in plain text. Child processes inherit this."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()

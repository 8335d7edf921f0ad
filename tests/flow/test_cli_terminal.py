"""What all commands share: tables, questions, help, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest
import redis as redis_py
from click.testing import CliRunner

from service.cli import output
from service.cli.main import COMMANDS, main
from service.sandbox.fault_presets import PRESETS
from tests.flow.test_cli_deciding import Connect, Terminal
from tests.polling import eventually
from worker.contract import State
from worker.ledger.audit import AuditTrail

# Commands that print no table.
WITHOUT_JSON = {
    "up", "serve", "work", "sandbox", "pause", "resume", "dead retry", "dead edit",
    "dead discard", "dead undo", "dead export", "quarantine accept", "quarantine discard",
    "causes ignore", "causes reopen", "bulk stop", "keys new",
}  # fmt: skip


@pytest.fixture
def terminal(redis_url: str, tmp_path: Path, redis: redis_py.Redis, aredis: Connect) -> Terminal:
    return Terminal(redis_url, tmp_path, redis, aredis)


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Returns every command that is not a group, by its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        elif command:
            yield f"{prefix}{name}", command


def test_each_row_is_one_line(terminal: Terminal) -> None:
    """At any width, each row of every table is one line and no id is cut."""
    [dead] = terminal.put(1)
    terminal.put(1, State.QUARANTINED)
    terminal.run("quarantine", "discard", "--all", "--yes")
    [held] = terminal.put(1, State.QUARANTINED)
    cause, bulk = (
        json.loads(terminal.run(kind, "list", "--json").stdout)["items"][0]["id"]
        for kind in ("causes", "bulk")
    )
    tables: list[tuple[tuple[str, ...], str]] = [
        (("dead", "list"), dead),
        (("quarantine", "list"), held),
        (("causes", "list"), cause),
        (("bulk", "list"), bulk),
        (("audit",), bulk),
        (("status",), "dead"),
    ]
    for words, id in tables:
        assert [line for line in printed(terminal, words) if id in line.split()], words
        for width in ("80", "200"):
            # An age may pass a second between two runs.
            is_same = partial(is_same_at, terminal, words, width)
            assert eventually(is_same), (words, width)


def printed(terminal: Terminal, words: tuple[str, ...]) -> list[str]:
    return terminal.run(*words).stdout.splitlines()


def is_same_at(terminal: Terminal, words: tuple[str, ...], width: str) -> bool:
    """Whether a command prints the same at a width as where none is set."""
    terminal.env.pop("COLUMNS", None)
    lines = printed(terminal, words)
    terminal.env["COLUMNS"] = width
    return printed(terminal, words) == lines


def test_a_table_fits_arbitrary_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Control codes and line breaks are removed, wide characters aligned, long texts cut."""
    word, text = "x" * 80, "two words " * 20
    rows = [("a\x1b[31mb\nc", text, "1"), ("東京", word, "2"), ("z", "short", text)]
    output.print_table(["first", "second", "third"], rows)
    head, stripped, wide, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["first", "second", "third"]
    assert stripped.startswith("a [31mb c  two words")
    assert stripped.endswith("…  1")
    assert wide == f"東京{' ' * 7}{word}  2"
    assert last.index("short") == head.index("second")
    assert last.endswith(text.rstrip())


def test_json_wherever_a_table_is_printed() -> None:
    """Every other command has `--json`."""
    by_name = dict(commands(main))
    without = {
        name
        for name, command in by_name.items()
        if "as_json" not in {p.name for p in command.params}
    }
    assert without == WITHOUT_JSON


def test_each_command_helps_in_one_line() -> None:
    """The first line of a command's help is a sentence, and the one that `leadline --help` shows."""
    context = click.Context(main)
    for name, (_, line) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert (command.help or "").split("\n\n")[0].replace("\n", " ") == line
    for name, command in commands(main):
        first = command.get_short_help_str(limit=80)
        assert first.endswith("."), name
        assert first[0].isupper(), name
        assert "..." not in first, f"{name} is cut"
        helps = [each.help for each in command.params if isinstance(each, click.Option)]
        assert all(text.endswith(".") for text in helps if text), name


def test_erasing_prompts(terminal: Terminal) -> None:
    """The prompt names the count; a no erases nothing, and without a terminal --yes is needed."""
    [mine] = terminal.put(1)
    words = ("erase", "--email", "ada@example.com")
    refused = terminal.run(*words)
    assert (refused.exit_code, "add --yes" in refused.stderr) == (2, True)
    no = terminal.run(*words, input="n\n")
    assert (no.exit_code, "Erase 1 submission for good?" in no.stderr) == (1, True)
    assert getattr(terminal.ledger.get(mine), "lead", None) is not None
    assert "erased 1 submission\n" in terminal.run(*words, input="y\n").stdout
    assert getattr(terminal.ledger.get(mine), "lead", None) is None


def test_erasing_what_is_no_address_is_refused(terminal: Terminal) -> None:
    """A mistyped address does not look like a finished erasure."""
    refused = terminal.run("erase", "--email", "ada.example.com", "--yes")
    assert (refused.exit_code, "valid e-mail address" in refused.stderr) == (2, True)


def test_a_bulk_action_in_a_script_needs_a_yes(terminal: Terminal) -> None:
    """Without a terminal, a bulk action needs --yes or --expect, or nothing changes."""
    names = terminal.put(2)
    refused = terminal.run("dead", "discard", "--all")
    assert (refused.exit_code, "--expect N" in refused.stderr) == (2, True)
    assert terminal.states(names) == [State.DEAD] * 2


@pytest.mark.parametrize("group", ["dead", "quarantine"])
def test_a_discard_takes_a_reason(group: str, terminal: Terminal) -> None:
    """The reason is in the timeline; the audit trail has only the action."""
    [mine] = terminal.put(1, State.DEAD if group == "dead" else State.QUARANTINED)
    assert terminal.run(group, "discard", mine, "--reason", "asked by phone").exit_code == 0
    assert terminal.ledger.timeline(mine)[-1].why == "asked by phone"
    assert AuditTrail(terminal.redis).read_page()[0][0].detail is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    """The README's command prints a completion script, and completion works."""
    program = "from service.cli.main import main; main(prog_name='leadline')"
    env = {"PATH": os.environ["PATH"], "_LEADLINE_COMPLETE": f"{shell}_source"}
    run = [sys.executable, "-c", program]
    script = subprocess.run(run, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert "_LEADLINE_COMPLETE" in script.stdout
    if shell == "bash":
        words = {"COMP_WORDS": "leadline dead ex", "COMP_CWORD": "2"}
        completion_env = env | words | {"_LEADLINE_COMPLETE": "bash_complete"}
        done = subprocess.run(
            run, env=completion_env, capture_output=True, text=True, timeout=30, check=True
        )
        assert done.stdout == "plain,export\n"


def test_completion_imports_no_command() -> None:
    """Completing a command's name imports no command, so that the shell does not wait."""
    program = (
        "import sys; from service.cli.main import main\n"
        "try: main(prog_name='leadline')\n"
        "finally: print('service.cli.dead' in sys.modules, file=sys.stderr)"
    )
    env = {
        "PATH": os.environ["PATH"],
        "_LEADLINE_COMPLETE": "bash_complete",
        "COMP_WORDS": "leadline ",
        "COMP_CWORD": "1",
    }
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == [f"plain,{name}" for name in COMMANDS]
    assert done.stderr == "False\n"


def test_the_sandboxs_help_lists_its_faults() -> None:
    """`leadline sandbox --help` says of each fault what it is, one a line."""
    lines = CliRunner().invoke(main, ["sandbox", "--help"]).stdout.splitlines()
    for name, preset in PRESETS.items():
        assert any(line.split() == [name, *preset.text.split()] for line in lines)


def test_help_needs_no_settings() -> None:
    """`leadline --help` names every command."""
    text = CliRunner().invoke(main, ["--help"]).stdout
    assert all(f"  {name} " in text for name in COMMANDS)

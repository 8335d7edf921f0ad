"""Operator actions in a terminal, by id or on all matches once the count is confirmed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from service.cli import output
from service.cli.main import main
from tests.flow.ops_world import openapi
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.contract import Cause, State
from worker.encryption import Cipher
from worker.ledger import ClaimResult, Ledger
from worker.ledger.audit import AuditTrail
from worker.settings.table import SETTINGS
from worker.store import keys

Connect = Callable[[], AbstractAsyncContextManager[Any]]
CAUSE = Cause(step="lead", code="invalid", detail="the title is too long", field="title")


class Terminal:
    def __init__(
        self,
        url: str,
        folder: Path,
        redis: redis_py.Redis,
        aredis: Callable[[], AbstractAsyncContextManager[Any]],
    ) -> None:
        self.redis, self._aredis = redis, aredis
        self.ledger = Ledger(redis, Cipher(()))
        variables = {
            "REDIS_URL": url,
            "LEADLINE_DATA_DIR": str(folder),
            "USER": "kim",
            "COLUMNS": "200",
        }
        self.env = {row.name: "" for row in SETTINGS.values()} | variables

    def run(self, *words: str, input: str | None = None) -> Result:
        """Runs a command; with `input`, as on a terminal where somebody answers."""
        with mock.patch.object(output, "is_interactive", return_value=input is not None):
            return CliRunner().invoke(main, list(words), env=self.env, input=input)

    def put(self, count: int, state: State = State.DEAD) -> list[str]:
        submissions = [
            submission(state=State.QUEUED if state is State.DEAD else state) for _ in range(count)
        ]
        asyncio.run(accept(self._aredis, self.redis, submissions))
        if state is State.DEAD:
            for each in submissions:
                self.end(each.id, State.DEAD)
        return [each.id for each in submissions]

    def end(self, name: str, state: State) -> bool:
        if self.ledger.claim(name, "t", 30.0) is not ClaimResult.CLAIMED:
            return False
        self.ledger.finish(name, "t", state, cause=CAUSE if state is State.DEAD else None)
        return True

    def states(self, names: list[str]) -> list[State]:
        records = [self.ledger.get(name) for name in names]
        return [record.state for record in records if record]

    def trail(self) -> list[tuple[str, str, str, str | None]]:
        return [
            (entry.who, entry.action, entry.target, entry.detail)
            for entry in AuditTrail(self.redis).read_page()[0]
        ]

    @contextmanager
    def working(self, ends: State) -> Iterator[None]:
        """Runs a worker that ends every queued submission in state `ends`."""
        over = threading.Event()
        self.redis.hset(keys.WORKERS, "w", json.dumps({"at": self.ledger.now() + 600}))

        def work() -> None:
            while not over.wait(0.02):
                for record in self.ledger.in_state(State.QUEUED):
                    self.end(record.id, ends)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture
def terminal(redis_url: str, tmp_path: Path, redis: redis_py.Redis, aredis: Connect) -> Terminal:
    return Terminal(redis_url, tmp_path, redis, aredis)


ACTIONS: list[tuple[str, str, tuple[str, ...], State, str]] = [
    ("POST submissions/{id}/retry", "retry", ("dead", "retry"), State.DEAD, "queued"),
    (
        "POST submissions/{id}/retry with an edit",
        "retry",
        ("dead", "edit", "--set", "email=new@example.com"),
        State.DEAD,
        "queued",
    ),
    ("POST submissions/{id}/discard", "discard", ("dead", "discard"), State.DEAD, "discarded"),
    ("POST submissions/{id}/undo", "undo", ("dead", "undo"), State.DISCARDED, "dead"),
    ("POST submissions/{id}/undo", "undo", ("dead", "discard", "--undo"), State.DISCARDED, "dead"),
    (
        "POST submissions/{id}/accept",
        "accept",
        ("quarantine", "accept"),
        State.QUARANTINED,
        "queued",
    ),
    (
        "POST submissions/{id}/discard",
        "discard",
        ("quarantine", "discard"),
        State.QUARANTINED,
        "discarded",
    ),
]


@pytest.mark.parametrize(
    ("call", "action", "words", "state", "after"), ACTIONS, ids=lambda value: str(value)
)
def test_each_action_on_one(
    call: str, action: str, words: tuple[str, ...], state: State, after: str, terminal: Terminal
) -> None:
    """Each action of the API has a command that moves the submission and is audited."""
    assert f"/ops/api/{call.split()[1]}" in openapi()["paths"]
    [name] = terminal.put(1, State.DEAD if state is State.DISCARDED else state)
    if state is State.DISCARDED:
        terminal.ledger.discard(name, "somebody", "")
    result = terminal.run(*words, name)
    assert (result.exit_code, result.output.split()) == (0, [name, after])
    assert terminal.trail()[0] == (
        "cli:kim",
        action,
        name,
        "edited: email" if "edit" in words else None,
    )


@pytest.mark.parametrize(
    ("words", "action", "target"),
    [
        (("pause", "the CRM is tidied"), "pause", "delivery"),
        (("resume",), "resume", "delivery"),
        (("causes", "ignore", "{cause}"), "ignore", "{cause}"),
        (("causes", "reopen", "{cause}"), "reopen", "{cause}"),
        (("dead", "show", "{id}"), "reveal", "{id}"),
        (
            ("erase", "--email", "ada@example.com", "--yes"),
            "erase",
            keys.digest("email", "ada@example.com"),
        ),
    ],
)
def test_each_other_action(
    words: tuple[str, ...], action: str, target: str, terminal: Terminal
) -> None:
    """Pausing, causes, reveals and erasures are audited too, with who did them."""
    [name] = terminal.put(1)
    cause = json.loads(terminal.run("causes", "list", "--json").output)["items"][0]["id"]
    result = terminal.run(*(word.format(id=name, cause=cause) for word in words))
    assert result.exit_code == 0, result.output
    assert terminal.trail()[0][:3] == ("cli:kim", action, target.format(id=name, cause=cause))
    audit = json.loads(terminal.run("audit", "--json").output)
    assert [entry["action"] for entry in audit["items"]] == [action]
    assert "ada" not in terminal.run("audit").output


def test_refusals_do_not_stop_the_others(terminal: Terminal) -> None:
    """Ids that cannot be moved are reported on standard error, and the exit code is 1."""
    dead, delivered = terminal.put(1)[0], terminal.put(1)[0]
    terminal.ledger.discard(delivered, "x", "")
    result = terminal.run("dead", "retry", delivered, "nothing", dead)
    assert result.exit_code == 1
    assert "is discarded: cannot retry" in result.stderr
    assert "nothing: there is no" in result.stderr
    assert terminal.states([dead]) == [State.QUEUED]


def test_a_wrong_edit_changes_nothing(terminal: Terminal) -> None:
    """Each fault of an edit is reported with its field."""
    [name] = terminal.put(1)
    result = terminal.run("dead", "edit", name, "--set", "nosuch=1", "--set", "email=nobody")
    assert result.exit_code == 1
    assert "nosuch: expected a field" in result.stderr
    assert "email: Enter a valid e-mail address" in result.stderr
    assert terminal.states([name]) == [State.DEAD]


def test_many_are_confirmed_with_their_count(terminal: Terminal) -> None:
    """The prompt names the count and the cost; a no changes nothing."""
    names = terminal.put(5)
    result = terminal.run("dead", "retry", "--all", input="n\n")
    assert result.exit_code == 1
    assert "Retry 5 submissions (at most 175 API tokens; three are tried first)?" in result.output
    assert terminal.states(names) == [State.DEAD] * 5
    assert terminal.trail() == []


def test_many_are_watched_to_the_end(terminal: Terminal) -> None:
    """A yes starts the bulk action, and its outcomes are printed at the end."""
    names = terminal.put(9)
    with terminal.working(State.DELIVERED):
        result = terminal.run(
            "dead", "retry", "--source", "contact", "--set", "company=Acme", input="y\n"
        )
    assert result.exit_code == 0, result.output
    assert "9 delivered of 9" in result.output
    assert terminal.states(names) == [State.DELIVERED] * 9
    assert [entry[:2] for entry in terminal.trail()] == [
        ("cli:kim", "bulk retry ended"),
        ("cli:kim", "bulk retry"),
    ]


def test_failed_canaries_end_with_one(terminal: Terminal) -> None:
    """If the first three die again, the others are left as they are and the exit code is 1."""
    names = terminal.put(6)
    with terminal.working(State.DEAD):
        result = terminal.run("dead", "retry", "--cause", "invalid", "--expect", "6")
    assert result.exit_code == 1
    assert "3 dead again, 3 left of 6" in result.output
    assert "stopped: canaries failed" in result.output
    assert terminal.states(names) == [State.DEAD] * 6


def test_another_count_than_expected_changes_nothing(terminal: Terminal) -> None:
    """`--expect` replaces the prompt, and any other count changes nothing."""
    names = terminal.put(3)
    result = terminal.run("dead", "discard", "--all", "--expect", "2")
    assert (result.exit_code, "3 match now" in result.stderr) == (1, True)
    assert terminal.states(names) == [State.DEAD] * 3


def test_a_bulk_discard_needs_no_other_process(terminal: Terminal) -> None:
    """Without service or worker, the command itself discards them all."""
    names, held = terminal.put(4), terminal.put(2, State.QUARANTINED)
    assert terminal.run("dead", "discard", "--all", "--yes").exit_code == 0
    assert terminal.states(names + held) == [State.DISCARDED] * 4 + [State.QUARANTINED] * 2
    assert terminal.run("quarantine", "discard", "--all", "--yes").exit_code == 0
    assert terminal.states(held) == [State.DISCARDED] * 2


def test_without_workers_it_says_so(terminal: Terminal) -> None:
    """Without workers, a bulk retry returns and says how to check it and how to stop it."""
    terminal.put(5)
    result = terminal.run("quarantine", "accept", "--all", "--yes")
    assert (result.exit_code, "nothing to accept" in result.output) == (0, True)
    result = terminal.run("dead", "retry", "--all", "--yes")
    assert "no worker was seen" in result.stderr
    action = json.loads(terminal.run("bulk", "list", "--json").output)["items"][0]
    assert (
        action["left"],
        action["count"],
        f"leadline bulk stop {action['id']}" in result.output,
    ) == (
        5,
        5,
        True,
    )
    assert "stopped by cli:kim" in terminal.run("bulk", "stop", action["id"]).output
    assert (
        json.loads(terminal.run("bulk", "show", action["id"], "--json").output)["stopped"]
        == "stopped by cli:kim"
    )
    assert terminal.run("bulk", "show", "nothing").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("dead", "retry"),
        ("dead", "retry", "X", "--all"),
        ("quarantine", "accept"),
        ("dead", "discard", "--all", "--undo"),
    ],
)
def test_either_ids_or_a_filter(words: tuple[str, ...], terminal: Terminal) -> None:
    """Passing neither ids nor a filter, or both, is wrong use."""
    assert terminal.run(*words).exit_code == 2

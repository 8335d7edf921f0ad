"""Every command of README and docs does what it says, on one machine that is really running."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from service.cli.main import main
from service.local.samples import MISSING_LABEL, WEBINAR
from service.sandbox.settings import SandboxSettings
from service.settings import packaged_example
from tests.conftest import PATIENCE
from tests.polling import eventually
from tests.test_docs import PAGES, ROOT, text_of

NOT_RUN = {
    ".venv/bin/leadline up": "runs until Ctrl-C; it is what the others talk to",
    "make demo": "installs, and runs the demo, which `tests/flow/test_demo.py` does",
    "make test": "installs, and runs this very test",
    "make test-busy": "the same",
    "make corpus": "installs, and reads what `tests/unit/sources/test_corpus.py` reads",
}
# Its commands need the files that the page tells people to write.
TRIED_ELSEWHERE = {"docs/adding-a-provider.md": "tests/test_docs_adding_a_provider.py"}
# What cannot be undone asks first; nobody answers here.
ANSWERS = {"leadline erase --email ada@example.com": " --yes"}
EXAMPLE_URL, EXAMPLE_SANDBOX_URL = "http://127.0.0.1:8000", "http://127.0.0.1:8090"
BODY = {"name": "Ada Lovelace", "email": "ada@example.com", "message": "Please call"}
COPIES = 4
COMMAND_SECONDS = 60
OURS = ("leadline ", ".venv/bin/leadline ")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:\.venv/bin/)?leadline |curl |eval |make |python -m |pytest ")

pytestmark = pytest.mark.timeout(240)


def documented_commands() -> dict[str, str]:
    """Each command of a code block, and of the table of `operations.md` -> the page it is on."""
    commands: dict[str, str] = {}
    for page in PAGES:
        if page in TRIED_ELSEWHERE:
            continue
        text = text_of(page)
        blocks = [block for language, block in _BLOCK.findall(text) if language in ("", "sh")]
        lines = [line for block in blocks for line in block.splitlines()]
        if page == "docs/operations.md":
            rows = [line for line in text.splitlines() if line.startswith("| `leadline")]
            lines += [command for row in rows for command in re.findall("`(leadline [^`]+)`", row)]
        for line in lines:
            if _COMMAND.match(line):
                commands.setdefault(re.sub(r"\s+#.*", "", line), page)
    return commands


class Machine:
    """What a reader of the pages has before him: a running `leadline up`, and a shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "USER": "kim",
            "LEADLINE_PORT": "0",
        }
        self.service_url = self.sandbox_url = ""
        self.ids: dict[str, list[str]] = {"discarded": []}

    def take_up(self, printed: str) -> None:
        """Use the addresses and secrets that `up` printed."""
        match = re.search(r"API +(http\S+)/docs[\s\S]*Pipedrive (http\S+)", printed)
        assert match, printed
        self.service_url, self.sandbox_url = match[1], match[2]
        self.env |= dict(re.findall(r"^ +([A-Z]+_[A-Z]+)=(\S+)$", printed, re.MULTILINE))
        self.env |= {
            "PIPEDRIVE_API_TOKEN": SandboxSettings().api_token,
            "PIPEDRIVE_BASE_URL": self.sandbox_url,
            "PIPEDRIVE_PLAN": "unlimited",
        }

    def fill(self) -> None:
        """Post dead letters and spam, and run a bulk action, so that each command has an object.

        The label that the dead letters lacked is then added, so that they can be delivered.
        """
        with httpx.Client(trust_env=False, base_url=self.service_url, timeout=PATIENCE) as http:
            for number in range(COPIES):
                lead = {"email": f"webinar{number}@example.com", "form_name": "Webinar"}
                spam = {"email": f"spam{number}@example.com", "website": "https://spam.example"}
                for source, form in (("webinar", lead), ("contact", spam)):
                    assert http.post(f"/in/{source}", data=form).status_code == 202
        assert eventually(lambda: len(self.list_ids("dead")) == COPIES)
        self.run("leadline quarantine discard --q spam0 --yes")
        self.run(f"leadline pipedrive labels add --name {MISSING_LABEL} --color purple")
        for kind in ("dead", "quarantine", "causes", "bulk"):
            self.ids[kind] = self.list_ids(kind)

    def list_ids(self, kind: str) -> list[str]:
        _, output = self.run(f"leadline {kind} list --json")
        listed = json.loads(output)
        return [item["id"] for item in listed["items"]]

    def try_out(self, command: str) -> str:
        """Run a documented command; returns what went wrong, empty if nothing did."""
        code, output = self.run(self._fill_in(command) + ANSWERS.get(command, ""))
        refused = "curl -i" in command and not re.search(r"^HTTP/\S+ [23]", output, re.MULTILINE)
        return f"exit code {code}\n{output[-2000:]}" if code or refused else ""

    def _fill_in(self, command: str) -> str:
        """The command with real values in place of what the page leaves to the reader."""
        words = command.split(" ")
        if "ID" in words:
            kind = "quarantine" if "quarantine" in words else "dead"
            words[words.index("ID")] = self._choose_id(kind, words)
        for name, kind in (("CAUSE", "causes"), ("BULK", "bulk")):
            if name in words:
                words[words.index(name)] = self.ids[kind][0]
        filled_in = " ".join(words).replace(EXAMPLE_URL, self.service_url)
        return filled_in.replace(EXAMPLE_SANDBOX_URL, self.sandbox_url)

    def _choose_id(self, kind: str, words: list[str]) -> str:
        """A submission that no command has changed yet; to be undone, one that was discarded."""
        if "undo" in words:
            return self.ids["discarded"].pop()
        if "show" in words:
            return self.ids[kind][0]
        chosen = self.ids[kind].pop()
        if "discard" in words:
            self.ids["discarded"].append(chosen)
        return chosen

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and output of a command. Ours run in this process: they start in no time."""
        if command.startswith(OURS):
            with chdir(self.folder):
                words = shlex.split(command)[1:]
                result = CliRunner(env=self.cli_env).invoke(main, words, prog_name="leadline")
            return result.exit_code, result.output
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    @property
    def cli_env(self) -> dict[str, str | None]:
        """Our environment in place of the one that the tests run in."""
        return dict.fromkeys(os.environ) | self.env


@contextmanager
def running_machine(folder: Path) -> Iterator[Machine]:
    """`leadline up` with the packaged example, and something for each command to work on."""
    machine, log = Machine(folder), folder / "up.log"
    (folder / "leadline.toml").write_text(packaged_example().read_text("utf-8") + WEBINAR)
    (folder / "body.json").write_text(json.dumps(BODY))
    with log.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "service.cli.main", "up"],
            cwd=folder, env=machine.env, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        assert eventually(lambda: up.poll() is not None or "\nTry: " in log.read_text("utf-8"))
        machine.take_up(log.read_text("utf-8"))
        machine.fill()
        yield machine
    finally:
        up.terminate()
        try:
            up.wait(20)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl"))), reason="needs bash and curl")
def test_every_command_does_what_the_page_says(tmp_path: Path) -> None:
    """Everything that the pages tell people to type ends well, in the order of the pages."""
    commands = documented_commands()
    assert len(commands) >= 30
    assert NOT_RUN.keys() <= commands.keys()
    assert all((ROOT / test).is_file() for test in TRIED_ELSEWHERE.values())
    with running_machine(tmp_path) as machine:
        failed = [
            f"{page}: {command}\n{failure}"
            for command, page in commands.items()
            if command not in NOT_RUN and (failure := machine.try_out(command))
        ]
    assert not failed, "\n\n".join(failed)


def test_what_python_runs_exists() -> None:
    """Every `pytest …` and `python -m …` that is spoken of is a file or module of this project."""
    text = "\n".join(map(text_of, PAGES))
    files = re.findall(r"`pytest (\S+\.py)", text)
    modules = re.findall(r"`python -m ((?:tests|service|worker)[\w.]*)", text)
    places = [[name] for name in files] + [
        [f"{path}.py", f"{path}/__main__.py"] for path in (m.replace(".", "/") for m in modules)
    ]
    assert len(places) >= 5
    assert [names for names in places if not any((ROOT / name).is_file() for name in names)] == []

"""The supervisor: children are kept running, stopped together in time, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from service.local import parent_death
from service.local.processes import Child, Supervisor
from tests.polling import eventually

ROOT = Path(__file__).parents[2]
STUBBORN = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
    " time.sleep(60)"
)


@pytest.fixture
def alive() -> Iterator[tuple[int, int]]:
    """A pipe whose write end children inherit: its read end ends when all of them have."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    yield read_end, write_end
    os.close(read_end)


def has_ended(read_end: int) -> bool:
    try:
        return os.read(read_end, 100) == b""
    except BlockingIOError:
        return False


def test_a_child_runs_with_its_environment(tmp_path: Path) -> None:
    """A child gets its environment; its output goes to a file that nobody else may read."""
    log = tmp_path / "logs" / "child.log"
    child = Child(
        "child",
        [sys.executable, "-c", "import os; print(os.environ['NAME'])"],
        env={"NAME": "ann"},
        log=log,
    )
    with Supervisor([child]):
        assert eventually(lambda: log.exists() and log.read_text() == "ann\n")
    assert log.stat().st_mode & 0o077 == 0


def test_a_dead_child_is_started_again() -> None:
    """A child that is killed comes back under the same name with another process id."""
    with Supervisor(
        [Child("sleeper", ["sleep", "60"])],
    ) as supervisor:
        first = supervisor.pids["sleeper"]
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: supervisor.pids.get("sleeper") not in (None, first))
        assert supervisor.deaths == {"sleeper": 1}
    assert supervisor.pids == {}


def test_restarts_slow_down(tmp_path: Path) -> None:
    """A child that keeps dying is restarted after growing waits."""
    log = tmp_path / "log"
    with Supervisor(
        [Child("short", ["sh", "-c", "date +%s%N"], log=log)], first_delay=0.1
    ) as supervisor:
        assert eventually(lambda: supervisor.deaths["short"] >= 4)
    starts = [int(line) / 1e9 for line in log.read_text().split()]
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert waits[0] >= 0.1
    assert waits[1] >= 0.2
    assert waits[2] >= 0.4


def test_a_missing_program_stops_the_start() -> None:
    """A missing program is an error at once, and the other children are stopped."""
    supervisor = Supervisor([Child("sleeper", ["sleep", "60"]), Child("ghost", ["/nowhere/ghost"])])
    with pytest.raises(FileNotFoundError, match="ghost"):
        supervisor.start()
    assert supervisor.pids == {}


def test_who_ignores_the_request_is_killed(tmp_path: Path, alive: tuple[int, int]) -> None:
    """A child that ignores SIGTERM is killed after the grace, with all that it started."""
    read_end, write_end = alive
    log = tmp_path / "log"
    family = (
        f"import subprocess,sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}],"
        f" pass_fds=[{write_end}]); {STUBBORN}"
    )
    supervisor = Supervisor(
        [Child("stubborn", [sys.executable, "-c", family], log=log, inherited_fds=[write_end])]
    )
    supervisor.start()
    os.close(write_end)
    assert eventually(lambda: log.read_text().count("up") == 2)
    began = time.monotonic()
    supervisor.stop(grace=0.3)
    assert time.monotonic() - began >= 0.3
    assert eventually(lambda: has_ended(read_end))


def test_stopping_is_quick_and_harmless_twice() -> None:
    """Children that obey are stopped at once; stopping again does nothing."""
    supervisor = Supervisor([Child(f"sleeper {number}", ["sleep", "60"]) for number in range(3)])
    supervisor.start()
    began = time.monotonic()
    supervisor.stop(grace=100)
    assert time.monotonic() - began < 50
    supervisor.stop()


def test_what_a_dead_child_started_goes_too(alive: tuple[int, int]) -> None:
    """When a child dies, what it left running is killed: it would hold its successor's port."""
    read_end, write_end = alive
    family = (
        f"import os,subprocess; subprocess.Popen(['sleep', '60'], pass_fds=[{write_end}]);"
        " os.kill(os.getpid(), 9)"
    )
    child = Child("parent", [sys.executable, "-c", family], inherited_fds=[write_end])
    with Supervisor([child], first_delay=60) as supervisor:
        os.close(write_end)
        assert eventually(lambda: supervisor.deaths["parent"] == 1)
        assert eventually(lambda: has_ended(read_end))


HOST = """
    import sys
    from service.local.processes import Child, Supervisor
    supervisor = Supervisor([Child("sleeper", ["sh", "-c", "echo up; exec sleep 60"],
                                   inherited_fds=[int(sys.argv[1])])])
    supervisor.start()
    print("signal", supervisor.run_until_signal(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all(alive: tuple[int, int], number: int) -> None:
    """SIGTERM and Ctrl-C stop the children, and then the caller goes on."""
    read_end, write_end = alive
    with host(write_end) as process:
        process.send_signal(number)
        assert process.communicate(timeout=60)[0] == f"signal {int(number)}\n"
    assert process.returncode == 0
    assert eventually(lambda: has_ended(read_end))


def test_a_killed_supervisor_leaves_nobody(alive: tuple[int, int]) -> None:
    """When the supervisor itself is killed, its children end."""
    read_end, write_end = alive
    with host(write_end) as process:
        assert not has_ended(read_end)
        process.kill()
    assert eventually(lambda: has_ended(read_end))


def host(write_end: int) -> subprocess.Popen[str]:
    """A process that supervises one child, once the child runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOST), str(write_end)],
        cwd=ROOT,
        pass_fds=[write_end],
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    return process


def test_pipes_are_closed() -> None:
    """A child that has ended leaves no open pipe behind."""
    before = len(os.listdir("/dev/fd"))
    with Supervisor([Child("short", ["true"])], first_delay=0.05) as supervisor:
        assert eventually(lambda: supervisor.deaths["short"] >= 3)
    assert len(os.listdir("/dev/fd")) <= before


def test_a_child_whose_parent_died_early_does_not_start(tmp_path: Path) -> None:
    """A child whose parent died before it could arrange for its own end does not start."""
    read_end, write_end = os.pipe()
    mark = tmp_path / "began"
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(parent_death.__file__),
        "1",
        str(read_end),
        "touch",
        str(mark),
    ]
    os.close(write_end)
    subprocess.run(argv, pass_fds=[read_end], check=True, timeout=60)
    os.close(read_end)
    assert not mark.exists()

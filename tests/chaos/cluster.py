"""Two services and two workers on one machine, and a killer that hits them by a seed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.local.processes import Child
from service.local.stack import LocalStack, leadline_argv

SERVICES, WORKERS = ("serve", "serve-2"), ("work", "work-2")
MAX_TRIES = 3
"""For each fault."""


class Cluster(LocalStack):
    """Two services on ports of their own share a data directory with two workers.

    Each service is a parent and its server process.
    """

    def _children(self, sandbox: int | None) -> list[Child]:
        second = self._choose_port(0, must=False)
        self.service_urls = [self.endpoints.service_url, f"http://127.0.0.1:{second}"]
        first = super()._children(sandbox)
        return first + [_twin(child, second) for child in first if child.name in ("serve", "work")]


def _twin(child: Child, port: int) -> Child:
    env = dict(child.env or {}) | ({"LEADLINE_PORT": str(port)} if child.name == "serve" else {})
    log = child.log.with_name(f"{child.name}-2.log") if child.log else None
    return replace(child, name=f"{child.name}-2", argv=leadline_argv(child.name), env=env, log=log)


@dataclass(frozen=True)
class ProcessFault:
    """What happens to a process after `wait` seconds.

    `action` is `kill`, `kill-inner` (the server process below its parent), `term` (an orderly stop,
    as at a deployment) or `stop` for `seconds`.
    """

    wait: float
    process: str
    action: str
    seconds: float = 0.0

    @property
    def kills(self) -> bool:
        return self.action.startswith("kill")


def plan_faults(
    seed: int, kills: int, gap: tuple[float, float], longest_stop: float
) -> list[ProcessFault]:
    """Plan the faults of a run: any process at random, until `kills` of them are SIGKILL.

    Of five faults three kill, one stops and one asks to stop. Every fourth stop of a worker is
    longer than a lease. No process is hit twice in a row, as it would hardly have started.
    """
    chance = random.Random(f"faults {seed}")
    faults: list[ProcessFault] = []
    while sum(fault.kills for fault in faults) < kills:
        last = faults[-1].process if faults else None
        part = chance.choice(
            [part for part in (*SERVICES, *WORKERS, *WORKERS, "redis", "redis") if part != last]
        )
        act = chance.choices(["kill", "stop", "term"], [3, 1, 1])[0]
        if act == "kill" and part in SERVICES and chance.random() < 0.5:
            act = "kill-inner"
        seconds = chance.uniform(0.3, 3.0)
        if act == "stop" and part in WORKERS and chance.random() < 0.25:
            seconds = longest_stop
        faults.append(
            ProcessFault(
                chance.uniform(*gap), part, act, round(seconds, 2) if act == "stop" else 0.0
            )
        )
    return faults


class ProcessKiller:
    """Injects the faults from a thread and counts them in `fault_counts`.

    It only touches processes of this stack. `kill_redis` ends Redis, with SIGKILL or worse.
    """

    def __init__(
        self,
        pids: Callable[[], dict[str, int]],
        faults: list[ProcessFault],
        dealt: dict[str, int],
        kill_redis: Callable[[int], None],
    ) -> None:
        self._pids = pids
        self._kill_redis = kill_redis
        self._faults = faults
        self._stop = threading.Event()
        self._timers: list[threading.Timer] = []
        self.fault_counts = dealt
        self.missed: list[str] = []
        self.log: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait until all faults are injected. Returns whether they were; none follows afterwards."""
        self._thread.join(seconds)
        done = not self._thread.is_alive()
        self._stop.set()
        self._thread.join(30)
        for timer in self._timers:
            timer.join(120)
        return done

    def _run(self) -> None:
        for fault in self._faults:
            if self._stop.wait(fault.wait):
                return
            # A process may end by itself (it was asked to stop before) between the look and the
            # fault: then its successor is hit.
            if not any(
                (pid := self._victim(fault)) is not None and self._inject(fault, pid)
                for _ in range(MAX_TRIES)
            ):
                self.missed.append(f"{fault.action} {fault.process}")

    def _victim(self, fault: ProcessFault) -> int | None:
        """The process to hit, once it is alive: the last fault may have hit it too."""
        deadline = time.monotonic() + 20
        while (pid := self._pids().get(fault.process)) is None:
            if time.monotonic() > deadline or self._stop.wait(0.05):
                return None
        inner = (
            find_children(pid)
            if fault.process in SERVICES and fault.action in ("kill-inner", "stop")
            else []
        )
        return inner[-1] if inner else pid

    def _inject(self, fault: ProcessFault, pid: int) -> bool:
        number = {"stop": signal.SIGSTOP, "term": signal.SIGTERM}.get(fault.action, signal.SIGKILL)
        try:
            if number == signal.SIGKILL and fault.process == "redis":
                self._kill_redis(pid)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            return False
        name = f"{fault.action.partition('-')[0]} {fault.process.partition('-')[0]}"
        self.fault_counts[name] = self.fault_counts.get(name, 0) + 1
        self.log.append({"at": round(time.monotonic() - self._began, 2), "part": fault.process, "act": fault.action, "pid": pid,
                         "seconds": fault.seconds})  # fmt: skip
        if fault.action == "stop":
            timer = threading.Timer(fault.seconds, self._resume, (fault.process, pid))
            timer.start()
            self._timers.append(timer)
        return True

    def _resume(self, part: str, pid: int) -> None:
        current = self._pids().get(part)
        if current == pid or (current is not None and pid in find_children(current)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def find_children(pid: int) -> list[int]:
    """The living children of a process, on Linux; elsewhere an empty list."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                pids.append(int(stat.parent.name))
    return sorted(pids)

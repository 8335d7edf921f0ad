"""Everything on one machine: Redis, service, workers and, without credentials, the sandbox.

    leadline up / demo
      ├── Redis (embedded, unless REDIS_URL)
      ├── leadline sandbox (unless credentials, or another PIPEDRIVE_BASE_URL)
      ├── leadline serve
      └── leadline work

Each part is a process of its own that is restarted when it dies. All end together, even when we are
killed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from service.local.generated_secrets import load_or_create
from service.local.processes import Child, Supervisor
from service.local.redis import EmbeddedRedis
from service.ports import bind_error, find_free_port
from service.sandbox.settings import SandboxSettings
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.settings.table import Settings
from worker.store.connection import connect

START_SECONDS = 60.0
SANDBOX_PORT = SandboxSettings().port


class StartError(Exception):
    """A part did not start; the message says which one and why."""


class Endpoints(Struct, frozen=True, kw_only=True):
    """The addresses of a running stack. `env` is the environment of its processes."""

    service_url: str
    pipedrive_url: str
    sandbox_url: str | None
    redis_url: str
    operator_token: str
    env: dict[str, str]

    def settings(self) -> Settings:
        return Settings.for_all(self.env)


# The name under which the console's token is stored.
OPERATOR_TOKEN = "operator_token"


class LocalStack:
    """A context manager that starts and stops the stack.

    `logs` is the folder for the processes' output; None sends it to our own. `free_ports` takes any
    free ports instead of those of the settings. Entering raises StartError or EmbeddedRedisError.
    """

    def __init__(
        self,
        settings: Settings,
        env: Mapping[str, str],
        *,
        data_dir: Path,
        logs: Path | None = None,
        free_ports: bool = False,
    ) -> None:
        self._settings = settings
        self._env = dict(env)
        self._data_dir = data_dir
        self._logs = logs
        self._free_ports = free_ports
        self._stack = ExitStack()
        self._supervisor: Supervisor | None = None
        self.redis: EmbeddedRedis | None = None
        self.endpoints: Endpoints

    def __enter__(self) -> LocalStack:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def pids(self) -> dict[str, int]:
        """Name of a part (`redis`, `sandbox`, `serve`, `work`) -> process id."""
        pids = dict(self._supervisor.pids) if self._supervisor else {}
        if self.redis is not None and self.redis.pid is not None:
            pids["redis"] = self.redis.pid
        return pids

    def run_until_signal(self) -> None:
        assert self._supervisor is not None
        self._supervisor.run_until_signal()

    def _start(self) -> None:
        settings = self._settings
        sandbox = (
            None
            if settings.has_credentials or "PIPEDRIVE_BASE_URL" in self._env
            else self._choose_port(SANDBOX_PORT, must=False)
        )
        port = self._choose_port(settings.port, must=True)
        if settings.redis_url is None:
            self.redis = self._stack.enter_context(EmbeddedRedis(self._data_dir))
        self.endpoints = self._build_endpoints(
            settings, port, sandbox, self.redis.url if self.redis else str(settings.redis_url)
        )
        self._supervisor = Supervisor(list(self._children(sandbox)))
        self._stack.enter_context(self._supervisor)
        self._wait_until("the Pipedrive sandbox", self._sandbox_ready)
        self._wait_until("the service", lambda: _responds(self.endpoints.service_url + "/readyz"))
        self._wait_until("the workers", self._workers_ready)

    def _build_endpoints(
        self, settings: Settings, port: int, sandbox: int | None, redis_url: str
    ) -> Endpoints:
        sandbox_url = f"http://127.0.0.1:{sandbox}" if sandbox else None
        operators = [token for token in settings.ops_tokens or () if token.role == "operator"]
        token = (
            str(operators[0].token)
            if operators
            else load_or_create(self._data_dir, [OPERATOR_TOKEN])[OPERATOR_TOKEN]
        )
        env = self._env | {
            "REDIS_URL": redis_url,
            "LEADLINE_PORT": str(port),
            "LEADLINE_DATA_DIR": str(self._data_dir),
            "PYTHONUNBUFFERED": "1",
        }
        if not operators:
            others = self._env.get("LEADLINE_OPS_TOKENS", "")
            env["LEADLINE_OPS_TOKENS"] = ",".join(
                part for part in (others, f"operator:operator:{token}") if part
            )
        if not settings.has_credentials:
            env |= {
                "PIPEDRIVE_API_TOKEN": SandboxSettings().api_token,
                "PIPEDRIVE_PLAN": "unlimited",
            }
        if sandbox_url:
            env["PIPEDRIVE_BASE_URL"] = sandbox_url
        return Endpoints(
            service_url=f"http://{settings.host}:{port}",
            pipedrive_url=env.get("PIPEDRIVE_BASE_URL", settings.pipedrive_base_url),
            sandbox_url=sandbox_url,
            redis_url=redis_url,
            operator_token=token,
            env=env,
        )

    def _children(self, sandbox: int | None) -> list[Child]:
        commands = {"serve": ["serve"], "work": ["work"]}
        if sandbox:
            state = str(self._data_dir / "sandbox.sqlite")
            commands = {
                "sandbox": ["sandbox", "--port", str(sandbox), "--state", state],
                **commands,
            }
        return [
            Child(
                name,
                leadline_argv(*arguments),
                env=self.endpoints.env,
                log=self._logs / f"{name}.log" if self._logs else None,
            )
            for name, arguments in commands.items()
        ]

    def _choose_port(self, port: int, *, must: bool) -> int:
        """The port if it is free; else another, or StartError if it `must` be this one."""
        if not self._free_ports and port:
            if bind_error(self._settings.host, port) is None:
                return port
            if must:
                raise StartError(
                    f"port {port} is in use: stop what listens there, or set LEADLINE_PORT"
                )
        return find_free_port(self._settings.host)

    def _sandbox_ready(self) -> bool:
        return self.endpoints.sandbox_url is None or _responds(
            self.endpoints.sandbox_url + "/_sandbox/health"
        )

    def _workers_ready(self) -> bool:
        with connect(self.endpoints.redis_url) as client:
            return Ledger(client, Cipher()).count_workers() > 0

    def _wait_until(self, what: str, ready: Callable[[], Any]) -> None:
        assert self._supervisor is not None
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if time.monotonic() > deadline or max(self._supervisor.deaths.values()) >= 3:
                where = f"; see its log in {self._logs}" if self._logs else ""
                raise StartError(f"{what} did not start{where}")
            time.sleep(0.05)

    def ledger(self) -> Ledger:
        """The ledger of this stack, to inspect it."""
        client = self._stack.enter_context(connect(self.endpoints.redis_url, timeout=5.0))
        return Ledger(client, Cipher(self._settings.encryption_keys))


def leadline_argv(*arguments: str) -> list[str]:
    """The argv that runs a `leadline` command with this interpreter."""
    return [sys.executable, "-m", "service.cli.main", *arguments]


def _responds(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False

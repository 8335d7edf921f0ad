"""A process that performs tasks in children of its own, which die where the task says.

    python -m tests.chaos.victim                 JSON lines in, reports out
    python -m tests.chaos.victim --once TASK    one task, killed from outside

It forks a child for each task, with everything imported and nothing opened, so that a real death
by SIGKILL costs milliseconds only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import msgspec
import rq
import uvloop
from msgspec import Struct
from rq.exceptions import DequeueTimeout
from rq.timeouts import TimerDeathPenalty

from service.app import create_app
from service.context import build
from tests.chaos.points import CrashPoints, Side
from tests.chaos.protections import disable_protections
from tests.flow.conftest import Pipeline
from worker import jobs
from worker.erasure.erasure import erase
from worker.erasure.retention import RetentionSweep
from worker.pipedrive.client import build_tls
from worker.queue.rq_queue import open_queue
from worker.queue.rq_worker import SlotWorker
from worker.settings.table import Settings
from worker.store.connection import connect

PATIENCE = 5.0
STOP_SECONDS = 2.0


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to do, and where to die: `at` None means nowhere.

    `work` takes one job off the queue, as a slot does · `sweep` · `replay` the submission `id` ·
    `post` a form under `key` · `drain` the spool · `erase` the person with the address `key` ·
    `retain` what is kept as long as the settings say. `ahead` (seconds) moves the clock of ledger
    and worker; `lead` are settings of the source.
    """

    action: str
    redis_url: str
    pipedrive_url: str = ""
    clock_offset: float = 0.0
    lead_settings: dict[str, Any] = {}
    submission_id: str = ""
    key: str = ""
    env: dict[str, str] = {}
    form: str = ""
    disabled: list[str] = []
    side: Side = Side.BEFORE
    point: int | None = None


class TaskReport(Struct, frozen=True, kw_only=True):
    """Whether the child survived, its messages by side, the responses (status, body) to a sender."""

    survived: bool
    messages: dict[str, int] = {}
    responses: list[tuple[int, str]] = []


def _build_pipeline(task: Task) -> Pipeline:
    client = connect(task.redis_url, timeout=PATIENCE)
    pipeline = Pipeline(client, cast(Any, None), cast(Any, SimpleNamespace(url=task.pipedrive_url)))
    pipeline.settings(**task.lead_settings)
    pipeline.advance(task.clock_offset)
    return pipeline


def _work(task: Task, _: CrashPoints, __: int) -> None:
    """As `worker.queue.slots` takes a job: through RQ, with its registries."""
    pipeline = _build_pipeline(task)
    queue = open_queue(connect(task.redis_url, timeout=PATIENCE))
    worker = SlotWorker(
        [queue],
        name=f"victim-{os.getpid()}",
        connection=queue.connection,
        serializer=queue.serializer,
    )
    worker.log_job_description = False
    worker.register_birth()
    jobs.current_deliverer.set(pipeline.delivery())
    with contextlib.suppress(DequeueTimeout):
        job = rq.Queue.dequeue_any(
            [queue],
            1,
            connection=queue.connection,
            serializer=queue.serializer,
            death_penalty_class=TimerDeathPenalty,
        )
        if job is not None:
            worker.execute_job(*job)


def _sweep(task: Task, _: CrashPoints, __: int) -> None:
    _build_pipeline(task).sweeper.sweep()


def _replay(task: Task, _: CrashPoints, __: int) -> None:
    _build_pipeline(task).sweeper.replay(task.submission_id, "kim", "", None)


def _erase(task: Task, _: CrashPoints, __: int) -> None:
    erase(_build_pipeline(task).ledger, ("email", task.key), "kim")


def _retain(task: Task, _: CrashPoints, __: int) -> None:
    pipeline = _build_pipeline(task)
    RetentionSweep(pipeline.ledger, Settings().retention).run(pipeline.clock())


def _post(task: Task, points: CrashPoints, output: int) -> None:
    """Send one request through the whole application; its response counts as a message."""
    uvloop.run(_send_post(task, points, output))


async def _send_post(task: Task, points: CrashPoints, output: int) -> None:
    app = create_app(build(Settings.for_service(task.env), task.env))
    body = task.form.encode()
    head = {
        "content-type": "application/x-www-form-urlencoded",
        "content-length": str(len(body)),
        "accept": "application/json",
    }
    headers = [
        (name.encode(), value.encode())
        for name, value in (head | {"idempotency-key": task.key}).items()
    ]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http",
        "path": "/in/contact", "raw_path": b"/in/contact", "query_string": b"", "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])
        elif not message.get("more_body"):
            points.count_sent()
            os.write(output, msgspec.json.encode([status[0], message["body"].decode()]) + b"\n")
            points.count_received()

    async with _stop_in_time(app.lifespan()):
        await app(cast(Any, scope), cast(Any, receive), cast(Any, send))


@contextlib.asynccontextmanager
async def _stop_in_time(
    life: contextlib.AbstractAsyncContextManager[object],
) -> AsyncIterator[None]:
    """Cut off an orderly stop that takes too long, as a supervisor would."""
    await life.__aenter__()
    yield
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await life.__aexit__(None, None, None)


def _drain(task: Task, _: CrashPoints, __: int) -> None:
    """Start a service on the spool that another one left, until that is empty."""

    async def drained() -> None:
        context = build(Settings.for_service(task.env), task.env)
        spool = context.acceptor.spool
        assert spool is not None
        await context.acceptor.start()
        deadline = time.monotonic() + 10
        while (await asyncio.to_thread(spool.adopt) or spool.count) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await context.acceptor.stop()

    uvloop.run(drained())


ACTIONS = {
    "work": _work,
    "sweep": _sweep,
    "replay": _replay,
    "post": _post,
    "drain": _drain,
    "erase": _erase,
    "retain": _retain,
}


def perform(task: Task, output: int) -> None:
    """Perform a task in this process.

    The responses to a sender go to `output` as JSON lines, then the counts of messages.
    """
    os.dup2(2, 1)  # logs must not get between the reports
    points = CrashPoints(task.side, task.point)
    points.install()
    with disable_protections(*task.disabled):
        ACTIONS[task.action](task, points, output)
    os.write(output, msgspec.json.encode(points.counts) + b"\n")


def perform_in_child(task: Task) -> TaskReport:
    """Perform a task in a forked child, and wait for its end."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read_end)
            perform(task, write_end)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write_end)
    with open(read_end, "rb") as lines:
        messages = [msgspec.json.decode(line) for line in lines]
    _, status = os.waitpid(child, 0)
    counts = [line for line in messages if isinstance(line, dict)]
    responses = [(line[0], line[1]) for line in messages if isinstance(line, list)]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"the task failed: {task}")
    return TaskReport(
        survived=os.WIFEXITED(status), messages=counts[0] if counts else {}, responses=responses
    )


def _share_tls_context() -> None:
    """Make it once for all children: it takes longer than the way to most points."""
    mock.patch("worker.delivery.client_factory.build_tls", return_value=build_tls()).start()


def main() -> None:
    if sys.argv[1:2] == ["--once"]:
        perform(msgspec.json.decode(sys.argv[2], type=Task), os.dup(1))
        return
    _share_tls_context()
    for line in sys.stdin.buffer:
        try:
            report = perform_in_child(msgspec.json.decode(line, type=Task))
        except Exception as error:
            print(msgspec.json.encode({"error": str(error)}).decode(), flush=True)
        else:
            print(msgspec.json.encode(report).decode(), flush=True)


if __name__ == "__main__":
    main()

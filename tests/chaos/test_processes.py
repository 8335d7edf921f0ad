"""Services and workers that are cut off, aborted, starved of memory or files, told often to stop,
or start with much to do.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest

from service.local.processes import Child
from service.local.stack import LocalStack, leadline_argv
from tests.chaos.cluster import find_children
from tests.chaos.faults import limit_resource, linux, memory_bytes
from tests.chaos.proxy import Proxy
from tests.chaos.running_stack import RunningStack, run_stack
from tests.polling import eventually
from tests.redis.store import submission
from worker.accept.acceptor import Acceptor
from worker.contract import State
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.queue.rq_queue import open_queue
from worker.store.connection import connect, connect_async

pytestmark = [pytest.mark.timeout(600), linux]

MEBIBYTE = 1024 * 1024


def server(running: RunningStack) -> int:
    """The process that answers, below the one that started it."""
    assert eventually(lambda: find_children(running.stack.pids.get("serve", 0)))
    return find_children(running.stack.pids["serve"])[-1]


def settled(running: RunningStack) -> None:
    """All that was acknowledged has arrived, once."""
    running.settle()
    running.check()


def form(key: str, email: str) -> bytes:
    """The bytes of what `Running.post` sends."""
    body = urlencode({"name": "Someone", "email": email, "message": f"about {key}"}).encode()
    head = (
        f"POST /in/site HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\nAccept:"
        " application/json\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length:"
        f" {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def port(running: RunningStack) -> int:
    return int(running.stack.endpoints.service_url.rpartition(":")[2])


def talk(at: int, data: bytes) -> bytes:
    """What comes back until the other side ends the connection."""
    answer = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", at), timeout=10) as conversation:
        conversation.sendall(data)
        while piece := conversation.recv(65_536):
            answer += piece
    return answer


@pytest.mark.parametrize("length", [1, 40, 250])
def test_an_answer_that_breaks_off_is_none(running: RunningStack, length: int) -> None:
    """The answer is cut after some bytes, then the service is killed: a repeat is told of the one
    submission there is.
    """
    before = sum(running.counts().values())
    with Proxy(port(running)) as proxy:
        proxy.cut_after = length
        answer = talk(proxy.port, form(f"cut-{length}", f"cut{length}@example.com"))
    os.kill(server(running), signal.SIGKILL)
    assert len(answer) <= length
    assert sum(running.counts().values()) == before + 1
    running.post_until_accepted(f"cut-{length}", f"cut{length}@example.com")
    settled(running)
    assert sum(running.counts().values()) == before + 1


def test_an_abort_leaves_nothing_on_disk_that_could_be_read(running: RunningStack) -> None:
    """A part that aborts is started again, all arrives once, and no core file with leads and
    secrets may be written.
    """
    parts = {"serve": server(running), "work": running.stack.pids["work"]}
    for part, pid in parts.items():
        assert resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 0
        running.post_until_accepted(f"abort-{part}", "abort@example.com")
        running.wait_until_idle(60)
        os.kill(pid, signal.SIGABRT)
        running.post_until_accepted(f"aborted-{part}", "abort@example.com")
    assert eventually(
        lambda: (
            server(running) != parts["serve"]
            and running.stack.pids.get("work") not in (None, parts["work"])
        )
    )
    settled(running)


def test_large_bodies_take_no_memory(running: RunningStack) -> None:
    """Posts far over the limit, with and without a stated length, are refused as they come; the
    process stays as small.
    """
    running.post_until_accepted("small", "small@example.com")
    pid = server(running)
    before = memory_bytes(pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the most it had so far
    with limit_resource(pid, resource.RLIMIT_AS, memory_bytes(pid, "VmSize") + 256 * MEBIBYTE):
        assert set(asyncio.run(_flood(port(running), 40, 16 * MEBIBYTE))) <= {b"413", b""}
        running.post_until_accepted("small-again", "small@example.com")
        assert memory_bytes(pid, "VmHWM") < before + 48 * MEBIBYTE
    assert server(running) == pid
    settled(running)


async def _flood(at: int, connections: int, length: int) -> list[bytes]:
    """Statuses of as many posts at once, every other one in chunks; empty where the connection was
    cut instead.
    """

    async def one(number: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", at)
        stated = b"Transfer-Encoding: chunked" if number % 2 else b"Content-Length: %d" % length
        writer.write(
            b"POST /in/site HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%s\r\n\r\n"
            % stated
        )
        piece = b"x" * 65_536
        with suppress(OSError):
            for _ in range(length // len(piece)):
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if number % 2 else piece)
                await writer.drain()
        status = b""
        with suppress(OSError):
            status = (await asyncio.wait_for(reader.read(12), 15))[-3:]
        writer.transport.abort()
        return status

    return await asyncio.gather(*map(one, range(connections)))


def test_without_file_descriptors_it_serves_whom_it_has_and_recovers(running: RunningStack) -> None:
    """Two hundred connections where there is room for few: who is in is served, others later or
    never, nobody wrongly.
    """
    running.post_until_accepted("roomy", "roomy@example.com")
    pid = server(running)
    before = sum(running.counts().values())
    with ExitStack() as stack, limit_resource(pid, resource.RLIMIT_NOFILE, 64):
        crowd = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port(running)), timeout=10))
            for _ in range(200)
        ]
        for number, each in enumerate(crowd):
            each.sendall(form(f"crowd-{number}", f"crowd{number % 5}@example.com"))
        assert crowd[0].recv(12) == b"HTTP/1.1 202"
        running.post_until_accepted("inside", "roomy@example.com")
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) <= 64, "there was room for all"
        answers = []
        for each in crowd[1:]:
            each.settimeout(0.02)
            with suppress(OSError):
                answers.append(each.recv(12))
    assert set(answers) <= {b"HTTP/1.1 202", b"HTTP/1.1 503", b""}
    running.post_until_accepted("after", "roomy@example.com")
    assert server(running) == pid
    settled(running)
    assert before + 2 <= sum(running.counts().values()) <= before + 202


def test_told_many_times_to_stop_it_stops_once(running: RunningStack) -> None:
    """SIGTERM fifty times, in the middle of deliveries and of a request: what is in hand is
    finished, and all is there once.
    """
    running.fault({"operation": "leads.add", "count": 4}, {"kind": "delay", "seconds": 2.0})
    for number in range(4):
        running.post_until_accepted(f"twice-{number}", f"twice{number}@example.com")
    assert eventually(lambda: running.counts()[State.DELIVERING] == 4)
    pids = dict(running.stack.pids)
    with socket.create_connection(("127.0.0.1", port(running)), timeout=20) as sender:
        whole = form("in-hand", "twice@example.com")
        sender.sendall(whole[:-5])
        for part in ("work", "serve"):
            for _ in range(50):
                os.kill(pids[part], signal.SIGTERM)
                assert eventually(lambda part=part: not _pending(pids[part]))  # type: ignore[misc]
        sender.sendall(whole[-5:])
        with suppress(OSError):
            assert sender.recv(12) in (b"HTTP/1.1 202", b"")
    assert eventually(
        lambda: all(
            running.stack.pids.get(part) not in (None, pids[part]) for part in ("work", "serve")
        ),
        60,
    )
    assert running.counts()[State.DELIVERING] == 0, "what was in hand was left to its lease"
    running.post_until_accepted("in-hand", "twice@example.com")
    settled(running)


def _pending(pid: int) -> bool:
    """Whether a signal waits to be heard."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return any(
            int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))
        )
    return False


class Unattended(LocalStack):
    """Without workers."""

    def _children(self, sandbox: int | None) -> list[Child]:
        return [child for child in super()._children(sandbox) if child.name != "work"]

    def _workers_ready(self) -> bool:
        return True


@contextmanager
def worker(running: RunningStack, log: Path) -> Iterator[int]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            leadline_argv("work"), env=running.stack.endpoints.env, stdout=output, stderr=output
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


SEEDED = 6_000
GROWTH = 16 * MEBIBYTE
"""What six thousand submissions that wait may cost a process; all of them in memory would be
more.
"""


async def _seed(url: str, count: int) -> list[str]:
    """So many submissions of as many people, accepted and queued."""
    async with connect_async(url, timeout=30) as client, asyncio.timeout(120):
        acceptor = Acceptor(client, open_queue(connect(url)), Cipher(()))
        await acceptor.start()
        try:
            waiting = [
                submission(email=f"seed{number}@example.com", source="site")
                for number in range(count)
            ]
            receipts = [
                await acceptor.accept(waiting[first : first + 500])
                for first in range(0, count, 500)
            ]
        finally:
            await acceptor.stop()
    return [receipt.id for batch in receipts for receipt in batch]


def test_workers_that_come_late_find_everything_in_order(tmp_path: Path) -> None:
    """Without workers senders get their 2xx and the age shows; who starts on 6,000 is ready, stays
    small and keeps the order.
    """
    with (
        run_stack(tmp_path, make=Unattended) as running,
        connect(running.stack.endpoints.redis_url, timeout=10) as client,
    ):
        ledger, log = Ledger(client, Cipher(())), tmp_path / "late.log"
        with worker(running, log) as pid:
            running.post_until_accepted("first", "first@example.com")
            running.wait_until_idle(60)
            lean = {"work": memory_bytes(pid), "serve": memory_bytes(server(running))}
        for number in range(20):
            assert running.post(f"late-{number}", f"late{number}@example.com")
        assert eventually(lambda: running.metric('leadline_oldest_seconds{state="queued"}') > 1)
        assert (
            running.metric("leadline_workers"),
            running.metric('leadline_state{state="queued"}'),
        ) == (0, 20)
        asyncio.run(_seed(running.stack.endpoints.redis_url, SEEDED))
        before = running.kill("serve")
        assert eventually(
            lambda: running.stack.pids.get("serve") not in (None, before) and running.serves(), 60
        )
        assert running.post("last", "last@example.com")
        with worker(running, log) as pid:
            assert eventually(lambda: ledger.counts()[State.DELIVERED] > 80, 90)
            grown = {
                "work": memory_bytes(pid, "VmHWM"),
                "serve": memory_bytes(server(running), "VmHWM"),
            }
        early = {
            record.id
            for record in (ledger.get(one) for one in list(running.acknowledged.values())[:21])
            if record
        }
        assert all(
            record and record.state is State.DELIVERED for record in map(ledger.get, early)
        ), "the oldest came first"
        assert {
            part: size - lean[part] for part, size in grown.items() if size - lean[part] > GROWTH
        } == {}
        assert sum(ledger.counts().values()) == SEEDED + 22

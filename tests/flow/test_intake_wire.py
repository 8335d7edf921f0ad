"""The real server on a real socket: hostile and slow senders, stopping and dying."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from service.local.redis import EmbeddedRedis
from tests.serve_process import ROOT, RUN, ServeProcess
from worker.contract import State
from worker.store import keys

CONFIG = """
[sources.contact]
rate_limit = "off"
leads_per_hour = "off"
max_body = "4KiB"
[sources.partner]
adapter = "json"
"""
BODY = b'{"email": "ada@acme.example"}'
HEAD = b"Host: a.example\r\nContent-Type: application/json\r\n"
PATIENCE = 60.0
# Seconds after which a connection that sends nothing more is cut.
CUT_AFTER_SECONDS = 10


def eventually(check: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Asks until the answer is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := check():
            return result
        time.sleep(0.02)
    pytest.fail(f"after {seconds:g} s still not: {what}")


def _serve(folder: Path, redis_url: str) -> ServeProcess:
    return ServeProcess(folder, redis_url, CONFIG, LEADLINE_CONNECTIONS_PER_ADDRESS="400")


@pytest.fixture(scope="module")
def server(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    running = _serve(tmp_path_factory.mktemp("wire"), redis_server.url)
    yield running
    running.stop()


@pytest.fixture
def own_server(redis_url: str, tmp_path: Path) -> Iterator[ServeProcess]:
    """One that a test may kill."""
    running = _serve(tmp_path, redis_url)
    yield running
    running.stop()


CLOSE = b"Connection: close"


def post(*headers: bytes, body: bytes = BODY, length: int | None = None) -> bytes:
    """A whole POST; `length` may lie."""
    lines = b"".join(header + b"\r\n" for header in headers)
    size = len(body) if length is None else length
    return (
        b"POST /in/contact HTTP/1.1\r\n"
        + HEAD
        + lines
        + b"Content-Length: %d\r\n\r\n" % size
        + body
    )


def bare(*headers: bytes, target: bytes = b"POST /in/contact", body: bytes = b"") -> bytes:
    """A request with just these headers."""
    return (
        target
        + b" HTTP/1.1\r\n"
        + HEAD
        + b"".join(header + b"\r\n" for header in headers)
        + b"\r\n"
        + body
    )


def statuses(answer: bytes) -> list[int]:
    """The statuses of all answers on one connection."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def stored_more(redis: redis_py.Redis, number: int) -> bool:
    return stored(redis) > number


def stored(redis: redis_py.Redis) -> int:
    return sum(redis.zcard(keys.state(state)) for state in State)


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = b"Content-Length: 0"
CHUNKS = (b"400\r\n" + b"a" * 1024 + b"\r\n") * 50


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(post(CLOSE), [202], id="plain"),
        pytest.param(
            post() + post(CLOSE, body=b'{"email": "b@acme.example"}'), [202, 202], id="pipelined"
        ),
        pytest.param(post(length=5), [400, 400], id="announces less than it sends"),
        pytest.param(
            post(body=BODY + SMUGGLED, length=len(BODY)),
            [202, 200],
            id="a second request behind the body",
        ),
        pytest.param(bare(b"Content-Length: -5", body=BODY), [400], id="negative"),
        pytest.param(bare(b"Content-Length: 1e3", body=BODY), [400], id="no number"),
        pytest.param(bare(b"Content-Length: +29", body=BODY), [400], id="signed"),
        pytest.param(bare(b"Content-Length: " + b"9" * 30, body=BODY), [400], id="vast"),
        pytest.param(post(length=999_999_999), [413], id="too much announced"),
        pytest.param(post(body=b"x" * 5_000), [413], id="too much sent"),
        pytest.param(post(b"Content-Length: 5"), [400], id="two lengths"),
        pytest.param(
            post(CHUNKED, body=b"1d\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED, length=4),
            [400],
            id="length and chunks",
        ),
        pytest.param(
            bare(CHUNKED, CLOSE, body=b"1d\r\n" + BODY + b"\r\n0\r\n\r\n"), [202], id="chunks"
        ),
        pytest.param(bare(CHUNKED, body=b"zz\r\n" + BODY), [400], id="a chunk of no size"),
        pytest.param(bare(CHUNKED, body=CHUNKS), [413], id="chunks without end"),
        pytest.param(bare(b"X-Long: " + b"a" * 200_000), [431], id="a long header"),
        pytest.param(bare(EMPTY, target=b"POST /in/\xff\xfe"), [400], id="no UTF-8 in the path"),
        pytest.param(
            bare(EMPTY, CLOSE, target=b"POST /in/%ff%00%0d%0a"),
            [404],
            id="escaped rubbish in the path",
        ),
        pytest.param(
            post(b"X-Odd: \xff\x80", b"Accept: \xff", b"Origin: \xfe", CLOSE),
            [202],
            id="no ASCII in headers",
        ),
        pytest.param(
            bare(EMPTY, CLOSE, target=b"BREW /in/contact"), [405], id="a method nobody knows"
        ),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400], id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400], id="TLS"),
    ],
)
def test_lies_about_lengths_and_rubbish(
    server: ServeProcess, data: bytes, expected: list[int]
) -> None:
    """Every request gets the right response or a closed connection; nothing is smuggled."""
    received = statuses(server.talk(data))
    assert received == expected


def test_random_bytes_never_make_a_5xx(server: ServeProcess) -> None:
    """Two hundred heads and bodies of rubbish are all refused, and the server lives."""
    dice = random.Random(20_261)
    for _ in range(200):
        rubbish = dice.randbytes(dice.randrange(1, 400))
        name = rubbish[:3].hex().encode()
        kind = dice.choice(
            [b"application/json", b"text/plain", b"multipart/form-data; boundary=" + name]
        )
        whole = bare(
            b"Content-Type: " + kind, b"Content-Length: %d" % len(rubbish), CLOSE, body=rubbish
        ).replace(HEAD, b"Host: a\r\n")
        path = bare(EMPTY, CLOSE, target=b"GET /" + name)
        data = dice.choice([b"\x00" + rubbish + b"\r\n\r\n", whole, path])
        assert all(200 <= status < 500 for status in statuses(server.talk(data)))
    assert statuses(server.talk(post(CLOSE))) == [202]


def test_who_hangs_up_in_the_middle_leaves_nothing(
    server: ServeProcess, redis: redis_py.Redis
) -> None:
    """Half a body and gone: one log line, no row, no error."""
    before = len(server.submissions())
    with server.connect() as conversation:
        conversation.sendall(post(b"X-Request-Id: half")[:-10])
    eventually(lambda: len(server.submissions()) > before, "a line about it")
    line = next(line for line in server.submissions() if line["request_id"] == "half")
    assert (line["outcome"], line["status"], line["submission_id"]) == ("incomplete", 400, None)
    assert stored(redis) == 0


def test_who_hangs_up_after_the_body_does_no_harm(
    server: ServeProcess, redis: redis_py.Redis
) -> None:
    """A sender that leaves after its body: all or nothing is stored, and no error is logged.

    Others are served meanwhile.
    """
    for number in range(5):
        conversation = server.connect()
        conversation.sendall(post(body=b'{"email": "hangup%d@acme.example"}' % number))
        conversation.close()
    server.talk(post(CLOSE))
    assert 1 <= stored(redis) <= 6
    assert [line for line in map(json.loads, list(server.lines)) if line["level"] == "error"] == []


def test_who_is_reset_after_the_body_was_taken_is_kept(
    server: ServeProcess, redis: redis_py.Redis
) -> None:
    """A connection that is reset once the record is there leaves the record."""
    for number in range(5):
        conversation = server.connect()
        conversation.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        conversation.sendall(post(body=b'{"email": "reset%d@acme.example"}' % number))
        eventually(partial(stored_more, redis, number), "stored")
        conversation.close()
    assert stored(redis) == 5
    assert [line for line in map(json.loads, list(server.lines)) if line["level"] == "error"] == []


def test_every_line_of_the_log_is_one_inert_event(server: ServeProcess) -> None:
    """Line breaks, escapes, separators and personal data do not get into the log."""
    evil = '\\u000a\\u000d\\u001b[31m\\u2028\\u0085{\\"event\\":\\"forged\\"}'
    before = len(server.submissions())
    server.talk(
        post(
            CLOSE,
            b"X-Request-Id: a\xe2\x80\xa8b",
            b"User-Agent: canary",
            body=f'{{"email": "canary@acme.example", "name": "{evil}"}}'.encode(),
        )
    )
    server.talk(b"GET /canary%0a%1b[31m HTTP/1.1\r\nHost: canary\r\nConnection: close\r\n\r\n")
    eventually(lambda: len(server.submissions()) > before, "a line about it")
    for line in list(server.lines):
        assert json.loads(line)["event"]
        assert "canary" not in line
        assert "\x1b" not in line


def test_dawdlers_are_cut_off_and_keep_nobody_waiting(
    server: ServeProcess, redis: redis_py.Redis
) -> None:
    """300 connections that send nothing, half a head or half a body are cut in ten seconds.

    Others are served meanwhile.
    """
    parts = [b"", b"POST /in/contact HTTP/1.1\r\nHos", post()[:-10]]
    opened = time.monotonic()
    slow = [server.connect() for _ in range(300)]
    for place, conversation in enumerate(slow):
        conversation.sendall(parts[place % 3])
    waits = []
    for _ in range(20):
        began = time.monotonic()
        assert statuses(server.talk(post(CLOSE))) == [202]
        waits.append(time.monotonic() - began)
    assert sorted(waits)[10] < CUT_AFTER_SECONDS / 2  # nobody waited for the cut
    answers = []
    for conversation in slow:
        conversation.settimeout(PATIENCE)
        answers.append(b"".join(iter(partial(conversation.recv, 65_536), b"")))
        conversation.close()
    assert time.monotonic() - opened > CUT_AFTER_SECONDS - 1
    assert [statuses(answer) for answer in answers] == [[], [], [408]] * 100
    assert stored(redis) == 1


def test_a_request_in_hand_is_finished_before_the_stop(
    own_server: ServeProcess, redis: redis_py.Redis
) -> None:
    """After SIGTERM the second half of a body is still accepted; the process exits with 0 in time."""
    data = post(CLOSE, b"Expect: 100-continue")
    conversation = own_server.connect()
    conversation.sendall(data[:-10])
    assert statuses(conversation.recv(65_536)) == [100]  # the application reads
    own_server.process.send_signal(signal.SIGTERM)
    conversation.sendall(data[-10:])
    answer = b"".join(iter(partial(conversation.recv, 65_536), b""))
    assert statuses(answer) == [202]
    assert own_server.process.wait(PATIENCE) == 0
    assert stored(redis) == 1


def test_what_was_counted_is_in_redis_after_the_stop(
    own_server: ServeProcess, redis: redis_py.Redis
) -> None:
    """The last flush happens on the way out."""
    # To a source that the module's other server, which counts into the same Redis, is never asked
    # for nonsense.
    nonsense = post(CLOSE, body=b"nonsense").replace(b"/in/contact", b"/in/partner", 1)
    assert statuses(own_server.talk(nonsense)) == [400]
    own_server.stop()
    assert (
        redis.hget(
            keys.METRICS, 'leadline_submissions_total{outcome="unreadable",source="partner"}'
        )
        == b"1"
    )


def test_no_server_process_outlives_its_parent(own_server: ServeProcess) -> None:
    """When the parent is killed, the port is free again within seconds."""
    own_server.process.kill()
    own_server.process.wait()

    def closed() -> bool:
        try:
            own_server.connect().close()
        except OSError:
            return True
        return False

    eventually(closed, "the port is closed")


def test_a_wrong_source_file_is_refused_before_anything_listens(
    redis_url: str, tmp_path: Path
) -> None:
    """The process ends at once and names what is wrong."""
    config = tmp_path / "leadline.toml"
    config.write_text('[sources.contact]\nadaptor = "form"\n')
    named = {"LEADLINE_CONFIG": str(config), "LEADLINE_DATA_DIR": str(tmp_path)}
    env = os.environ | {"REDIS_URL": redis_url, "LEADLINE_PORT": "0"} | named
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "adaptor" in done.stdout + done.stderr
    assert "listening" not in done.stdout


@pytest.mark.parametrize("shared", [False, True], ids=["a stranger listens", "it is shared"])
def test_a_port_in_use_is_said_in_one_line(tmp_path: Path, redis_url: str, shared: bool) -> None:
    """`serve` ends with one line where its port is taken, also by one that would share it."""
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = run_serve(tmp_path, redis_url, "127.0.0.1", port)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in ended.stderr


def test_an_address_of_another_machine_is_said_in_one_line(tmp_path: Path, redis_url: str) -> None:
    """`serve` ends with one line where it may not listen."""
    ended = run_serve(tmp_path, redis_url, "192.0.2.1", 8000)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert "cannot listen on 192.0.2.1:8000" in ended.stderr


def run_serve(
    folder: Path, redis_url: str, host: str, port: int
) -> subprocess.CompletedProcess[str]:
    config = folder / "leadline.toml"
    config.write_text(CONFIG)
    env = os.environ | {
        "REDIS_URL": redis_url,
        "LEADLINE_HOST": host,
        "LEADLINE_PORT": str(port),
        "LEADLINE_CONFIG": str(config),
        "LEADLINE_DATA_DIR": str(folder),
    }
    command = [sys.executable, "-c", RUN]
    return subprocess.run(
        command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )

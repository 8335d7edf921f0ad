"""Runs schemathesis with all its checks over every operation of a running server.

    python -m tests.fuzz.served --examples 100

The server is `leadline serve` over a Redis of its own, on loopback. Exit code 0 if every check held.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.local.redis import EmbeddedRedis
from service.ports import find_free_port

CONFIG = Path(__file__).with_name("schemathesis.toml")
SOURCES = """
[sources.contact]
rate_limit = "off"
[sources.partner]
adapter = "json"
[sources.partner.verify]
scheme = "token"
header = "X-Key"
secret_env = "PARTNER_KEY"
"""
TOKEN = "an-operator-token-for-the-fuzzer"
START_SECONDS = 60.0


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Run `leadline serve`; yield its URL once it is ready."""
    (folder / "leadline.toml").write_text(SOURCES)
    port = find_free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    with EmbeddedRedis(folder) as redis:
        settings = {
            "REDIS_URL": redis.url,
            "LEADLINE_PORT": str(port),
            "LEADLINE_CONFIG": str(folder / "leadline.toml"),
            "LEADLINE_DATA_DIR": str(folder),
            "LEADLINE_OPS_TOKENS": f"fuzzer:operator:{TOKEN}",
            "PARTNER_KEY": "a-partner-key-for-the-fuzzer",
        }
        with (folder / "serve.log").open("wb") as log:
            serve = subprocess.Popen(
                [sys.executable, "-m", "service.cli.main", "serve"],
                env=os.environ | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            _await_ready(url, serve)
            yield url
            assert serve.poll() is None, "the server ended while it was fuzzed"
        finally:
            serve.terminate()
            serve.wait(timeout=30)


def _await_ready(url: str, serve: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and serve.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the server is not ready")


def run(url: str, *, examples: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis; `examples` is the most it makes up for each operation and phase."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={CONFIG}",
        "--no-color",
        "run",
        f"{url}/docs/openapi.json",
        "--checks=all",
        # Litestar answers OPTIONS with the methods of the handler that was registered first.
        "--exclude-checks=allow_header_conformance",
        f"--max-examples={examples}",
        f"--seed={seed}",
        f"--header=Authorization: Bearer {TOKEN}",
        "--warnings=off",
        "--generation-database=none",
        "--continue-on-failure",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def cases(output: str) -> int:
    """How many requests schemathesis says it sent."""
    match = re.search(r"([\d,]+) generated", output)
    return int(match[1].replace(",", "")) if match else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="leadline-fuzz-") as folder,
        running_server(Path(folder)) as url,
    ):
        done = run(url, examples=options.examples, seed=options.seed)
    print(done.stdout, done.stderr, sep="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

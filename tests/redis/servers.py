"""Redis servers with options of the test's choice, such as those that lose what they acknowledged."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.local.processes import Child, Supervisor
from service.local.redis import find_binary, responds
from tests.polling import eventually

NO_FILE = {"appendonly": "no"}
EVERY_SECOND = {"appendonly": "yes", "appendfsync": "everysec"}
EACH_WRITE = {"appendonly": "yes", "appendfsync": "always"}
EVICTING = EACH_WRITE | {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
CLUSTER = EACH_WRITE | {"cluster-enabled": "yes"}
MANAGED = {"rename-command": 'CONFIG ""'}
"""As most managed servers, it refuses CONFIG."""


@contextmanager
def redis_with(options: dict[str, str], port: int = 0) -> Iterator[str]:
    """Yields the URL of a server with these options; without `port`, on a Unix socket only."""
    folder = Path(tempfile.mkdtemp(prefix="leadline-redis-"))
    given = {
        "dir": str(folder),
        "unixsocket": str(folder / "s"),
        "port": str(port),
        "bind": "127.0.0.1",
        "save": '""',
        **options,
    }
    (folder / "conf").write_text("".join(f"{name} {value}\n" for name, value in given.items()))
    child = Child("redis", [str(find_binary()), str(folder / "conf")], log=folder / "log")
    url = f"redis://127.0.0.1:{port}/0" if port else f"unix://{folder / 's'}"
    try:
        with Supervisor([child]):
            assert eventually(lambda: responds(url)), (folder / "log").read_text()
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)

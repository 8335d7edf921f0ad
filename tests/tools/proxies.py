"""nginx and Caddy as Debian packages them, for the tests of `deploy/proxy/`.

    python -m tests.tools.proxies

unpacks those that are not on the PATH into `.proxies/`, and installs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".proxies"
PROGRAMS = {"nginx": "usr/sbin/nginx", "caddy": "usr/bin/caddy"}
SECONDS = 300


def find_proxy(name: str) -> Path | None:
    """Where the program is: on the PATH, among the system's, or in `.proxies/`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if found_on_path := shutil.which(name, path=path):
        return Path(found_on_path)
    unpacked = FOLDER / PROGRAMS[name]
    return unpacked if unpacked.exists() else None


def fetch_proxy(name: str) -> None:
    """Download Debian's package and unpack it. Raises OSError or CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="leadline-proxies-") as folder:
        _run("apt-get", "download", "-qq", name, folder=folder)
        [package] = Path(folder).glob("*.deb")
        _run("dpkg-deb", "-x", str(package), str(FOLDER), folder=folder)


def _run(*command: str, folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=SECONDS)


def main() -> int:
    missing = False
    for name in PROGRAMS:
        try:
            if find_proxy(name) is None:
                fetch_proxy(name)
            print(f"{name}: {find_proxy(name)}")
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{name}: not here, and apt-get does not bring it: {error}", file=sys.stderr)
            missing = True
    return int(missing)


if __name__ == "__main__":
    sys.exit(main())

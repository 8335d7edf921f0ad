"""Looks the locked packages up in a database of advisories: `python -m tests.tools.audit`.

Exit code 0 if every package was looked up and none has an advisory, 1 if one has, 2 if the source
of advisories could not be reached or does not list a package: then nothing is known about it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

LOCKS = ("requirements.lock", "deploy/build.lock", "tests/requirements.lock")
TIMEOUT_SECONDS = 600


def audit(lock: str) -> list[dict[str, Any]] | str:
    """The packages of a lock file as pip-audit reports them, or why there is no report."""
    command = [
        str(Path(sys.executable).with_name("pip-audit")),
        *("--requirement", lock, "--require-hashes", "--disable-pip", "--format=json"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (done.stderr.strip().splitlines() or ["no output"])[-1]
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_SECONDS} s"
    return packages


def main(locks: tuple[str, ...] = LOCKS) -> int:
    console = Console()
    table = Table("lock file", "packages", "looked up", "advisories")
    advisories: list[str] = []
    unaudited = 0
    for lock in locks:
        packages = audit(lock)
        if isinstance(packages, str):
            console.print(f"{lock}: nothing was audited: {packages}")
            return 2
        skipped = [package for package in packages if "skip_reason" in package]
        faults = [
            f"{package['name']} {package['version']}: {fault['id']},"
            f" mended in {', '.join(fault['fix_versions']) or 'no version'}"
            for package in packages
            for fault in package.get("vulns", ())
        ]
        table.add_row(lock, str(len(packages)), str(len(packages) - len(skipped)), str(len(faults)))
        unaudited += len(skipped)
        advisories += faults
    console.print(table)
    for advisory in advisories:
        console.print(advisory)
    if unaudited:
        console.print(
            f"{unaudited} packages were NOT audited: the source of advisories (PyPI) could not be"
            " reached, or does not list them."
        )
    return 1 if advisories else 2 if unaudited else 0


if __name__ == "__main__":
    sys.exit(main())

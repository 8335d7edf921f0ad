"""Fuzzes the reader and the running server side by side: `python -m tests.fuzz --cases 1000000`.

    reader   the labelled requests, mutated and guided by coverage; several processes, a seed each
    server   schemathesis over every operation of the OpenAPI document, with a tenth of the cases

Prints a line each ten seconds and a table at the end. Exit code 1 if anything fell: the case is
left in `build/fuzz`, and its log beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

FOLDER = Path("build/fuzz")
PROGRESS_SECONDS = 10.0
# Schemathesis sends about this many requests for one example asked for.
REQUESTS_PER_EXAMPLE = 45


class Part(NamedTuple):
    """One fuzzer in a process of its own, and the log that it writes."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def cases(self) -> int:
        """How many cases its log names, so far or in all."""
        text = self.log.read_text("utf-8", "replace")
        counts = re.findall(r"^#(\d+)\t|^Done (\d+) runs|([\d,]+) generated", text, re.MULTILINE)
        return max((int("".join(count).replace(",", "")) for count in counts), default=0)


def start(name: str, module: str, *arguments: str) -> Part:
    log = FOLDER / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdout=output, stderr=subprocess.STDOUT
        )
    return Part(name, log, process)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    served = options.cases // 10
    each = -(-(options.cases - served) // options.processes)
    parts = [
        start(f"reader-{seed}", "tests.fuzz.mutated", f"--cases={each}", f"--seed={seed}")
        for seed in range(1, options.processes + 1)
    ]
    examples = max(1, served // REQUESTS_PER_EXAMPLE)
    parts.append(start("server", "tests.fuzz.served", f"--examples={examples}"))
    began = printed_at = time.monotonic()
    while any(part.process.poll() is None for part in parts):
        time.sleep(0.2)
        if time.monotonic() - printed_at > PROGRESS_SECONDS:
            printed_at = time.monotonic()
            total = sum(part.cases for part in parts)
            print(
                f"{printed_at - began:6.0f} s  {total:>9,} of {options.cases:,} cases", flush=True
            )
    table = Table("part", "cases", "result", "log")
    for part in parts:
        result = "held" if part.process.returncode == 0 else "fell"
        table.add_row(part.name, f"{part.cases:,}", result, str(part.log))
    Console().print(table)
    return 1 if any(part.process.returncode for part in parts) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Mutates the labelled requests, guided by coverage: `python -m tests.fuzz.mutated --cases 10000`.

A program of its own, because the fuzzer ends the process that it ran in. Exit code 0 if every case
held; else the case that did not is left in `--findings`, for `--show` to run again by itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["service.sources", "worker.lead"]):
    from service.sources.request import InboundRequest
    from service.sources.schema import Source
    from tests.corpus.reading import build_request as corpus_request
    from tests.corpus.reading import load_cases
    from tests.fuzz.reading import check_reading, configured_sources, product_sources
    from tests.providers.cases import cases as provider_cases
    from tests.providers.cases import request_of as provider_request

MAX_BYTES = 64 * 1024
# A case that takes longer is a finding; the budget of a body is a small part of it.
MAX_SECONDS = 5
MAX_HEADERS = 30


class Target(NamedTuple):
    sources: list[Source]

    def run(self, data: bytes) -> None:
        """Read one case with the source that its first byte chooses."""
        if data:
            check_reading(self.sources[data[0] % len(self.sources)], unpack(data[1:]))


def pack(request: InboundRequest) -> bytes:
    """A request as one text that a mutation can change anywhere: a line each, then the body."""
    headers = [f"{name}: {value}" for name, value in request.headers if "\n" not in value]
    head = "\n".join([request.method, request.query, *headers])
    return head.encode("utf-8", "surrogatepass") + b"\n\n" + request.body


def unpack(data: bytes) -> InboundRequest:
    head, _, body = data.partition(b"\n\n")
    # A server passes heads on as Latin-1, and each line has at most one name.
    method, query, *lines = [*head.decode("latin-1").split("\n"), "", ""][: MAX_HEADERS + 2]
    headers = [
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(":") for line in lines if line)
    ]
    return InboundRequest(method=method, query=query, headers=headers, body=body)


def write_seeds(folder: Path, sources: list[Source]) -> int:
    """Write each labelled request once for its own adapter's source; returns how many."""
    adapters = {source.adapter: index for index, source in enumerate(sources)}
    requests = [
        (adapters.get(case["adapter"], 0), provider_request(case)) for case in provider_cases()
    ] + [(index % len(sources), corpus_request(case)) for index, case in enumerate(load_cases())]
    for number, (index, request) in enumerate(requests):
        seed = bytes([index]) + pack(request)
        if len(seed) <= MAX_BYTES:
            (folder / f"{number:05}").write_bytes(seed)
    return len(requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="the same cases for the same seed")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--show", type=Path, help="run the one case of this file")
    options = parser.parse_args()
    target = Target([*configured_sources(), *product_sources()])
    if options.show:
        target.run(options.show.read_bytes())
        return
    options.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="leadline-fuzz-") as folder:
        write_seeds(Path(folder), target.sources)
        flags = {
            "runs": options.cases,
            "seed": options.seed,
            "max_len": MAX_BYTES,
            "timeout": MAX_SECONDS,
            "artifact_prefix": f"{options.findings}/",
            "print_final_stats": 1,
        }
        arguments = [f"-{name}={value}" for name, value in flags.items()]
        atheris.Setup([sys.argv[0], *arguments, folder], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

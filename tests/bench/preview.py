"""How long a preview takes: all captured cases in one process, as `leadline preview SOURCE FILE
FILE...` judges them.

    python -m tests.bench.preview [--rounds N]

Prints milliseconds of processor time for each preview: median, 95th percentile, the slowest and its
case. The source file is read once, outside the measure; what is measured is the whole of a preview,
from raw bytes to the printed line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import msgspec

from service.intake.preview import preview, preview_record
from service.sources.fields import matching
from tests.providers.cases import Case, cases, name_of, request_of, source_of

NOW = 1_700_000_000.0
AIM_MS = 5.0
"""A few milliseconds, as promised; beyond it the command fails."""


def jobs() -> dict[str, Callable[[], bytes]]:
    """Case -> its preview, ready to run."""
    return {
        name_of(case): _job(case) for kind in ("request", "api_response") for case in cases(kind)
    }


def _job(case: Case) -> Callable[[], bytes]:
    at = float(case.get("verification", {}).get("now", NOW))
    if case["kind"] != "request":
        source, record = (
            source_of(case | {"secret": "x"}),
            json.dumps(case["response"]["body_json"]).encode(),
        )
        return lambda: msgspec.json.encode(preview_record(source, record, at))
    source, request = source_of(case), request_of(case)
    return lambda: msgspec.json.encode(preview(source, request, at))


def measure(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each preview by case: the first round cold, the others as they come in a long
    run.
    """
    matching.split_words.cache_clear()
    taken: dict[str, list[float]] = {}
    ready = jobs()
    for _ in range(rounds):
        for name, job in ready.items():
            began = time.process_time()
            job()
            taken.setdefault(name, []).append(1000 * (time.process_time() - began))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="how often each case is previewed")
    taken = measure(parser.parse_args().rounds)
    cold, warm = (
        [times[0] for times in taken.values()],
        [time for times in taken.values() for time in times[1:]],
    )
    for label, times in (("first", cold), ("again", warm)):
        if len(times) > 1:
            p95 = statistics.quantiles(times, n=20)[-1]
            print(
                f"{label}: {len(times):>5} previews, median {statistics.median(times):.2f} ms, p95"
                f" {p95:.2f} ms"
            )
    slowest = max(taken, key=lambda name: statistics.median(taken[name]))
    print(f"slowest: {slowest}, median {statistics.median(taken[slowest]):.2f} ms")
    median = statistics.median(warm or cold)
    raise SystemExit(
        f"a preview takes {median:.2f} ms, more than {AIM_MS:g}" if median > AIM_MS else 0
    )


if __name__ == "__main__":
    main()

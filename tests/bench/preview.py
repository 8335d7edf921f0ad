"""How long a preview takes: all captured cases in one process.

    python -m tests.bench.preview [--rounds N]

Prints milliseconds of processor time for each preview: the median, the 95th percentile, and the
slowest case. A preview is measured as a whole, from raw bytes to the printed line, but the source
file is read once, outside the measurement.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import msgspec

from service.intake.preview import preview, preview_record
from service.sources.fields.recognition import forget_plans
from tests.providers.cases import Case, cases, name_of, request_of, source_of

NOW = 1_700_000_000.0
# "A few milliseconds", as promised; a larger median makes the command fail.
MAX_MEDIAN_MS = 5.0


def build_jobs() -> dict[str, Callable[[], bytes]]:
    """Case -> its preview, ready to run."""
    return {
        name_of(case): _build_job(case)
        for kind in ("request", "api_response")
        for case in cases(kind)
    }


def _build_job(case: Case) -> Callable[[], bytes]:
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
    """Milliseconds of each preview by case.

    The first round is cold, the others are as in a long run.
    """
    forget_plans()
    times_by_case: dict[str, list[float]] = {}
    ready = build_jobs()
    for _ in range(rounds):
        for name, job in ready.items():
            began = time.process_time()
            job()
            times_by_case.setdefault(name, []).append(1000 * (time.process_time() - began))
    return times_by_case


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="how often each case is previewed")
    times_by_case = measure(parser.parse_args().rounds)
    cold, warm = (
        [times[0] for times in times_by_case.values()],
        [time for times in times_by_case.values() for time in times[1:]],
    )
    for label, times in (("first", cold), ("again", warm)):
        if len(times) > 1:
            p95 = statistics.quantiles(times, n=20)[-1]
            print(
                f"{label}: {len(times):>5} previews, median {statistics.median(times):.2f} ms, p95"
                f" {p95:.2f} ms"
            )
    slowest = max(times_by_case, key=lambda name: statistics.median(times_by_case[name]))
    print(f"slowest: {slowest}, median {statistics.median(times_by_case[slowest]):.2f} ms")
    median = statistics.median(warm or cold)
    raise SystemExit(
        f"a preview takes {median:.2f} ms, more than {MAX_MEDIAN_MS:g}"
        if median > MAX_MEDIAN_MS
        else 0
    )


if __name__ == "__main__":
    main()

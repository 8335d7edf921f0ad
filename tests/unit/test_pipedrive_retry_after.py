from __future__ import annotations

import pytest

from worker.errors import BudgetSpent, RateLimited
from worker.pipedrive.responses import rate_limit_error

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
HOUR = 3600.0


@pytest.mark.parametrize(
    ("headers", "message", "kind", "seconds", "stated"),
    [
        ({}, "", RateLimited, 2, False),
        ({"retry-after": "7"}, "", RateLimited, 7, True),
        ({"retry-after": "1.5"}, "", RateLimited, 1.5, True),
        ({"retry-after": "60"}, "", RateLimited, 60, True),
        ({"retry-after": "0"}, "", RateLimited, 1, True),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, "", RateLimited, 10, True),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, "", RateLimited, 1, True),
        ({"retry-after": "-1"}, "", RateLimited, 2, False),
        ({"retry-after": "soon"}, "", RateLimited, 2, False),
        ({"retry-after": "nan"}, "", RateLimited, 2, False),
        ({"retry-after": "inf"}, "", RateLimited, 2, False),
        ({"retry-after": "9" * 400}, "", RateLimited, 2, False),
        ({"retry-after": "1000000000"}, "", RateLimited, HOUR, False),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, "", RateLimited, HOUR, False),
        ({"x-ratelimit-reset": "3"}, "", RateLimited, 3, True),
        ({"x-ratelimit-reset": "1700000004"}, "", RateLimited, 4, True),
        ({"x-ratelimit-reset": "-4"}, "", RateLimited, 2, False),
        ({"x-ratelimit-reset": "90000"}, "", RateLimited, HOUR, False),
        ({"retry-after": "rubbish", "x-ratelimit-reset": "3"}, "", RateLimited, 3, True),
        ({"retry-after": "5", "x-ratelimit-reset": "3"}, "", RateLimited, 5, True),
        ({"x-ratelimit-reset": "2"}, "Request over limit for this API token", RateLimited, 2, True),
        ({"retry-after": "61"}, "", BudgetSpent, 61, True),
        ({"retry-after": "43200"}, "", BudgetSpent, 12 * HOUR, True),
        ({"retry-after": "Wed, 15 Nov 2023 00:13:20 GMT"}, "", BudgetSpent, 2 * HOUR, True),
        ({}, "Daily API token budget exceeded", BudgetSpent, HOUR, False),
        ({"retry-after": "30"}, "daily limit", BudgetSpent, 30, True),
        ({"x-ratelimit-reset": "2"}, "token limit reached", BudgetSpent, HOUR, False),
        (
            {"retry-after": "1000000000"},
            "You have used all requests per day",
            BudgetSpent,
            HOUR,
            False,
        ),
        ({"x-daily-ratelimit-token-remaining": "0"}, "", BudgetSpent, HOUR, False),
        (
            {"x-daily-ratelimit-token-remaining": "-3", "x-ratelimit-reset": "2"},
            "",
            BudgetSpent,
            HOUR,
            False,
        ),
        ({"x-daily-ratelimit-token-remaining": "12"}, "", RateLimited, 2, False),
        ({"x-daily-ratelimit-token-remaining": "x"}, "", RateLimited, 2, False),
    ],
)
def test_wait(
    headers: dict[str, str], message: str, kind: type[RateLimited], seconds: float, stated: bool
) -> None:
    """A 429 is told to be a burst or the day's end, and its wait is believed only within sense."""
    error = rate_limit_error("leads.add", headers, message, message, NOW)
    assert type(error) is kind
    assert error.retry_after == pytest.approx(seconds)
    assert error.stated is stated

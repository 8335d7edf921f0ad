"""What the alert webhook is sent, when, and in which words."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.alerts.conditions import (
    Condition,
    DeadCause,
    Facts,
    format_span,
    machine_conditions,
    shared_conditions,
)
from service.alerts.state import (
    HOUR_SECONDS,
    AlertMessage,
    AlertState,
    MonitorState,
    decode,
    unusual_silence,
    update_alerts,
)
from service.alerts.webhook import AlertWebhook
from worker.ledger.storage import StorageUse
from worker.pipedrive.guarded_http import build_guarded_http

CALM: dict[str, Any] = {
    "dead": {}, "oldest_seconds": 0.0, "oldest_limit": 900.0, "paused": None, "workers": 1,
    "silent": {}, "missing_names": 0,
}  # fmt: skip


def keys_of(**facts: Any) -> dict[str, Condition]:
    return {condition.key: condition for condition in shared_conditions(Facts(**(CALM | facts)))}


@pytest.mark.parametrize(
    ("facts", "keys", "words"),
    [
        ({}, [], ""),
        (
            {"dead": {"a": DeadCause("no label 'X'", 1)}},
            ["dead"],
            "1 lead could not be delivered, for one cause",
        ),
        (
            {"dead": {"a": DeadCause("x", 9), "b": DeadCause("y", 12)}},
            ["dead", "cause:b"],
            "21 leads",
        ),
        ({"oldest_seconds": 900.0}, [], ""),
        ({"oldest_seconds": 11_400.0}, ["oldest"], "3 h 10 m"),
        ({"oldest_seconds": 11_400.0, "paused": "token refused"}, ["oldest"], "token refused"),
        ({"oldest_seconds": 11_400.0, "paused": "budget"}, ["oldest"], "tokens are used up"),
        (
            {"paused": "account", "advice": "open the account in Pipedrive"},
            ["gate"],
            "the Pipedrive account isn't open; open the account in Pipedrive",
        ),
        ({"paused": "version"}, ["gate"], "no longer has a call"),
        ({"paused": "outage"}, [], ""),
        ({"workers": 0}, ["workers"], "leadline work"),
        ({"silent": {"contact": 7200.0}}, ["silent:contact"], "silent for 2 h"),
        ({"missing_names": 2}, ["drift"], "2 names"),
        ({"hourly": {"contact": 0.8}}, ["hourly:contact"], "80% of the leads"),
        ({"hourly": {"contact": 1.2}}, ["hourly:contact"], "in quarantine as `flood`"),
        ({"hourly": {"contact": 0.79}}, [], ""),
        ({"storage": StorageUse(unverified_bytes=79, unverified_max=100)}, [], ""),
        (
            {"storage": StorageUse(unverified_bytes=80, unverified_max=100)},
            ["storage"],
            "80 % of the room for unverified submissions",
        ),
        (
            {"storage": StorageUse(memory_bytes=91, memory_max=100)},
            ["storage"],
            "91 % of Redis's memory",
        ),
    ],
)
def test_what_is_wrong(facts: dict[str, Any], keys: list[str], words: str) -> None:
    """Each fault is a condition of its own key, in words that say how much and what to do."""
    conditions = keys_of(**facts)
    assert list(conditions) == keys
    assert words in " ".join(condition.text for condition in conditions.values())


@pytest.mark.parametrize(
    ("redis", "spool", "key"),
    [(True, 0, None), (True, 3, "spool"), (False, 0, "redis"), (False, 3, "redis")],
)
def test_what_a_machine_sees(redis: bool, spool: int, key: str | None) -> None:
    """Each machine reports an unreachable Redis and a spool that does not drain for itself."""
    assert [condition.key for condition in machine_conditions(redis=redis, spool=spool)] == (
        [key] if key else []
    )


@pytest.mark.parametrize(
    ("count", "level"), [(10, 1), (19, 1), (20, 2), (39, 2), (40, 3), (1000, 7)]
)
def test_a_cause_grows_by_doubling(count: int, level: int) -> None:
    """Ten dead letters of one cause are an alert of their own, and so is each doubling."""
    assert keys_of(dead={"a": DeadCause("x", count)})["cause:a"].level == level


class Story:
    """Conditions over time; gathers what is sent."""

    def __init__(self) -> None:
        self.alerts: dict[str, AlertState] = {}

    def at(self, now: float, *raised: Condition) -> list[str]:
        self.alerts, messages = update_alerts(self.alerts, raised, now)
        return ["recovered" if message.recovered else message.text for message in messages]


def condition(level: int = 1, *, after: float = 0.0, calm: float = 300.0) -> Condition:
    return Condition(
        key="x", text=f"level {level}", recovered="fine", level=level, after=after, calm=calm
    )


def test_sent_once_and_recovered_once() -> None:
    """A condition that holds is sent once; when it has been gone for a while, that is sent once."""
    story = Story()
    assert story.at(0, condition()) == ["Level 1"]
    assert [story.at(now, condition()) for now in (15, 30, 4000)] == [[], [], []]
    assert [story.at(now) for now in (4015, 4300)] == [[], []]
    assert story.at(4316) == ["recovered"]
    assert story.at(9999) == []


def test_what_passes_quickly_is_not_sent() -> None:
    """A condition that goes before it has held long enough is never sent, nor is its recovery."""
    story = Story()
    assert story.at(0, condition(after=60)) == []
    assert story.at(59, condition(after=60)) == []
    assert [story.at(60), story.at(1000)] == [[], []]
    assert story.at(2000, condition(after=60)) == []
    assert story.at(2061, condition(after=60)) == ["Level 1"]


def test_no_flapping() -> None:
    """What comes and goes is one alert: it is not called recovered and sent again in between."""
    story = Story()
    sent = [story.at(now, *([condition()] if now % 120 == 0 else [])) for now in range(0, 3600, 60)]
    assert [each for each in sent if each] == [["Level 1"]]


def test_growth_is_sent_again() -> None:
    """A higher level is sent again, at most every five minutes; a lower one is not."""
    story = Story()
    assert story.at(0, condition(1)) == ["Level 1"]
    assert story.at(15, condition(2)) == []
    assert story.at(301, condition(3)) == ["Level 3"]
    assert story.at(900, condition(2)) == []
    assert story.at(1300, condition(3)) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=60))
def test_alarm_and_recovery_alternate(steps: Iterable[tuple[bool, int]]) -> None:
    """Whatever happens, an alert is followed by its recovery before it is sent again."""
    story, now, sent = Story(), 0.0, []
    for raised, seconds in steps:
        now += seconds
        sent += story.at(now, *([condition(after=30)] if raised else []))
    assert all(one != other for one, other in pairwise(sent))
    assert not sent or sent[0] != "recovered"


WEEK = 7 * 24
START = 4 * 24  # a Monday, in hours since 1970


def busy(per_hour: int, days: int, only: range = range(24)) -> dict[int, int]:
    return {START + hour: per_hour for hour in range(days * 24) if hour % 24 in only and per_hour}


@pytest.mark.parametrize(
    ("hours", "since", "silence", "unusual"),
    [
        (busy(60, 14), START + 14 * 24, 0.4, False),  # too short to say
        (busy(60, 14), START + 14 * 24, 0.6, True),
        (busy(2, 14), START + 14 * 24, 2.0, False),  # four would have come: chance
        (busy(2, 14), START + 14 * 24, 3.5, True),
        (busy(60, 2), START + 2 * 24, 5.0, False),  # too few days
        (busy(20, 14, range(8, 18)), START + 14 * 24 - 6, 10.0, False),  # it sleeps at night
        (
            busy(20, 14, range(8, 18)),
            START + 14 * 24 - 6,
            17.0,
            True,
        ),  # and does not wake in the morning
        (busy(60, 14), START + 14 * 24, 24.0 * 20, True),  # silent for weeks is still silent
        ({}, START, 100.0, False),
    ],
)
def test_silence(hours: dict[int, int], since: int, silence: float, unusual: bool) -> None:
    """A source is silent when six would have come by the same hours of earlier days."""
    last = since * HOUR_SECONDS
    silent_for = unusual_silence(hours, float(last), last + silence * HOUR_SECONDS)
    assert silent_for == (silence * HOUR_SECONDS if unusual else None)


def test_quiet_weekends_are_usual() -> None:
    """A source that is active on working days only is not silent on a Saturday."""
    hours = {START + hour: 30 for hour in range(4 * WEEK) if hour // 24 % 7 < 5}
    friday_night = float((START + 3 * WEEK + 5 * 24) * HOUR_SECONDS)
    assert (
        unusual_silence(
            {hour: n for hour, n in hours.items() if hour * HOUR_SECONDS < friday_night},
            friday_night,
            friday_night + 20 * HOUR_SECONDS,
        )
        is None
    )


def test_activity_is_the_rise_of_a_counter() -> None:
    """The first reading says nothing, a rise is what arrived, a fall is a store that lost data."""
    state = MonitorState()
    for now, total in ((0.0, 100.0), (60.0, 103.0), (3700.0, 104.0), (7300.0, 2.0), (7400.0, 5.0)):
        state.record_totals({"contact": total}, now)
    assert state.sources["contact"].hours == {0: 3, 1: 1, 2: 3}
    assert state.sources["contact"].last_rise_at == 7400.0


def test_a_state_of_another_version_starts_afresh() -> None:
    """A state that cannot be read is replaced."""
    assert decode(b'{"alerts": 3}').alerts == {}
    assert decode(None).sources == {}


def test_messages_mention_nobody() -> None:
    """Text that Slack reads as a mention or a link is escaped; a link leads to the console."""
    with build_guarded_http(allow_private=True) as http:
        body = AlertWebhook("http://127.0.0.1:1", "https://leads.example/", http).body(
            [
                AlertMessage("<!channel> & more", "/ops?x=1"),
                AlertMessage("fine", "/ops", recovered=True),
            ]
        )
    first, second = body["text"].split("\n")
    assert (
        first == ":rotating_light: *Leadline*: &lt;!channel&gt; &amp; more"
        " <https://leads.example/ops?x=1|open>"
    )
    assert second.startswith(":white_check_mark: *Leadline*: fine ")


def test_a_flood_is_one_post() -> None:
    """Beyond twenty messages the rest is a number."""
    with build_guarded_http(allow_private=True) as http:
        lines = (
            AlertWebhook("http://127.0.0.1:1", None, http)
            .body([AlertMessage("x", "/ops")] * 33)["text"]
            .split("\n")
        )
    assert (len(lines), lines[-1]) == (21, "… and 13 more")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (61, "1 m"),
        (11_400, "3 h 10 m"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (90_060, "1 d 1 h"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    """Two units at most."""
    assert format_span(seconds) == text

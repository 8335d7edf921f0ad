"""Senders for the chaos loop: a seed decides what they post, and they record every response.

Each body carries a token, by which its effects can be found anywhere. A careful sender posts the
same bytes with the same key until it gets a definite response; a careless one posts once.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import httpx

from tests.chaos.running_stack import SOURCES

CHAOS_SOURCES = (
    SOURCES
    + """
[sources.firm]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
[sources.firm.lead]
labels = ["Website"]
organization = true
note = true

[sources.broken]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
[sources.broken.lead]
labels = ["No such label"]

[sources.trap]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
honeypot = ["website"]

[sources.trial]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
[sources.trial.read]
test = { at = "livemode", equals = "false" }

[sources.keyed]
adapter = "form"
rate_limit = "off"
leads_per_hour = "off"
[sources.keyed.verify]
scheme = "token"
header = "X-Key"
secret_env = ["CHAOS_SECRET"]
"""
)

POST_SECONDS = 10.0
MAX_RETRY_SECONDS = 180.0
"""How long a careful sender keeps trying."""


class Kind(StrEnum):
    """What a post is meant to become."""

    SITE = "site"
    FRESH = "fresh"
    FIRM = "firm"
    BROKEN = "broken"
    TRAP = "trap"
    TRIAL = "trial"
    CONFLICT = "conflict"
    """Another post's key with a body of its own: refused where that is known, else a submission
    like any other.
    """
    EMPTY = "empty"
    FORGED = "forged"


WEIGHTS = {
    Kind.SITE: 48, Kind.FRESH: 16, Kind.FIRM: 16, Kind.BROKEN: 4, Kind.TRAP: 4, Kind.TRIAL: 4,
    Kind.CONFLICT: 2, Kind.EMPTY: 3, Kind.FORGED: 3,
}  # fmt: skip


class Answer(StrEnum):
    """What a sender knows about its post."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass
class Post:
    """One body, however often it is sent.

    `statuses`: one for each try, None without a response; `ids`: every submission id it was given.
    """

    token: str
    kind: Kind
    email: str
    key: str | None
    careful: bool
    repeats: int
    statuses: list[int | None] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    @property
    def answer(self) -> Answer:
        if self.ids:
            return Answer.ACKNOWLEDGED
        definite = self.statuses and all(
            status is not None and 400 <= status < 500 for status in self.statuses
        )
        return Answer.REFUSED if definite else Answer.UNKNOWN

    def request(self) -> tuple[str, dict[str, str], dict[str, str]]:
        """Path, form fields, headers."""
        source = {Kind.CONFLICT: "site", Kind.EMPTY: "site", Kind.FORGED: "keyed"}.get(
            self.kind, self.kind.value
        )
        fields = {
            "name": f"Sender {self.token}",
            "email": self.email,
            "message": f"about {self.token}",
        }
        if self.kind is Kind.EMPTY:
            fields = {"message": f"about {self.token}"}
        more = {
            Kind.FIRM: {"company": f"Firm {self.email}"},
            Kind.TRAP: {"website": "x"},
            Kind.TRIAL: {"livemode": "false"},
        }
        headers = {"Accept": "application/json"} | (
            {"Idempotency-Key": self.key} if self.key else {}
        )
        return f"/in/{source}", fields | more.get(self.kind, {}), headers


def plan_posts(seed: int, count: int, weights: Mapping[Kind, int] = WEIGHTS) -> list[Post]:
    """Plan the posts of a run: some share an e-mail address, some are repeated, some have no key."""
    chance = random.Random(f"posts {seed}")
    kinds = chance.choices(list(weights), list(weights.values()), k=count)
    people = [f"person{number}-{seed}@example.com" for number in range(max(3, count // 12))]
    posts: list[Post] = []
    for number, kind in enumerate(kinds):
        token = f"t{seed}x{number:05d}x"
        email = chance.choice(people) if chance.random() < 0.5 else f"{token}@example.com"
        key: str | None = f"key-{token}" if chance.random() < 0.85 else None
        if kind is Kind.CONFLICT:
            before = [post for post in posts if post.kind is Kind.SITE and post.key]
            key = chance.choice(before).key if before else f"key-{token}"
        posts.append(
            Post(token, kind, email, key, chance.random() < 0.85, int(chance.random() < 0.15))
        )
    return posts


class Senders:
    """Sends the posts from several threads, spread over some seconds."""

    def __init__(
        self,
        urls: Sequence[str],
        posts: Sequence[Post],
        seconds: float,
        seed: int,
        threads: int = 8,
    ) -> None:
        self._urls = itertools.cycle(urls)
        self._urls_lock = threading.Lock()
        self._schedule = self._spread(posts, seconds, random.Random(f"turns {seed}"))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.faults: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, name=f"sender-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> bool:
        """Wait until all are sent. Returns whether they were; nothing is sent afterwards."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        done = not any(thread.is_alive() for thread in self._threads)
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * POST_SECONDS)
        return done

    def _spread(
        self, posts: Sequence[Post], seconds: float, chance: random.Random
    ) -> Iterator[tuple[float, Post, bool]]:
        """When to send what, and whether it is the first time; repeats come some time later."""
        began = time.monotonic()
        gap = seconds / max(1, len(posts))
        schedule = [(number * gap, post, True) for number, post in enumerate(posts)]
        schedule += [
            (at + chance.uniform(0, seconds / 4), post, False)
            for at, post, _ in schedule
            for _ in range(post.repeats)
        ]
        schedule.sort(key=lambda turn: turn[0])
        return iter([(began + at, post, first) for at, post, first in schedule])

    def _run(self) -> None:
        with httpx.Client(timeout=POST_SECONDS, trust_env=False) as http:
            while (turn := self._next()) is not None:
                at, post, first = turn
                if self._stop.wait(max(0.0, at - time.monotonic())):
                    return
                if first or post.ids:
                    self._send(http, post)

    def _next(self) -> tuple[float, Post, bool] | None:
        with self._lock:
            return next(self._schedule, None)

    def _url(self) -> str:
        with self._urls_lock:
            return next(self._urls)

    def _send(self, http: httpx.Client, post: Post) -> None:
        deadline = time.monotonic() + MAX_RETRY_SECONDS
        wait = 0.1
        while not self._stop.is_set():
            if self._try_once(http, post) or not post.careful:
                return
            if time.monotonic() > deadline:
                self.faults.append(f"{post.token} was never answered: {post.statuses[-5:]}")
                return
            self._stop.wait(wait)
            wait = min(2 * wait, 2.0)

    def _try_once(self, http: httpx.Client, post: Post) -> bool:
        """Try once. Returns whether the response was definite."""
        path, fields, headers = post.request()
        try:
            answer = http.post(self._url() + path, data=fields, headers=headers)
        except httpx.HTTPError:
            post.statuses.append(None)
            return False
        post.statuses.append(answer.status_code)
        if answer.status_code == 202:
            post.ids.add(answer.json()["id"])
            return True
        if answer.status_code >= 500 and answer.status_code != 503:
            self.faults.append(f"{post.token} was answered {answer.status_code}")
        return 400 <= answer.status_code < 500


def count_posts(posts: Sequence[Post], so: Callable[[Post], bool]) -> int:
    return sum(so(post) for post in posts)

"""Paths have one reading: what a proxy's rule sees is what we serve."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.local.redis import EmbeddedRedis
from service.web.request_head import NOWHERE, normal_path
from tests.serve_process import ServeProcess, post, statuses

TOKEN = "a-token-of-the-path-tests"
SOURCES = """
[sources.contact]
rate_limit = "off"
"""


@pytest.fixture(scope="module")
def server(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    running = ServeProcess(
        tmp_path_factory.mktemp("paths"),
        redis_server.url,
        SOURCES,
        LEADLINE_OPS_TOKENS=f"kim:operator:{TOKEN}",
    )
    yield running
    running.stop()


DISGUISED = [
    "//metrics",
    "///metrics",
    "/metrics/",
    "/metrics//",
    "/./metrics",
    "/metrics/.",
    "/x/../metrics",
    "/in/../metrics",
    "/%2fmetrics",
    "/%2Fmetrics",
    "/%6detrics",
    "/metric%73",
    "/%2e/metrics",
    "/x/%2e%2e/metrics",
    "/metrics%2f",
    "/metrics%00",
    "/metrics%20",
    "/metrics;v=1",
    "/metrics;",
    "/;/metrics",
    "\\\\metrics",
    "/\\metrics",
    "/%5cmetrics",
    "/metrics\\",
    "/metrics#x",
    "/METRICS",
    "//ops",
    "/%2fops",
    "/ops//api/overview",
    "/ops/../ops/api/overview",
    "/ops/./api/overview",
    "/ops/%61pi/overview",
    "/%6fps/api/overview",
    "/ops;x/api/overview",
    "/x/..;/ops/api/overview",
    "/ops%2fapi/overview",
    "/ops/api%2foverview",
    "/ops\\api\\overview",
    "/ops/api/overview/..%2foverview",
    "/ops/..",
]


@pytest.mark.parametrize("path", DISGUISED)
def test_a_disguised_path_leads_nowhere(server: ServeProcess, path: str) -> None:
    """No other spelling of a path shows what is there, with or without a token."""
    authorization = f"Authorization: Bearer {TOKEN}".encode()
    assert server.get(path.encode(), authorization)[0] in (400, 404)


@pytest.mark.parametrize("path", ["/metrics", "/ops/api/overview", "/ops/", "/healthz?x=//%2f.."])
def test_the_plain_path_is_served(server: ServeProcess, path: str) -> None:
    """As it is written in the documents, and with any query."""
    assert server.get(path.encode(), f"Authorization: Bearer {TOKEN}".encode()) == [200]


def test_a_form_may_end_in_a_slash(server: ServeProcess) -> None:
    """Forms are pasted with a slash at the end; no rule of a proxy is passed by that."""
    assert statuses(server.talk(post(path=b"/in/contact/"))) == [202]
    assert statuses(server.talk(post(path=b"/in//contact"))) == [404]


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/in/contact", "/in/contact"),
        ("/in/contact/", "/in/contact"),
        ("/ops/", "/ops"),
        ("/ops/api/", "/ops/api"),
        ("/ops/static/console-1.2.js", "/ops/static/console-1.2.js"),
        ("/in/..contact", "/in/..contact"),
        ("/in//", NOWHERE),
        ("/in/contact//", NOWHERE),
        ("/healthz/", NOWHERE),
        ("/in/..", NOWHERE),
        ("", NOWHERE),
    ],
)
def test_the_normal_form(path: str, normal: str) -> None:
    """Only a slash at the end is dropped, and only where it is customary."""
    assert normal_path(path) == normal

"""Error answers: the problem document, its page, and who gets which."""

from __future__ import annotations

import msgspec
import pytest

from service.sources.request import FieldError
from service.web.pages import prefers_html
from service.web.problems import PROBLEM_KINDS, HttpProblem, problem_document, problem_response

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def test_every_kind_is_a_complete_problem() -> None:
    """A problem has the members of RFC 9457 and ours, with the status of its kind."""
    for kind in PROBLEM_KINDS:
        body = msgspec.json.decode(
            msgspec.json.encode(problem_document(HttpProblem(kind), "req-1"))
        )
        assert set(body) == {"type", "title", "status", "detail", "instance", "errors"}
        assert body["type"] == f"/docs#problem-{kind}"
        assert body["status"] == PROBLEM_KINDS[kind].status
        assert body["detail"]
        assert body["instance"] == "req-1"


def test_few_kinds_are_ours_to_answer_for() -> None:
    """Only a bug of ours, Redis and lists that are away or unsafe are a 5xx; every other kind is a 4xx."""
    assert {name for name, kind in PROBLEM_KINDS.items() if kind.status >= 500} == {
        "not-stored",
        "unsafe-store",
        "no-room",
        "away",
        "full",
        "loading",
        "internal",
    }


def test_extensions_do_not_replace_the_standard_members() -> None:
    """Members that a product needs stand beside the others."""
    body = problem_document(HttpProblem("rate", extensions={"message": "m", "status": 1}), "r")
    assert body["message"] == "m"
    assert body["status"] == 429


def test_json_and_page_say_the_same() -> None:
    """The page has what the JSON has, escaped, under the same status and headers."""
    problem = HttpProblem(
        "no-contact",
        "a < b",
        errors=[FieldError("e<mail", 'give "one"')],
        headers={"Retry-After": "3"},
    )
    as_json, as_page = (
        problem_response(problem, "req-1", page=page, headers={"Vary": "Origin"})
        for page in (False, True)
    )
    assert as_json.media_type == "application/problem+json"
    text = bytes(as_page.content).decode()
    for expected in (
        "There is nobody to contact",
        "a &lt; b",
        "e&lt;mail",
        "give &#34;one&#34;",
        "req-1",
    ):
        assert expected in text
    for each in (as_json, as_page):
        assert each.status_code == 422
        assert each.headers["Retry-After"] == "3"
        assert each.headers["Vary"] == "Origin"
        assert each.headers["Cache-Control"] == "no-store"
        assert each.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in as_page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (CHROME, True),
        ("text/html", True),
        ("application/xhtml+xml", True),
        ("TEXT/HTML;Q=0.9", True),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("text/html, application/json", True),
        ("application/json, text/html;q=0.5", False),
        ("application/problem+json, text/html;q=0.9", False),
        ("", False),
        ("*/*", False),
        ("application/json, text/javascript, */*; q=0.01", False),
        ("application/json", False),
        ("text/*", False),
        ("text/html;q=0", False),
        ("text/html;q=nan", False),
        ("text/html;q=junk", False),
        ("text/html;q=-1", False),
        ("text/html;q=99", False),
        ("\xff\xfe;;;,,,=;q", False),
        ("a/b," * 100_000 + "text/html", False),
    ],
)
def test_who_gets_a_page(accept: str, page: bool) -> None:
    """A browser that navigates prefers HTML; scripts, programs and rubbish get JSON."""
    assert prefers_html(accept) is page

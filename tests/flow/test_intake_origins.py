"""Which pages may post, and where a form may send a browser afterwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.web.origins import cors_headers, origin_allowed, origin_of, redirect_allowed

SITE = "https://www.acme.example"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://www.acme.example", SITE),
        ("https://www.acme.example/", SITE),
        ("HTTPS://WWW.Acme.Example/a?b#c", SITE),
        ("https://www.acme.example:443/", SITE),
        ("https://www.acme.example:8443/", SITE + ":8443"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    """The default port and the case of scheme and host do not matter."""
    assert origin_of(url) == origin


TRICKS = [
    "",
    "/thanks",
    "thanks",
    "//evil.example",
    "///evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https:\\\\evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "https://evil.example",
    "https://evil.example#@www.acme.example",
    "https://evil.example?@www.acme.example",
    "https://evil.example\\@www.acme.example",
    "https://evil.example\\.www.acme.example",
    "https://www.acme.example@evil.example",
    "https://www.acme.example:443@evil.example",
    "https://user@www.acme.example",
    "https://user:pass@www.acme.example",
    "https://@www.acme.example",
    "https://www.acme.example.evil.example",
    "https://www.acme.example.",
    "https://.www.acme.example",
    "https://wwwxacme.example",
    "https://acme.example",
    "https://sub.www.acme.example",
    "https://evil.example/https://www.acme.example",
    "http://www.acme.example",
    "https://www.acme.example:80",
    "https://www.acme.example:",
    "https://www.acme.example:0443",
    "https://www.acme.example:99999",
    "https://www.acme.example:x",
    "https://www.acme.example:-1",
    "https://www.acme.example:\u0664\u0664\u0663",
    "https://www.acme.example\r\nSet-Cookie: a=b",
    "https://www.acme.example/\r\nLocation: https://evil.example",
    "https://www.acme.example\n",
    "\thttps://www.acme.example",
    " https://www.acme.example",
    "https://www.acme.example ",
    "ht\ttps://www.acme.example",
    "https://www.acme\t.example",
    "https://www.acme.example\x00.evil.example",
    "https://www.acme.example\u2028",
    "https://www.acme。example",
    "https://www．acme．example",
    "https://ⓦww.acme.example",
    "https://www.acme.example%00.evil.example",
    "https://www.acme.example%2eevil.example",
    "https://%77ww.acme.example",
    "https://[www.acme.example]",
    "https://[::1",
    "javascript:alert(1)",
    "javascript://www.acme.example/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file://www.acme.example/etc/passwd",
    "ftp://www.acme.example/",
    "blob:https://www.acme.example/1",
    "view-source:https://www.acme.example",
    "https://www.acme.example/<script>",
    'https://www.acme.example/"onload="',
    "https://www.acme.example/" + "a" * 2100,
]


def test_redirect_tricks_lead_nowhere() -> None:
    """What is not plainly a URL of a listed origin is not followed."""
    for trick in TRICKS:
        assert redirect_allowed(trick, [SITE]) is False


@given(st.text(max_size=60))
def test_whatever_follows_the_scheme_only_listed_origins_pass(text: str) -> None:
    """No text makes an unlisted origin pass, nor an exception."""
    for url in (text, f"https://{text}", f"{SITE}{text}"):
        if redirect_allowed(url, [SITE]):
            rest = url[len(SITE) :]
            assert url[: len(SITE)].lower() == SITE
            assert rest == "" or rest[0] in "/?#" or rest.startswith(":443")


@pytest.mark.parametrize(
    "target",
    [SITE, f"{SITE}/", f"{SITE}/danke?x=1&y=2#z", f"{SITE}:443/a", "https://WWW.acme.example/a"],
)
def test_listed_origins_are_followed(target: str) -> None:
    """Any path of a listed origin is; with nothing listed, none is."""
    assert redirect_allowed(target, ["https://other.example", SITE + "/"]) is True
    assert redirect_allowed(target, []) is False


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ([], "https://any.example", True),
        ([], None, True),
        (["*"], "https://any.example", True),
        ([SITE], None, True),
        ([SITE], SITE, True),
        ([SITE], "HTTPS://WWW.ACME.EXAMPLE", True),
        ([SITE + "/"], SITE, True),
        ([SITE], "http://www.acme.example", False),
        ([SITE], "https://evil.example", False),
        ([SITE], "null", False),
        ([SITE], "", False),
        ([SITE], f"{SITE}, https://evil.example", False),
        (["junk"], "other junk", False),
        (["null"], "null", False),
    ],
)
def test_which_origins_may_post(origins: list[str], origin: str | None, allowed: bool) -> None:
    """With a list, a browser's Origin must be on it; a program sends none."""
    assert origin_allowed(origins, origin) is allowed


def test_cors_never_names_an_origin_that_is_not_listed() -> None:
    """An unlisted origin gets no permission, but caches are told that the answer depends on it."""
    assert cors_headers([SITE], "https://evil.example") == {"Vary": "Origin"}
    assert cors_headers([SITE], None) == {"Vary": "Origin"}
    assert cors_headers([SITE], SITE)["Access-Control-Allow-Origin"] == SITE
    assert cors_headers([], SITE)["Access-Control-Allow-Origin"] == "*"

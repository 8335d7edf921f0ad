"""`map` with transforms, `ignore` and `default_country`: what becomes of the values of a lead."""

from __future__ import annotations

import time

import pytest

from service.sources.fields.patterns import MAX_MATCHED_CHARS, PatternError, compile_pattern
from service.sources.payload.tree import Tree
from tests.unit.sources.factories import form, json_post, lead_of

MAIL = "Caller said: ring Ann Lee (ann.lee@shop.example, 2026-03-01) at +44 20 7946 0991, see www.shop.example/a?b."


def mapped(rule: str, value: Tree) -> str | list[str] | None:
    """What a rule makes of a value."""
    lead = lead_of(json_post({"x": value}), f'[sources.x.map]\nx = {{ to = "answers.y", {rule} }}')
    return lead.answers.get("y")


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ('extract = "email"', MAIL, "ann.lee@shop.example"),
        ('extract = "phone"', MAIL, "+44 20 7946 0991"),
        ('extract = "url"', MAIL, "www.shop.example/a?b"),
        ('extract = "email"', "nothing here", None),
        ("match = 'ring (\\w+ \\w+)'", MAIL, "Ann Lee"),
        ("match = '[0-9]{4}'", "year 2026", "2026"),
        ("match = '(b)'", ["abc", "x"], "b"),
        ('strip = "p:"', "p:+44 20", "+44 20"),
        ('trim = true, strip = "#"', "  #a# ", "a"),
        ('split = ";", trim = true', "a; b;", ["a", "b"]),
        ('split = ",", take = 2', "Lee, Ann", "Ann"),
        ("take = 1", ["a", "b"], "a"),
        ("take = -1", ["a", "b"], "b"),
        ("take = 3", ["a", "b"], None),
        ('unescape = "html"', "Lee &amp; Sons", "Lee & Sons"),
        ('join = " "', ["Ann", "Lee"], "Ann Lee"),
        ('join = " "', {"first": "Ann", "last": "Lee"}, "Ann Lee"),
        ('case = "title"', "ann-marie O'NEIL", "Ann-Marie O'neil"),
        ('case = "lower"', "ABC", "abc"),
        ('case = "upper"', "abc", "ABC"),
        ('match = "(z)", default = "none"', "abc", "none"),
        ("match = 'on: (.+)', split = ',', take = 2, case = 'upper'", "on: a, b", "B"),
    ],
)
def test_transforms(rule: str, value: Tree, expected: object) -> None:
    """Each transform does one thing, and they are applied in one order."""
    assert mapped(rule, value) == expected


def test_a_default_gives_way() -> None:
    """A default fills a field only where neither another line nor a name gives it a value."""
    toml = '[sources.x.map]\nfull = { to = "company", match = "^(.+?) - ", default = "unknown" }'
    assert lead_of(form(full="Acme - Ann", email="a@b.example"), toml).company == "Acme"
    assert lead_of(form(full="Ann", email="a@b.example"), toml).company == "unknown"
    assert lead_of(form(email="a@b.example"), toml).company == "unknown"
    assert lead_of(form(company="Bolt", email="a@b.example"), toml).company == "Bolt"


def test_a_part_leaves_the_rest() -> None:
    """A text of which a part was taken stays an answer, and one that was taken whole does not."""
    toml = '[sources.x.map]\nWho = { to = "email", extract = "email" }'
    lead = lead_of(form(Who="Ann, a@b.example, ring me"), toml)
    assert (lead.email, lead.answers) == ("a@b.example", {"Who": "Ann, a@b.example, ring me"})
    lead = lead_of(form(Who="a@b.example"), toml)
    assert (lead.email, lead.answers) == ("a@b.example", {})


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b", "(a|aa)+b", "(a*)*", r"(\w+\s)+x", ".*.*.*x", r"\d+\d+\d+x", "(a?){40}b",
        r"(a)\1+", "(?=a+)b", "x" * 201, "", "[", "(a?b?c?d?e?f?g?)x",
    ],
)  # fmt: skip
def test_patterns_that_may_take_years_are_refused(pattern: str) -> None:
    """A pattern that some text makes slow, and one that is none, cannot be loaded."""
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "^(.+?) - ", "^(.+?) - (.+)$", r"Name:\s*(.+?)\n", "^([^,]*),([^,]*),(.*)$", "(.*),(.*),(.*)",
        r"(?:\d{2} ?){4}", r"(\d+)(?:\s*(?:EUR|USD))", r"(?P<n>\d+)-\d+", r"(?i)budget[:\s]+([\d.,]+)",
    ],
)  # fmt: skip
def test_patterns_of_daily_use_are_quick(pattern: str) -> None:
    """A pattern that can be loaded takes a few milliseconds on any text, in steps it has counted."""
    safe = compile_pattern(pattern)
    texts = [piece * 2_000 for piece in ("a", " ", ", ", " - ", "Name: ", "1", "\n", "budget:")]
    begun = time.thread_time()
    for text in [*texts, "Name:" + " " * 5_000]:
        safe.find(text)
        assert safe.steps(text) <= 600_000
    assert time.thread_time() - begun < 1.0
    assert safe.max_chars <= MAX_MATCHED_CHARS


def test_ignored_paths_are_never_read() -> None:
    """What is ignored is neither a field nor an answer, however the sender nests it."""
    payload = {
        "email": "ann@b.example",
        "user": {"email": "clerk@acme.example", "phone": "+4930123456", "role": "boss"},
        "users": "3",
        "items": [{"sku": "1"}],
    }
    lead = lead_of(json_post(payload), 'adapter = "json"\nignore = ["user", "items"]')
    assert (lead.email, lead.phone, lead.answers) == ("ann@b.example", None, {"users": "3"})
    nested = form(("user[email]", "clerk@acme.example"), ("name", "Ann Lee"))
    lead = lead_of(nested, 'ignore = "user"')
    assert (lead.email, lead.name, lead.answers) == (None, "Ann Lee", {})


def test_what_is_ignored_wins() -> None:
    """Neither `map` nor what a product names itself brings back what is ignored."""
    toml = 'ignore = "a"\n[sources.x.map]\n"a.b" = "message"'
    assert lead_of(json_post({"a": {"b": "x"}, "email": "a@b.example"}), toml).message is None
    payload = {
        "contact_id": "c1", "email": "ann@b.example", "location": {"id": "l1"},
        "attributionSource": {"referrer": "https://a.example/"},
    }  # fmt: skip
    toml = 'adapter = "gohighlevel"\n'
    assert lead_of(json_post(payload), toml).referrer == "https://a.example/"
    lead = lead_of(json_post(payload), f'{toml}ignore = ["attributionSource"]')
    assert (lead.email, lead.referrer) == ("ann@b.example", None)
    form_post = form(
        ("form[id]", "f7"), ("form[name]", "Kontakt"), ("fields[email][value]", "a@b.co")
    )
    toml = 'adapter = "elementor"\n'
    assert lead_of(form_post, toml).form_id == "f7"
    lead = lead_of(form_post, f'{toml}ignore = "form"')
    assert (lead.email, lead.form_id, lead.form_name) == ("a@b.co", None, None)


@pytest.mark.parametrize(
    ("fields", "phone"),
    [
        ({"phone": "030 1234567"}, "+49301234567"),
        ({"phone": "+44 20 7946 0991"}, "+442079460991"),
        ({"phone": "01 5123456", "country": "Austria"}, "+4315123456"),
        ({"phone": "01 5123456", "country": "Atlantis"}, "01 5123456"),
    ],
)
def test_default_country(fields: dict[str, str], phone: str) -> None:
    """The source's country counts for numbers without `+` of leads that have no country."""
    assert lead_of(form(**fields), 'default_country = "DE"').phone == phone

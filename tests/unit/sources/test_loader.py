"""The source file: what is valid, what is not, and how faults are worded."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.adapters.registry import ADAPTERS
from service.sources.schema import ConfigError, Fault, Rate
from service.sources.source_file.loader import (
    VERIFY_SECRETS,
    SecretUse,
    build_lead_mappings,
    load_sources,
)
from service.sources.source_file.toml_reader import LineIndex
from tests.unit.sources.factories import json_post, lead_of, source
from worker.lead.settings import LeadSettings, ValueTemplates

FETCH: tuple[SecretUse, ...] = ("fetch",)
EXAMPLE = Path(__file__).parents[3] / "deploy" / "leadline.example.toml"


def load_faults(text: str, **env: str) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        load_sources(text, env)
    return caught.value.faults


def test_defaults() -> None:
    """An empty table is a complete source."""
    one = source()
    assert (one.adapter, one.dedupe_window, one.rate_limit, one.max_body) == (
        "form",
        600.0,
        Rate(60, 60.0),
        262_144,
    )
    assert (one.verification.scheme, one.reply, one.origins, one.lead, one.line) == (
        "none",
        None,
        [],
        LeadSettings(),
        1,
    )
    assert source('adapter = "json"').rate_limit is None
    assert source('adapter = "json"\nrate_limit = "5/s"').rate_limit == Rate(5, 1.0)
    assert source('rate_limit = "off"').rate_limit is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ('dedupe_window = "1h30m"', 5_400.0),
        ("dedupe_window = 0", 0.0),
        ('dedupe_window = "30d"', 2_592_000.0),
        ("min_fill_seconds = 2.5", 2.5),
        ('max_body = "1MiB"', 1_048_576),
        ("max_body = 1000", 1_000),
        ('honeypot = "website"', ["website"]),
        ("reply = 200", 200),
    ],
)
def test_values(key: str, value: object) -> None:
    """Durations, sizes and lists are read as people write them."""
    assert getattr(source(key), key.split(" ")[0]) == value


def test_defaults_of_all_sources() -> None:
    """`[pipedrive]` holds defaults for every source's `lead`; custom fields add up."""
    text = """
    [pipedrive]
    owner_id = 1
    labels = ["All"]
    value = { amount = "1", currency = "EUR" }
    custom = { A = "a", B = "b" }
    [sources.x.lead]
    labels = ["X"]
    custom = { B = "x" }
    [sources.y]
    """
    mappings = build_lead_mappings(load_sources(text, {}))
    assert (mappings["x"].lead.owner_id, mappings["x"].lead.labels, mappings["x"].lead.custom) == (
        1,
        ["X"],
        {"A": "a", "B": "x"},
    )
    assert (mappings["y"].lead.labels, mappings["y"].lead.value) == (
        ["All"],
        ValueTemplates("1", "EUR"),
    )
    assert mappings["y"].line == 10


@pytest.mark.parametrize(
    ("text", "where", "expected", "got"),
    [
        (
            "[sources.x.lead]\ntitel = 'x'",
            "leadline.toml:2 sources.x.lead.titel",
            "did you mean title?",
            "an unknown key",
        ),
        ("[source.x]", "leadline.toml:1 source", "did you mean sources?", "an unknown table"),
        (
            "[pipedrive]\nowner = 1\n[sources.x]",
            "leadline.toml:2 pipedrive.owner",
            "owner_id",
            "an unknown key",
        ),
        (
            "[sources.x]\nadapter = 'jsn'",
            "leadline.toml:2 sources.x.adapter",
            "did you mean json?",
            '"jsn"',
        ),
        ("[sources.x]\nadapter = 5", "leadline.toml:2 sources.x.adapter", "a string", "5"),
        (
            "[sources.x]\ndedupe_window = '10'",
            "leadline.toml:2 sources.x.dedupe_window",
            "a duration",
            '"10"',
        ),
        (
            "[sources.x]\ndedupe_window = '900w'",
            "leadline.toml:2 sources.x.dedupe_window",
            "ten years",
            '"900w"',
        ),
        (
            "[sources.x]\nmin_fill_seconds = true",
            "leadline.toml:2 sources.x.min_fill_seconds",
            "a duration",
            "true",
        ),
        (
            "[sources.x]\nmax_body = '1 lot'",
            "leadline.toml:2 sources.x.max_body",
            "a size",
            '"1 lot"',
        ),
        ("[sources.x]\nmax_body = 0", "leadline.toml:2 sources.x.max_body", "16MiB", "0"),
        (
            "[sources.x]\nrate_limit = '60'",
            "leadline.toml:2 sources.x.rate_limit",
            '"60/m", or "off"',
            '"60"',
        ),
        (
            "[sources.x]\nrate_limit = '0/m'",
            "leadline.toml:2 sources.x.rate_limit",
            "a count from 1 to 9,999,999",
            '"0/m"',
        ),
        (
            "[sources.x]\nrate_limit = '10000000/m'",
            "leadline.toml:2 sources.x.rate_limit",
            "a count from 1 to 9,999,999",
            '"10000000/m"',
        ),
        (
            "[sources.x]\nmin_fill_seconds = -1",
            "leadline.toml:2 sources.x.min_fill_seconds",
            "from 0 to ten years",
            "-1",
        ),
        (
            "[sources.x.read.labels]\nname = 'x'",
            "leadline.toml:1 sources.x.read.labels",
            "a table of lists of strings",
            '{"name": "x"}',
        ),
        (
            "[sources.x.read]\nroot = '" + "a." * 31 + "a'",
            "leadline.toml:2 sources.x.read.root",
            "at most 31 steps",
            '"a.a.',
        ),
        ("[sources.x", "leadline.toml:1:11", "valid TOML", "a syntax error: expected ']'"),
        (
            "[sources.x]\norigins = 'https://a.example'",
            "leadline.toml:2 sources.x.origins",
            "a list of strings",
            '"https://a.example"',
        ),
        (
            "[sources.x]\norigins = ['https://a.example/']",
            "leadline.toml:2 sources.x.origins[1]",
            "an origin",
            '"https://a.example/"',
        ),
        (
            "[sources.x]\norigins = ['https://A.example']",
            "leadline.toml:2 sources.x.origins[1]",
            "an origin",
            '"https://A.example"',
        ),
        (
            "[sources.x]\nredirect = '//a.example'",
            "leadline.toml:2 sources.x.redirect",
            "an http or https URL",
            '"//a.example"',
        ),
        ("[sources.x]\nreply = 302", "leadline.toml:2 sources.x.reply", "200 to 299", "302"),
        (
            "[sources.x.map]\nlead.email = 'email'",
            "leadline.toml:2 sources.x.map.lead",
            "the key to",
            "none",
        ),
        (
            "[sources.x.map]\na = { to = 'e-mail' }",
            "leadline.toml:2 sources.x.map.a.to",
            "did you mean email?",
            '"e-mail"',
        ),
        (
            "[sources.x.map]\na = 5",
            "leadline.toml:2 sources.x.map.a",
            "a string or a table",
            "5",
        ),
        (
            "[sources.x.map]\na = { to = 'name', extract = 'mail' }",
            "leadline.toml:2 sources.x.map.a.extract",
            "one of email, phone, url",
            '"mail"',
        ),
        (
            "[sources.x.map]\na = { to = 'name', match = '(x+)+y' }",
            "leadline.toml:2 sources.x.map.a.match",
            "without repeats or alternatives inside a repeat",
            '"(x+)+y"',
        ),
        (
            "[sources.x.map]\na = { to = 'name', match = '(x' }",
            "leadline.toml:2 sources.x.map.a.match",
            "a regular expression (missing )",
            '"(x"',
        ),
        (
            "[sources.x.map]\na = { to = 'name', take = 0 }",
            "leadline.toml:2 sources.x.map.a.take",
            "counts from 1",
            "0",
        ),
        (
            "[sources.x]\ndefault_country = 'Germany'",
            "leadline.toml:2 sources.x.default_country",
            "the two letters of a country",
            '"Germany"',
        ),
        (
            "[sources.x]\ndefault_country = 'uk'",
            "leadline.toml:2 sources.x.default_country",
            '"GB", not "UK"',
            '"UK"',
        ),
        ("[sources.x]\nignore = ['']", "leadline.toml:2 sources.x.ignore", "none of them", '[""]'),
        (
            "[sources.x]\ndedupe_on = ['a', ' ']",
            "leadline.toml:2 sources.x.dedupe_on[2]",
            "the name of a field",
            '" "',
        ),
        (
            "[sources.x.handshake]",
            "leadline.toml:1 sources.x.handshake",
            "one of when, echo, query, header and ping",
            "none",
        ),
        (
            "[sources.x.handshake]\nanswer = { a = '{b}' }",
            "leadline.toml:1 sources.x.handshake",
            "the key when",
            "none",
        ),
        (
            "[sources.x.handshake]\nwhen = { at = 'a' }\nanswer = { a = '{hmac-md5-hex:b}' }",
            "leadline.toml:3 sources.x.handshake.answer.a",
            "did you mean",
            '"{hmac-md5-hex:b}"',
        ),
        (
            "[sources.x.handshake]\nwhen = { at = 'a' }\nanswer = { a = '{hmac-sha256-hex:b}' }",
            "leadline.toml:3 sources.x.handshake.answer",
            "secret_env or challenge_env",
            "none",
        ),
        (
            "[sources.x.handshake]\nwhen = { at = 'a' }\nanswer = { a = '{b' }",
            "leadline.toml:3 sources.x.handshake.answer.a",
            "a path in braces",
            '"{b"',
        ),
        (
            "[sources.x.handshake]\nheader = 'X Hook'",
            "leadline.toml:2 sources.x.handshake.header",
            "the name of a header",
            '"X Hook"',
        ),
        ("[sources.x.map]\n'' = 'email'", 'leadline.toml:2 sources.x.map.""', "a path", '""'),
        (
            "[sources.x.map]\na = 'e-mail'",
            "leadline.toml:2 sources.x.map.a",
            "did you mean email?",
            '"e-mail"',
        ),
        (
            "[sources.x.map]\na = 'answers.'",
            "leadline.toml:2 sources.x.map.a",
            "answers.NAME",
            '"answers."',
        ),
        (
            "[sources.x.read]\nevent_id = '.id'",
            "leadline.toml:2 sources.x.read.event_id",
            "a path",
            '".id"',
        ),
        (
            "[sources.x.read]\npairs = { key = 'a' }",
            "leadline.toml:2 sources.x.read.pairs",
            "the key at",
            "none",
        ),
        (
            "[sources.x.read]\ntest = { at = '' }",
            "leadline.toml:2 sources.x.read.test.at",
            "a path",
            '""',
        ),
        (
            "[sources.x.read]\nlabels = { nam = ['x'] }",
            "leadline.toml:2 sources.x.read.labels.nam",
            "did you mean name?",
            "an unknown field",
        ),
        (
            "[sources.x.verify]\nscheme = 'hash'",
            "leadline.toml:2 sources.x.verify.scheme",
            "one of none, token, hmac",
            '"hash"',
        ),
        (
            "[sources.x.verify]\nsecret_env = 'K'",
            "leadline.toml:1 sources.x.verify.scheme",
            "one of token",
            '"none" with a secret',
        ),
        (
            "[sources.x.verify]\nscheme = 'jwt'",
            "leadline.toml:1 sources.x.verify.secret_env",
            "environment variables",
            "none",
        ),
        (
            "[sources.x.verify]\nscheme = 'jwt'\nsecret_env = 'NO'",
            "leadline.toml:3 sources.x.verify.secret_env",
            "variable NO",
            "none",
        ),
        (
            "[sources.x.verify]\nscheme = 'jwt'\nsecret_env = 'a b'",
            "leadline.toml:3 sources.x.verify.secret_env",
            "the name",
            '"a b"',
        ),
        (
            "[sources.x.verify]\nscheme = 'token'\nsecret_env = 'K'",
            "leadline.toml:1 sources.x.verify",
            "one of header, query",
            "0 of them",
        ),
        (
            "[sources.x.verify]\nscheme = 'hmac'\nsecret_env = 'K'",
            "leadline.toml:1 sources.x.verify.header",
            "the header",
            "none",
        ),
        (
            (
                "[sources.x.verify]\nscheme = 'hmac'\nsecret_env = 'K'\nheader = 'A'\nsigned ="
                " '{method}'"
            ),
            "leadline.toml:5 sources.x.verify.signed",
            "{body} in it",
            '"{method}"',
        ),
        (
            "[sources.x.lead]\ntitle = '{nme}'",
            "leadline.toml:2 sources.x.lead.title",
            "a template",
            "did you mean name?",
        ),
        (
            "[sources.x.lead]\ntitle = '{name'",
            "leadline.toml:2 sources.x.lead.title",
            "a template",
            "not closed",
        ),
        (
            "[sources.x.lead]\norigin_id = '{source}'",
            "leadline.toml:2 sources.x.lead.origin_id",
            "{submission_id} in it",
            '"{source}"',
        ),
        (
            "[sources.x.lead]\nlabel_color = 'teal'",
            "leadline.toml:2 sources.x.lead.label_color",
            "one of blue, brown",
            '"teal"',
        ),
        (
            "[sources.x.lead]\nexisting_window = '1'",
            "leadline.toml:2 sources.x.lead.existing_window",
            "a duration",
            '"1"',
        ),
        (
            "[sources.x.lead]\nexpected_close = 'soon'",
            "leadline.toml:2 sources.x.lead.expected_close",
            "a date",
            '"soon"',
        ),
        (
            "[sources.x.lead]\nvalue = { amount = '1' }",
            "leadline.toml:2 sources.x.lead.value",
            "the key currency",
            "none",
        ),
        (
            "[sources.x.lead.custom]\n'Bud get' = '{x}'",
            'leadline.toml:2 sources.x.lead.custom."Bud get"',
            "a template",
            "unknown field",
        ),
        (
            "[sources.x.lead]\nenrich = 'always'",
            "leadline.toml:2 sources.x.lead.enrich",
            "one of never, empty",
            "always",
        ),
        (
            "[sources.x.lead]\nperson_labels = [' ']",
            "leadline.toml:2 sources.x.lead.person_labels[1]",
            "the name of a label",
            " ",
        ),
        (
            "[sources.x.lead]\nperson_visible_to = 3",
            "leadline.toml:2 sources.x.lead.person_visible_to",
            "one of 1, 3, 5, 7",
            "3",
        ),
        (
            "[sources.x.lead]\nmarketing = 'yes'",
            "leadline.toml:2 sources.x.lead.marketing",
            "true or false",
            "yes",
        ),
        (
            "[sources.x.lead.custom]\n'organization.adress' = '{answers.street}'",
            'leadline.toml:2 sources.x.lead.custom."organization.adress"',
            "did you mean address?",
            "adress",
        ),
        (
            "[sources.x.lead]\nowner_id = []",
            "leadline.toml:2 sources.x.lead.owner_id",
            "1 to 50 owners",
            "[]",
        ),
        (
            "[sources.x.lead]\nowner_id = [12, ' ']",
            "leadline.toml:2 sources.x.lead.owner_id[2]",
            "the id, e-mail or name of a user",
            " ",
        ),
        (
            "[sources.x.lead]\nowner_id = { 12 = 0, 15 = 1 }",
            "leadline.toml:2 sources.x.lead.owner_id.12",
            "a weight from 1 to 100",
            "0",
        ),
        (
            "[sources.x.lead]\nowner_id = { 12 = 'often' }",
            "leadline.toml:2 sources.x.lead.owner_id",
            "a whole number or a string or a list of whole numbers or strings or a table of",
            "often",
        ),
        (
            "[sources.x.lead]\nmatch = ['mail']",
            "leadline.toml:2 sources.x.lead.match",
            "a list of email and phone",
            "mail",
        ),
        (
            "[sources.x.lead]\nmatch = []",
            "leadline.toml:2 sources.x.lead.match",
            '"email", "phone" or both',
            "[]",
        ),
        (
            "[pipedrive]\nmatch = ['email', 'email']\n[sources.x]",
            "leadline.toml:2 pipedrive.match",
            '"email", "phone" or both',
            "email",
        ),
        (
            "[[sources.x.rules]]\nwhen = { utm_source = 'a' }\nmatch = ['phone', 'phone']",
            "leadline.toml:3 sources.x.rules[1].match",
            '"email", "phone" or both',
            "phone",
        ),
        (
            "[[sources.x.rules]]\nlabels = ['a']",
            "leadline.toml:1 sources.x.rules[1]",
            "the key when",
            "none",
        ),
        (
            "[[sources.x.rules]]\nwhen = {}",
            "leadline.toml:2 sources.x.rules[1].when",
            "at least one condition",
            "{}",
        ),
        (
            "[[sources.x.rules]]\nwhen = { src = 'a' }",
            "leadline.toml:2 sources.x.rules[1].when.src",
            "a field of the lead",
            "unknown field",
        ),
        ("[sources.'a b']", 'leadline.toml:1 sources."a b"', "a name of letters", '"a b"'),
        ("[sources]\nx = 1", "leadline.toml:2 sources.x", "a table", "1"),
        ("", "leadline.toml sources", "at least one table", "none"),
        (
            "[sources.x]\nadapter = ",
            "leadline.toml:2:11",
            "valid TOML",
            "a syntax error: invalid value",
        ),
        (
            "[sources.x]\na = 1\na = 2",
            "leadline.toml:3:6",
            "valid TOML",
            "cannot overwrite a value",
        ),
        ("x = " + "[" * 5_000, "leadline.toml", "valid TOML", "nested too deep"),
    ],
)
def test_faults(text: str, where: str, expected: str, got: str) -> None:
    """Each fault says where, what is expected and what was found."""
    matches = [fault for fault in load_faults(text, K="secret") if fault.where == where]
    assert [fault for fault in matches if expected in fault.expected and got in fault.got], (
        load_faults(text, K="secret")
    )


def test_all_faults_at_once() -> None:
    """Every fault of every source is reported at once, in the order of the file."""
    text = """
[sources.a]
reply = 1
[sources.b.lead]
title = "{x}"
colour = 1
[[sources.a.rules]]
when = { utm_source = "x" }
chanel = "x"
title = "{y}"
[sources.b.read]
roots = "x"
labels = { q = [] }
"""
    assert [int(fault.where.split(":")[1].split(" ")[0]) for fault in load_faults(text)] == [
        3,
        5,
        6,
        9,
        10,
        12,
        13,
    ]


def test_any_text_may_be_mapped() -> None:
    """A question is mapped by its text, with whatever dots, brackets and line breaks are in it."""
    labels = ["Your name.", "Any news...?", "Name [required]", "First\nline", "a." * 40 + "b"]
    for label in labels:
        toml = f"[sources.x.map]\n{json.dumps(label)} = 'name'"
        assert lead_of(json_post({label: "Ada Byron"}), toml).name == "Ada Byron", label


def test_country_of_all_sources() -> None:
    """The setting's country is that of every source which has none of its own."""
    text = "[sources.x]\n[sources.y]\ndefault_country = 'at'"
    sources = load_sources(text, {"LEADLINE_DEFAULT_COUNTRY": "de"}).sources
    assert [sources[name].default_country for name in "xy"] == ["DE", "AT"]
    assert load_sources(text, {}).sources["x"].default_country is None
    [fault] = load_faults(text, LEADLINE_DEFAULT_COUNTRY="ZY")
    assert (fault.where, fault.got) == ("leadline.toml LEADLINE_DEFAULT_COUNTRY", '"ZY"')


def test_secrets() -> None:
    """Secrets come from the environment, several during a change, and do not print."""
    text = (
        '[sources.x.verify]\nscheme = "jwt"\nsecret_env = ["A", "B"]\nchallenge_env ='
        ' "C"\n[sources.x.fetch]\ntoken_env = "D"'
    )
    one = load_sources(text, {"A": "1st", "B": "2nd", "C": "3rd"}).sources["x"]
    assert [secret.value for secret in one.secrets] == ["1st", "2nd"]
    assert one.challenge is not None
    assert one.fetch_token is None
    assert not [value for value in ("1st", "2nd", "3rd") if value in repr(one)]
    worker = load_sources(text, {"D": "4th"}, secrets=FETCH).sources["x"]
    assert (worker.secrets, worker.fetch_token and worker.fetch_token.value) == ((), "4th")
    assert load_sources(text, {}, secrets=()).sources["x"].secrets == ()


def test_example() -> None:
    """The packaged example is valid: a form, a partner with a key and a signed webhook."""
    sources = load_sources(EXAMPLE, {"PARTNER_KEY": "p", "WEBHOOK_SECRET": "w"}).sources
    assert {name: one.verification.scheme for name, one in sources.items()} == {
        "contact": "none",
        "partner": "token",
        "webhook": "hmac",
    }
    assert sources["contact"].honeypot == ["website"]
    assert [fault.expected for fault in load_file_faults(EXAMPLE)] == [
        "the environment variable PARTNER_KEY with a secret",
        "the environment variable WEBHOOK_SECRET with a secret",
    ]


def test_example_uncommented() -> None:
    """What the example holds back behind `#` is valid as well."""
    text = re.sub(r"^#(?=[\[a-z])", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    env = dict.fromkeys(re.findall(r'"([A-Z][A-Z0-9]*_[A-Z0-9_]+)"', text), "secret")
    sources = load_sources(text, env, secrets=(*VERIFY_SECRETS, *FETCH)).sources
    products = {name: one for name, one in sources.items() if one.adapter not in ("form", "json")}
    assert set(products) == {"typeform", "jotform", "meta", "linkedin"}
    assert all(one.secrets for one in products.values())
    for one in products.values():
        assert bool(one.fetch_token) is (ADAPTERS[one.adapter].record_api is not None)
    assert re.search(r"^# origins = ", EXAMPLE.read_text("utf-8"), re.MULTILINE), (
        "prose and settings are told apart by the blank"
    )


def load_file_faults(path: Path) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        load_sources(path, {})
    return caught.value.faults


def test_files(tmp_path: Path) -> None:
    """A file that is missing, or not UTF-8, is a fault like any other; CRLF is accepted."""
    assert "can be read" in load_file_faults(tmp_path / "none.toml")[0].expected
    (tmp_path / "latin.toml").write_bytes("[sources.x] # é".encode("latin-1"))
    assert load_file_faults(tmp_path / "latin.toml")[0].expected == "UTF-8"
    (tmp_path / "crlf.toml").write_bytes(b"[sources.x]\r\nreply = 1\r\n")
    assert load_file_faults(tmp_path / "crlf.toml")[0].where == "crlf.toml:2 sources.x.reply"


LINES = '''
# [not.a.table]
[a]
b = """
[no.table]
c = 1
"""
d = [
  1, # ]
  2,
]
"e f".g = 'x'
h = { i = 1 }
[[l]]
x = 1
[[l]]
[[l.m]]
y = 2
[l.n]
z = 3
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 3), (("a", "b"), 4), (("a", "d"), 8), (("a", "e f", "g"), 12),
        (("a", "h", "i"), 13), (("l", 0, "x"), 15),
        (("l", 1), 16), (("l", 1, "m", 0, "y"), 18), (("l", 1, "n", "z"), 20), (("no",), None),
    ],
)  # fmt: skip
def test_lines(path: tuple[str | int, ...], line: int | None) -> None:
    """A key stands on its own line; in an inline table, on that table's."""
    assert LineIndex(LINES).line_of(path) == line


PIECES = ["[sources.x]\n", "map = ", "{}", "'", '"', "[[", "a", "=", ".", "\n", "1"]


@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text(text: str) -> None:
    """Any text is a source file or has faults; nothing else happens."""
    with contextlib.suppress(ConfigError):
        load_sources(text, {})

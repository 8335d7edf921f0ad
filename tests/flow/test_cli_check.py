"""`leadline check`: one line for each thing that is right, open or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from service.checks.environment import check_store, redact_url
from service.cli.main import main
from tests.flow.conftest import TOKEN, Account
from worker.settings.table import SETTINGS

OPEN = {row.name: "" for row in SETTINGS.values()}
GOOD = """
[pipedrive]
owner_id = 12
[sources.contact]
verify = { scheme = "token", header = "X-Key", secret_env = ["CONTACT_KEY"] }
[sources.contact.lead]
labels = ["Website", "ppc "]
channel = "Web forms"
[sources.contact.lead.custom]
"Budget" = "{answers.budget}"
"Company size" = "11-50"
"person.Newsletter" = "{consent}"
[[sources.contact.rules]]
when = { utm_source = "google" }
labels = ["Hot"]
channel = "Paid search"
owner_id = "robin@sandbox.example"
"""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `leadline check` over a source file given as text, with only the given settings."""

    def go(*words: str, config: str = GOOD, **env: str) -> Result:
        (tmp_path / "leadline.toml").write_text(config, "utf-8")
        own = {
            "LEADLINE_CONFIG": str(tmp_path / "leadline.toml"),
            "LEADLINE_DATA_DIR": str(tmp_path / "data"),
        }
        return CliRunner().invoke(
            main, ["check", *words], env=OPEN | own | {"CONTACT_KEY": "k"} | env
        )

    return go


def findings(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    assert all(list(finding) == ["level", "subject", "message", "setting"] for finding in found)
    assert result.exit_code == (1 if any(finding["level"] == "fail" for finding in found) else 0), (
        result.stdout
    )
    return found


def one(found: list[dict[str, Any]], said: str) -> tuple[str, str, str | None]:
    """Level, subject and setting of the one finding that says this."""
    [finding] = [finding for finding in found if said in finding["message"]]
    return finding["level"], finding["subject"], finding["setting"]


def levels(found: list[dict[str, Any]], subject: str) -> list[str]:
    return [finding["level"] for finding in found if finding["subject"] == subject]


@pytest.fixture
def everything(redis_url: str, account: Account) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "PIPEDRIVE_API_TOKEN": TOKEN,
        "PIPEDRIVE_BASE_URL": account.url,
        "PIPEDRIVE_PLAN": "unlimited",
        "LEADLINE_OPS_TOKENS": "ada:operator:t0ken",
    }


def test_all_is_well(run: Run, everything: dict[str, str]) -> None:
    """A good file, a good Redis and an account with every name give only ok, and exit code 0."""
    found = findings(run("--json", **everything))
    assert {finding["level"] for finding in found} == {"ok"}, found
    assert {finding["subject"] for finding in found} == {
        "settings",
        "source file",
        "source contact",
        "redis",
        "pipedrive",
    }


def test_people_get_aligned_lines(run: Run) -> None:
    """One line for each finding, levels and subjects aligned, no colour in a pipe."""
    result = run("--offline")
    lines = result.stdout.splitlines()
    assert len(lines) == len(findings(run("--offline", "--json")))
    assert "\x1b" not in result.stdout
    assert {line[:6].rstrip() for line in lines} <= {"ok", "warn", "fail"}
    begins = ("the console is closed", "/", "form at /in/contact")
    assert (
        len({line.index(f"  {word}") for line in lines for word in begins if f"  {word}" in line})
        == 1
    )


def test_every_fault_of_the_source_file(run: Run) -> None:
    """All faults of the file fail, each with line and key; nothing else about the file is printed."""
    found = findings(
        run("--offline", "--json", config='[sources.a]\nadaptor = "form"\nreply = 700\n')
    )
    assert one(found, "adaptor")[:2] == ("fail", "source file")
    assert one(found, "700") == ("fail", "source file", "sources.a.reply")
    assert "leadline.toml:3" in next(
        finding["message"] for finding in found if "700" in finding["message"]
    )
    assert len(levels(found, "source file")) == 2


@pytest.mark.parametrize(
    ("env", "level"),
    [({}, "warn"), ({"PIPEDRIVE_API_TOKEN": "t"}, "fail"), ({"PAGE_TOKEN": "t"}, None)],
)
def test_secrets(run: Run, env: dict[str, str], level: str | None) -> None:
    """A scheme's missing secret fails; one for fetching fails only where the worker runs."""
    config = GOOD + '[sources.contact.fetch]\ntoken_env = "PAGE_TOKEN"\n'
    found = findings(run("--offline", "--json", config=config, **env | {"CONTACT_KEY": ""}))
    assert one(found, "CONTACT_KEY") == ("fail", "source file", "sources.contact.verify.secret_env")
    if level:
        assert one(found, "PAGE_TOKEN") == (level, "source file", "sources.contact.fetch.token_env")
    else:
        assert "PAGE_TOKEN" not in str(found)


@pytest.mark.parametrize(
    ("fetch", "levels_"), [("", ["ok", "warn"]), ('fetch = { token_env = "PAGE_TOKEN" }', ["ok"])]
)
def test_products_that_send_ids_alone(run: Run, fetch: str, levels_: list[str]) -> None:
    """A missing token for fetching is found before the first event."""
    config = (
        '[sources.ads]\nadapter = "meta-lead-ads"\nverify = { secret_env = "CONTACT_KEY"'
        f" }}\n{fetch}\n"
    )
    found = findings(run("--offline", "--json", config=config, PAGE_TOKEN="t"))
    assert levels(found, "source ads") == levels_
    if not fetch:
        assert one(found, "may send only ids")[2] == "sources.ads.fetch.token_env"


def test_the_packaged_example(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a source file the example is checked, and its secrets may be missing."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    found = findings(run("--offline", "--json", LEADLINE_CONFIG=""))
    assert one(found, "packaged example") == ("warn", "source file", "LEADLINE_CONFIG")
    assert one(found, "PARTNER_KEY")[0] == "warn"


def test_settings_with_faults(run: Run) -> None:
    """Unusable settings fail by name, and the source file is checked all the same."""
    found = findings(
        run(
            "--json",
            LEADLINE_PORT="many",
            LEADLINE_SLOTS="0",
            LEADLINE_SLOT="3",
            config="[sources]\n",
        )
    )
    assert one(found, "'many'") == ("fail", "settings", "LEADLINE_PORT")
    assert one(found, "LEADLINE_SLOTS: ") == ("fail", "settings", "LEADLINE_SLOTS")
    assert one(found, "did you mean") == ("warn", "settings", "LEADLINE_SLOTS")
    assert one(found, "at least one table")[:2] == ("fail", "source file")


def test_what_is_left_open(run: Run) -> None:
    """A closed console, an open source and missing credentials are warnings."""
    found = findings(
        run("--json", config="[sources.contact]\n[sources.partner]\nadapter = 'json'\n")
    )
    assert one(found, "console is closed") == ("warn", "settings", "LEADLINE_OPS_TOKENS")
    assert one(found, "no credentials") == ("warn", "pipedrive", "PIPEDRIVE_API_TOKEN")
    for name in ("contact", "partner"):
        [finding] = [finding for finding in found if finding["subject"] == f"source {name}"]
        assert (finding["level"], finding["setting"]) == ("warn", f"sources.{name}.verify")
    assert levels(found, "redis") == ["ok"]


@pytest.mark.parametrize(("url", "level"), [("", "fail"), ("https://leads.acme.example", "ok")])
def test_a_scheme_that_signs_the_url(run: Run, url: str, level: str) -> None:
    """Without the public URL every request of such a source would be refused."""
    hook = (
        '[sources.hook.verify]\nscheme = "hmac"\nheader = "X-S"\nsecret_env = "HOOK"\nsigned ='
        ' "{method}{url}{body}"\n'
    )
    found = findings(run("--offline", "--json", config=hook, HOOK="s", LEADLINE_PUBLIC_URL=url))
    assert levels(found, "source hook") == [level]


def test_the_data_directory_must_take_the_spool(run: Run, tmp_path: Path) -> None:
    """A data directory that is a file fails."""
    (tmp_path / "file").write_text("", "utf-8")
    found = findings(run("--offline", "--json", LEADLINE_DATA_DIR=str(tmp_path / "file")))
    assert one(found, "local spool") == ("fail", "settings", "LEADLINE_DATA_DIR")


@contextmanager
def configured(redis: redis_py.Redis, name: str, value: str) -> Iterator[None]:
    before = redis.config_get(name)[name]
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, str(before))


@pytest.mark.parametrize(
    ("name", "value", "level", "said"),
    [
        ("maxmemory-policy", "allkeys-lru", "fail", "submissions would be lost"),
        ("maxmemory-policy", "volatile-ttl", "fail", "submissions would be lost"),
        ("appendonly", "no", "warn", "LOST"),
        ("appendfsync", "everysec", "warn", "last second"),
        ("appendfsync", "no", "warn", "half a minute"),
        ("no-appendfsync-on-rewrite", "yes", "warn", "rewritten"),
    ],
)
def test_redis_that_forgets(
    run: Run, redis: redis_py.Redis, redis_url: str, name: str, value: str, level: str, said: str
) -> None:
    """Eviction fails; what a crash can lose is a warning. Both name Redis's setting."""
    with configured(redis, name, value):
        found = findings(run("--json", REDIS_URL=redis_url))
    assert one(found, said) == (level, "redis", name)


class Managed:
    """A managed server: CONFIG is refused, INFO says what the test wants."""

    def __init__(self, **info: Any) -> None:
        self._info = {
            "redis_version": "7.2.4",
            "aof_enabled": 1,
            "maxmemory_policy": "noeviction",
            "role": "master",
        } | info

    def ping(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        return {key: value for key, value in self._info.items() if value is not None}

    def config_get(self, _name: str) -> dict[str, str]:
        raise redis_py.ResponseError("unknown command 'CONFIG'")


@pytest.mark.parametrize(
    ("info", "level", "said"),
    [
        ({}, "warn", "appendfsync cannot be read"),
        ({"aof_enabled": None}, "warn", "acknowledged cannot be read"),
        ({"aof_enabled": 0}, "warn", "LOST"),
        ({"maxmemory_policy": None}, "warn", "maxmemory-policy cannot be read"),
        ({"maxmemory_policy": "volatile-lru"}, "fail", "submissions would be lost"),
        ({"redis_version": "6.0.16"}, "fail", "at least 6.2"),
        ({"redis_version": "6.2.0"}, "ok", "compatible with Redis 6.2.0"),
        ({"redis_version": None}, "warn", "version cannot be read"),
        ({"role": "slave"}, "fail", "replica"),
        ({"cluster_enabled": 1}, "fail", "cluster"),
        ({"aof_last_write_status": "err"}, "fail", "disk full"),
        ({"connected_slaves": 0}, "fail", "waits for 1 replica,"),
    ],
)
def test_managed_redis(info: dict[str, Any], level: str, said: str) -> None:
    """What cannot be read is a warning; what INFO says is judged."""
    server: Any = Managed(**info)
    found = check_store(
        server, "redis://h:6379/0", wait_replicas=1 if "connected_slaves" in info else 0
    )
    assert [finding.level for finding in found if said in finding.message] == [level], found


def test_redis_that_is_away(run: Run) -> None:
    """A Redis that does not respond fails, and its password is not shown."""
    result = run("--json", REDIS_URL="redis://ada:s3cret@127.0.0.1:1/0")
    assert one(findings(result), "cannot be reached") == ("fail", "redis", "REDIS_URL")
    assert "s3cret" not in result.output
    assert redact_url("redis+sentinel://:pw@a:1,b:2/main/0") == "redis+sentinel://a:1,b:2/main/0"


def test_missing_names(run: Run, everything: dict[str, str]) -> None:
    """Each missing name is one finding with every place that uses it and what the account has."""
    config = """
[pipedrive]
owner_id = 99
[sources.one.lead]
labels = ["Nope", "Website"]
channel = "Radio"
[sources.one.lead.custom]
"Budgets" = "{answers.budget}"
"Company size" = "a dozen"
"person.Shoe" = "{answers.shoe}"
[sources.two.lead]
labels = ["Nope"]
[[sources.two.rules]]
when = { utm_source = "x" }
labels = ["Fresh"]
create_labels = true
"""
    found = [
        each
        for each in findings(run("--json", config=config, **everything))
        if each["subject"] == "pipedrive"
    ]
    assert one(found, "no label 'Nope'") == ("fail", "pipedrive", "sources.one.lead.labels")
    said = next(each["message"] for each in found if "'Nope'" in each["message"])
    assert "sources.two.lead.labels (source two, line 11)" in said
    assert "Cold, Hot, PPC" in said
    assert one(found, "no label 'Fresh'") == ("warn", "pipedrive", "sources.two.rules[1].labels")
    assert one(found, "no channel 'Radio'") == ("fail", "pipedrive", "sources.one.lead.channel")
    assert one(found, "no owner '99'") == ("fail", "pipedrive", "sources.one.lead.owner_id")
    assert one(found, "no custom field 'Budgets'") == (
        "fail",
        "pipedrive",
        "sources.one.lead.custom.Budgets",
    )
    assert one(found, "no custom field of persons 'Shoe'") == (
        "fail",
        "pipedrive",
        "sources.one.lead.custom.person.Shoe",
    )
    assert one(found, "'Company size' is left out") == (
        "warn",
        "pipedrive",
        "sources.one.lead.custom.Company size",
    )
    assert len(found) == 8


@pytest.mark.parametrize(
    ("env", "level", "setting"),
    [
        ({"PIPEDRIVE_API_TOKEN": "wrong"}, "fail", "PIPEDRIVE_API_TOKEN"),
        ({"PIPEDRIVE_BASE_URL": "http://127.0.0.1:1"}, "fail", "PIPEDRIVE_BASE_URL"),
    ],
)
def test_an_account_that_does_not_let_us_in(
    run: Run, everything: dict[str, str], env: dict[str, str], level: str, setting: str
) -> None:
    """Refused credentials and a wrong address are one failure that names the setting."""
    found = [
        each
        for each in findings(run("--json", **everything | env))
        if each["subject"] == "pipedrive"
    ]
    assert [(each["level"], each["setting"]) for each in found] == [(level, setting)]


def test_the_account_is_checked_while_redis_is_away(run: Run, everything: dict[str, str]) -> None:
    """An API token is checked without Redis."""
    found = findings(run("--json", **everything | {"REDIS_URL": "redis://127.0.0.1:1/0"}))
    assert levels(found, "redis") == ["fail"]
    assert set(levels(found, "pipedrive")) == {"ok"}


def test_offline_asks_nobody(run: Run, everything: dict[str, str], account: Account) -> None:
    """With --offline neither Redis nor Pipedrive is called or mentioned."""
    found = findings(run("--json", "--offline", **everything))
    assert {each["subject"] for each in found} == {"settings", "source file", "source contact"}
    assert account.calls() == []


def test_every_setting_is_listed(run: Run) -> None:
    """--settings lists each setting with value, default, unit and help; secrets are hidden."""
    result = run("--settings", PIPEDRIVE_API_TOKEN="t0psecret", LEADLINE_SLOTS="7")
    listed = json.loads(
        run("--settings", "--json", PIPEDRIVE_API_TOKEN="t0psecret", LEADLINE_SLOTS="7").stdout
    )["settings"]
    assert [row["name"] for row in listed] == [row.name for row in SETTINGS.values()]
    rows = {row["name"]: row for row in listed}
    assert rows["LEADLINE_SLOTS"] | {"help": ""} == {
        "name": "LEADLINE_SLOTS", "value": "7", "default": "32", "unit": "deliveries", "help": "",
    }  # fmt: skip
    assert rows["PIPEDRIVE_API_TOKEN"]["value"] == "*** (set)"
    for row in listed:
        assert row["name"] in result.stdout
        assert row["help"] in result.stdout
    assert "t0psecret" not in result.output

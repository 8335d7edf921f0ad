"""`leadline check`: one line per finding, whether it is fine, open or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from service.checks.environment import check_durability, redact_url
from service.cli.main import main
from service.sandbox.account.stock import label_id
from tests.flow.conftest import TOKEN, Account
from worker.accept.promise import Terms
from worker.settings.table import SETTINGS
from worker.store import keys
from worker.store.durability import Durability

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
    """Runs `leadline check` on a source file passed as text, with only the settings passed."""

    def go(*words: str, config: str = GOOD, **env: str) -> Result:
        (tmp_path / "leadline.toml").write_text(config, "utf-8")
        paths = {
            "LEADLINE_CONFIG": str(tmp_path / "leadline.toml"),
            "LEADLINE_DATA_DIR": str(tmp_path / "data"),
        }
        return CliRunner().invoke(
            main, ["check", *words], env=OPEN | paths | {"CONTACT_KEY": "sixteen-letters-k"} | env
        )

    return go


def parse_findings(result: Result) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    assert all(list(finding) == ["level", "subject", "message", "setting"] for finding in findings)
    assert result.exit_code == (
        1 if any(finding["level"] == "fail" for finding in findings) else 0
    ), result.stdout
    return findings


def find_one(findings: list[dict[str, Any]], phrase: str) -> tuple[str, str, str | None]:
    """Returns level, subject and setting of the only finding whose message contains `phrase`."""
    [finding] = [finding for finding in findings if phrase in finding["message"]]
    return finding["level"], finding["subject"], finding["setting"]


def levels(findings: list[dict[str, Any]], subject: str) -> list[str]:
    return [finding["level"] for finding in findings if finding["subject"] == subject]


@pytest.fixture
def everything(redis_url: str, account: Account) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "PIPEDRIVE_API_TOKEN": TOKEN,
        "PIPEDRIVE_BASE_URL": account.url,
        "PIPEDRIVE_PLAN": "unlimited",
        "LEADLINE_OPS_TOKENS": "ada:operator:t0ken-of-twenty-four-characters",
        "LEADLINE_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }


def test_all_is_well(run: Run, everything: dict[str, str]) -> None:
    """A valid file, a durable Redis and a complete account give only ok, and exit code 0."""
    findings = parse_findings(run("--json", **everything))
    assert {finding["level"] for finding in findings} == {"ok"}, findings
    assert {finding["subject"] for finding in findings} == {
        "settings",
        "source file",
        "source contact",
        "redis",
        "pipedrive",
    }


def test_a_secret_that_can_be_guessed_fails(run: Run) -> None:
    """A source's secret of fewer than 16 characters is named by its variable, and not shown."""
    result = run("--offline", "--json", CONTACT_KEY="fifteen-letters")
    finding = find_one(parse_findings(result), "CONTACT_KEY: expected a secret of at least 16")
    assert finding == ("fail", "source contact", "sources.contact.verify")
    assert result.exit_code == 1
    assert "fifteen" not in result.output


def test_the_text_output_is_aligned(run: Run) -> None:
    """Prints one line per finding with aligned columns, and no colour in a pipe."""
    result = run("--offline")
    lines = result.stdout.splitlines()
    assert len(lines) == len(parse_findings(run("--offline", "--json")))
    assert "\x1b" not in result.stdout
    assert {line[:6].rstrip() for line in lines} <= {"ok", "warn", "fail"}
    begins = ("the console is closed", "/", "form at /in/contact")
    assert (
        len({line.index(f"  {word}") for line in lines for word in begins if f"  {word}" in line})
        == 1
    )


def test_every_fault_of_the_source_file(run: Run) -> None:
    """Each fault of the file fails, with line and key; nothing else is printed about the file."""
    findings = parse_findings(
        run("--offline", "--json", config='[sources.a]\nadaptor = "form"\nreply = 700\n')
    )
    assert find_one(findings, "adaptor")[:2] == ("fail", "source file")
    assert find_one(findings, "700") == ("fail", "source file", "sources.a.reply")
    assert "leadline.toml:3" in next(
        finding["message"] for finding in findings if "700" in finding["message"]
    )
    assert len(levels(findings, "source file")) == 2


@pytest.mark.parametrize(
    ("env", "level"),
    [({}, "warn"), ({"PIPEDRIVE_API_TOKEN": "t"}, "fail"), ({"PAGE_TOKEN": "t"}, None)],
)
def test_secrets(run: Run, env: dict[str, str], level: str | None) -> None:
    """A scheme's missing secret fails; a fetch token's fails only where the worker runs."""
    config = GOOD + '[sources.contact.fetch]\ntoken_env = "PAGE_TOKEN"\n'
    findings = parse_findings(
        run("--offline", "--json", config=config, **env | {"CONTACT_KEY": ""})
    )
    assert find_one(findings, "CONTACT_KEY") == (
        "fail",
        "source file",
        "sources.contact.verify.secret_env",
    )
    if level:
        assert find_one(findings, "PAGE_TOKEN") == (
            level,
            "source file",
            "sources.contact.fetch.token_env",
        )
    else:
        assert "PAGE_TOKEN" not in str(findings)


@pytest.mark.parametrize(
    ("fetch", "levels_"), [("", ["ok", "warn"]), ('fetch = { token_env = "PAGE_TOKEN" }', ["ok"])]
)
def test_products_that_send_ids_alone(run: Run, fetch: str, levels_: list[str]) -> None:
    """A missing fetch token is reported before the first event."""
    config = (
        '[sources.ads]\nadapter = "meta-lead-ads"\nverify = { secret_env = "CONTACT_KEY"'
        f" }}\n{fetch}\n"
    )
    findings = parse_findings(run("--offline", "--json", config=config, PAGE_TOKEN="t"))
    assert levels(findings, "source ads") == levels_
    if not fetch:
        assert find_one(findings, "may send only ids")[2] == "sources.ads.fetch.token_env"


def test_the_packaged_example(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a source file the packaged example is checked, and its secrets may be missing."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    findings = parse_findings(run("--offline", "--json", LEADLINE_CONFIG=""))
    assert find_one(findings, "packaged example") == ("warn", "source file", "LEADLINE_CONFIG")
    assert find_one(findings, "PARTNER_KEY")[0] == "warn"


def test_settings_with_faults(run: Run) -> None:
    """Invalid settings fail by name, and the source file is checked nevertheless."""
    findings = parse_findings(
        run(
            "--json",
            LEADLINE_PORT="many",
            LEADLINE_SLOTS="0",
            LEADLINE_SLOT="3",
            config="[sources]\n",
        )
    )
    assert find_one(findings, "'many'") == ("fail", "settings", "LEADLINE_PORT")
    assert find_one(findings, "LEADLINE_SLOTS: ") == ("fail", "settings", "LEADLINE_SLOTS")
    assert find_one(findings, "did you mean") == ("warn", "settings", "LEADLINE_SLOTS")
    assert find_one(findings, "at least one table")[:2] == ("fail", "source file")


def test_what_is_left_open(run: Run) -> None:
    """A closed console, an open source and missing credentials are warnings."""
    findings = parse_findings(
        run("--json", config="[sources.contact]\n[sources.partner]\nadapter = 'json'\n")
    )
    assert find_one(findings, "console is closed") == ("warn", "settings", "LEADLINE_OPS_TOKENS")
    assert find_one(findings, "no credentials") == ("warn", "pipedrive", "PIPEDRIVE_API_TOKEN")
    for name in ("contact", "partner"):
        [finding] = [finding for finding in findings if finding["subject"] == f"source {name}"]
        assert (finding["level"], finding["setting"]) == ("warn", f"sources.{name}.verify")
    assert levels(findings, "redis") == ["ok"]


@pytest.mark.parametrize(("url", "level"), [("", "fail"), ("https://leads.acme.example", "ok")])
def test_a_scheme_that_signs_the_url(run: Run, url: str, level: str) -> None:
    """Fails without the public URL, because every request to the source would be refused."""
    hook = (
        '[sources.hook.verify]\nscheme = "hmac"\nheader = "X-S"\nsecret_env = "HOOK"\nsigned ='
        ' "{method}{url}{body}"\n'
    )
    findings = parse_findings(
        run("--offline", "--json", config=hook, HOOK="s" * 16, LEADLINE_PUBLIC_URL=url)
    )
    assert levels(findings, "source hook") == [level]


def test_the_data_directory_must_be_usable(run: Run, tmp_path: Path) -> None:
    """A data directory that is a file fails."""
    (tmp_path / "file").write_text("", "utf-8")
    findings = parse_findings(run("--offline", "--json", LEADLINE_DATA_DIR=str(tmp_path / "file")))
    assert find_one(findings, "local spool") == ("fail", "settings", "LEADLINE_DATA_DIR")


@contextmanager
def configured(redis: redis_py.Redis, name: str, value: str) -> Iterator[None]:
    before = redis.config_get(name)[name]
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, str(before))


@pytest.mark.parametrize(
    ("name", "value", "level", "phrase"),
    [
        ("maxmemory-policy", "allkeys-lru", "fail", "drops submissions"),
        ("maxmemory-policy", "volatile-ttl", "fail", "drops submissions"),
        ("appendonly", "no", "warn", "NOTHING IS KEPT"),
        ("appendfsync", "everysec", "warn", "last second"),
        ("appendfsync", "no", "warn", "half a minute"),
        ("no-appendfsync-on-rewrite", "yes", "warn", "rewritten"),
    ],
)
def test_a_redis_that_may_lose_data(
    run: Run, redis: redis_py.Redis, redis_url: str, name: str, value: str, level: str, phrase: str
) -> None:
    """Eviction fails and a risk of loss in a crash warns; both name the Redis setting."""
    with configured(redis, name, value):
        findings = parse_findings(run("--json", REDIS_URL=redis_url))
    assert find_one(findings, phrase) == (level, "redis", name)


def managed(**answers: Any) -> Durability:
    """A managed server that refuses CONFIG, and otherwise answers as the test specifies."""
    usual: dict[str, Any] = {
        "version_text": "7.2.4",
        "append_only": True,
        "eviction_policy": "noeviction",
    }
    return Durability(**usual | answers)


@pytest.mark.parametrize(
    ("answers", "level", "phrase"),
    [
        ({}, "warn", "does not say when its append-only file is synced"),
        ({"append_only": None}, "warn", "does not say whether it keeps"),
        ({"append_only": False}, "warn", "NOTHING IS KEPT"),
        ({"eviction_policy": None}, "warn", "maxmemory-policy cannot be read"),
        ({"eviction_policy": "volatile-lru"}, "fail", "drops submissions"),
        ({"version_text": "6.0.16"}, "fail", "6.2 or newer"),
        ({"version_text": "6.2.0"}, "ok", "compatible with Redis 6.2.0"),
        ({"version_text": ""}, "warn", "version cannot be read"),
        ({"is_replica": True}, "fail", "replica"),
        ({"is_cluster": True}, "fail", "cluster"),
        ({"append_only_writes": False}, "fail", "disk full"),
        ({"max_memory": 0}, "warn", "maxmemory is not set"),
    ],
)
def test_managed_redis(answers: dict[str, Any], level: str, phrase: str) -> None:
    """What the server does not say is a warning; the rest is checked from what it says."""
    findings = check_durability(managed(**answers), "redis://h:6379/0", Terms(accepts=True))
    assert [finding.level for finding in findings if phrase in finding.message] == [level], findings


@pytest.mark.parametrize(
    ("answers", "terms", "phrase"),
    [
        ({}, Terms(accepts=True, journal="never"), "does not say when"),
        ({"append_only": False}, Terms(accepts=True, journal="never"), "NOTHING IS KEPT"),
        ({"replicas": 0}, Terms(accepts=True, wait_replicas=1), "waits for 1 replica,"),
    ],
)
def test_what_the_settings_make_a_failure(
    answers: dict[str, Any], terms: Terms, phrase: str
) -> None:
    """Without the journal nothing mends a Redis that does not sync; too few replicas fail too."""
    findings = check_durability(managed(**answers), "redis://h:6379/0", terms)
    assert [each.level for each in findings if phrase in each.message] == ["fail"], findings


def test_clocks_that_differ() -> None:
    """A clock that is a minute off fails, and says in which direction."""
    findings = check_durability(managed(), "redis://h:6379/0", Terms(accepts=True), -60.0)
    assert [each.level for each in findings if "60 s behind" in each.message] == ["fail"]


def test_an_unreachable_redis(run: Run) -> None:
    """A Redis that does not respond fails, and its password is not shown."""
    result = run("--json", REDIS_URL="redis://ada:s3cret@127.0.0.1:1/0")
    assert find_one(parse_findings(result), "cannot be reached") == ("fail", "redis", "REDIS_URL")
    assert "s3cret" not in result.output
    assert redact_url("redis+sentinel://:pw@a:1,b:2/main/0") == "redis+sentinel://a:1,b:2/main/0"


def test_missing_names(run: Run, everything: dict[str, str]) -> None:
    """Each missing name is one finding with its uses and the names that the account has."""
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
    findings = [
        each
        for each in parse_findings(run("--json", config=config, **everything))
        if each["subject"] == "pipedrive"
    ]
    assert find_one(findings, "no label 'Nope'") == ("fail", "pipedrive", "sources.one.lead.labels")
    message = next(each["message"] for each in findings if "'Nope'" in each["message"])
    assert "sources.two.lead.labels (source two, line 11)" in message
    assert "Cold, Hot, PPC" in message
    assert find_one(findings, "no label 'Fresh'") == (
        "warn",
        "pipedrive",
        "sources.two.rules[1].labels",
    )
    assert find_one(findings, "no channel 'Radio'") == (
        "fail",
        "pipedrive",
        "sources.one.lead.channel",
    )
    assert find_one(findings, "no owner '99'") == ("fail", "pipedrive", "sources.one.lead.owner_id")
    assert find_one(findings, "no custom field 'Budgets'") == (
        "fail",
        "pipedrive",
        "sources.one.lead.custom.Budgets",
    )
    assert find_one(findings, "no custom field of persons 'Shoe'") == (
        "fail",
        "pipedrive",
        "sources.one.lead.custom.person.Shoe",
    )
    assert find_one(findings, "'Company size' is left out") == (
        "warn",
        "pipedrive",
        "sources.one.lead.custom.Company size",
    )
    assert len(findings) == 9


@pytest.mark.parametrize(
    ("env", "level", "setting"),
    [
        ({"PIPEDRIVE_API_TOKEN": "wrong"}, "fail", "PIPEDRIVE_API_TOKEN"),
        ({"PIPEDRIVE_BASE_URL": "http://127.0.0.1:1"}, "fail", "PIPEDRIVE_BASE_URL"),
    ],
)
def test_an_inaccessible_account(
    run: Run, everything: dict[str, str], env: dict[str, str], level: str, setting: str
) -> None:
    """Refused credentials and a wrong address each give one failure that names the setting."""
    findings = [
        each
        for each in parse_findings(run("--json", **everything | env))
        if each["subject"] == "pipedrive"
    ]
    assert [(each["level"], each["setting"]) for each in findings] == [(level, setting)]


@pytest.mark.parametrize(
    ("preset", "setting", "words"),
    [
        ("trial-over", None, "open the account in Pipedrive"),
        ("wrong-host", "PIPEDRIVE_BASE_URL", "is not Pipedrive's API"),
        ("wrong-host-404", "PIPEDRIVE_BASE_URL", "is not Pipedrive's API"),
        ("wrong-host-json", "PIPEDRIVE_BASE_URL", "is not Pipedrive's API"),
        ("proxy-refuses", "PIPEDRIVE_BASE_URL", "is not Pipedrive's API"),
        ("token-refused", "PIPEDRIVE_API_TOKEN", "set a valid PIPEDRIVE_API_TOKEN"),
    ],
)
def test_an_account_that_takes_no_calls(
    run: Run,
    everything: dict[str, str],
    account: Account,
    preset: str,
    setting: str | None,
    words: str,
) -> None:
    """One failure says whether the account, the address or the credentials are at fault."""
    account.preset(preset)
    findings = parse_findings(run("--json", **everything))
    [only] = [each for each in findings if each["subject"] == "pipedrive"]
    assert (only["level"], only["setting"]) == ("fail", setting)
    assert words in only["message"]


def test_names_with_new_ids_are_told_to_the_workers(
    run: Run, everything: dict[str, str], account: Account
) -> None:
    """A label made again under its name is fine; the workers have its new id from then on."""
    parse_findings(run("--json", **everything))
    headers = {"x-api-token": TOKEN}
    account.http.delete(f"/v1/leadLabels/{label_id('Hot')}", headers=headers).raise_for_status()
    label = {"name": "Hot", "color": "red"}
    new_id = account.http.post("/v1/leadLabels", json=label, headers=headers).json()["data"]["id"]
    with redis_py.Redis.from_url(everything["REDIS_URL"]) as client:
        assert new_id not in str(client.hget(keys.DEFAULT_ACCOUNT.metadata, "labels"))
        level, _, _ = find_one(parse_findings(run("--json", **everything)), "'Hot' was deleted and")
        assert level == "warn"
        assert new_id in str(client.hget(keys.DEFAULT_ACCOUNT.metadata, "labels"))
    assert "deleted and made again" not in run("--json", **everything).stdout


def test_the_account_is_checked_without_redis(run: Run, everything: dict[str, str]) -> None:
    """An API token is checked even if Redis is unreachable."""
    findings = parse_findings(run("--json", **everything | {"REDIS_URL": "redis://127.0.0.1:1/0"}))
    assert levels(findings, "redis") == ["fail"]
    assert set(levels(findings, "pipedrive")) == {"ok"}


def test_offline_makes_no_calls(run: Run, everything: dict[str, str], account: Account) -> None:
    """With --offline neither Redis nor Pipedrive is called or mentioned."""
    findings = parse_findings(run("--json", "--offline", **everything))
    assert {each["subject"] for each in findings} == {"settings", "source file", "source contact"}
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


def test_the_time_zone_of_the_account(run: Run, everything: dict[str, str]) -> None:
    """Says in which time zone days are counted."""
    findings = parse_findings(run("--json", **everything))
    finding = find_one(findings, "time zone of the account: Europe/Tallinn")
    assert finding == ("ok", "pipedrive", None)


def sample(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Level and message of each finding about the test lead."""
    return [(each["level"], each["message"]) for each in findings if each["subject"] == "test lead"]


def test_a_test_lead(run: Run, everything: dict[str, str], account: Account) -> None:
    """Makes, labels, reads and deletes one lead, and says what each call cost; nothing is left."""
    findings = parse_findings(run("--send-test", "--json", **everything))
    assert sample(findings) == [
        ("ok", "create a person: allowed, 5 tokens"),
        ("ok", "create a lead with an origin_id: allowed, 10 tokens"),
        ("ok", "list the labels: allowed, no tokens, it was read above"),
        ("ok", "label the lead: allowed, 10 tokens"),
        ("ok", "read the lead: allowed, 2 tokens"),
        ("ok", "delete the lead: allowed, 6 tokens"),
        ("ok", "delete the person: allowed, 3 tokens"),
        ("ok", "6 calls, 36 tokens"),
    ]
    assert (account.leads, account.persons) == ([], [])


def test_a_test_lead_is_only_sent_on_request(
    run: Run, everything: dict[str, str], account: Account
) -> None:
    """`check` alone writes nothing to the account; offline, a test lead cannot be sent."""
    assert sample(parse_findings(run("--json", **everything))) == []
    assert not {"persons.add", "leads.add"} & set(account.calls())
    assert run("--send-test", "--offline", **everything).exit_code == 2


FORBIDDEN = {"kind": "answer", "status": 403, "body": {"success": False, "error": "no permission"}}
BROKEN = {"kind": "answer", "status": 503}
NO_ANSWER = {"kind": "commit-then-drop"}


@pytest.mark.parametrize(
    ("operation", "effect", "phrase", "left"),
    [
        ("persons.add", FORBIDDEN, "create a person", 0),
        ("persons.add", NO_ANSWER, "create a person", 0),
        ("leads.add", FORBIDDEN, "create a lead", 0),
        ("leads.add", NO_ANSWER, "create a lead", 0),
        ("leads.update", FORBIDDEN, "label the lead", 0),
        ("leads.get", BROKEN, "read the lead", 0),
        ("leads.delete", FORBIDDEN, "delete the lead", 1),
    ],
)
def test_a_test_lead_that_fails(
    run: Run,
    everything: dict[str, str],
    account: Account,
    operation: str,
    effect: dict[str, Any],
    phrase: str,
    left: int,
) -> None:
    """The step that fails is one failure with advice; what was made is deleted, or named."""
    account.fault({"operation": operation}, effect)
    findings = parse_findings(run("--send-test", "--json", **everything))
    [failure] = [message for level, message in sample(findings) if level == "fail"]
    assert failure.startswith(phrase)
    assert (len(account.leads), account.persons) == (left, [])
    for lead in account.leads:
        assert lead["origin_id"].startswith("leadline-test:")
        assert f"the lead {lead['id']} is left: delete it by hand" in failure


def test_plain_storage_is_a_warning(run: Run, everything: dict[str, str]) -> None:
    """Without encryption keys, `check` says that submissions are stored in plain, and goes on."""
    done = run("--json", **everything | {"LEADLINE_ENCRYPTION_KEYS": ""})
    finding = find_one(parse_findings(done), "plain text")
    assert (done.exit_code, finding) == (0, ("warn", "settings", "LEADLINE_ENCRYPTION_KEYS"))

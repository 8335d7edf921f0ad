"""Settings: one table, read once, all faults at once, secrets unseen."""

from __future__ import annotations

import base64
import pickle
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from service.settings import describe_settings, env_example, packaged_example, source_file
from worker.contract import State
from worker.settings.table import SETTINGS, Settings, SettingsError, find_misspelt, load
from worker.settings.types import OpsToken, Secret

LONG = "token-of-at-least-24-characters"
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.urlsafe_b64encode(bytes(range(100, 132))).decode()
DAY = 86_400.0


def faults(**env: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(env)
    return caught.value.faults


def test_defaults() -> None:
    """An empty environment gives the documented defaults."""
    settings = load({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.data_dir) == (
        "127.0.0.1",
        8000,
        Path(".leadline"),
    )
    assert (settings.redis_url, settings.config, settings.ops_tokens, settings.log_format) == (
        None,
        None,
        None,
        None,
    )
    assert (settings.service_processes, settings.worker_processes, settings.slots) == (1, 1, 32)
    assert settings.retry_delays == (10, 60, 300, 1800, 7200, 21600, 43200, 86400)
    assert (settings.settle_seconds, settings.probe_seconds) == (90, 30)
    assert (settings.spool_max, settings.wait_replicas) == (256 * 1024 * 1024, 0)
    assert settings.retention == {
        State.DELIVERED: 30 * DAY,
        State.DEAD: None,
        State.QUARANTINED: 14 * DAY,
        State.IGNORED: 7 * DAY,
        State.DISCARDED: 7 * DAY,
    }


@pytest.mark.parametrize(
    "env",
    [{}, {"LEADLINE_OPS_TOKENS": f"kim:operator:{LONG}", "LEADLINE_TRUSTED_PROXIES": "10.0.0.0/8"}],
)
def test_settings_go_whole_to_another_process(env: dict[str, str]) -> None:
    """Settings survive pickling, by which processes that are started afresh get them."""
    settings = load(env | {"LEADLINE_RETENTION": "dead=90d", "LEADLINE_ENCRYPTION_KEYS": KEY})
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert isinstance(copy.encryption_keys[0], Secret)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("LEADLINE_PORT", " 9001 ", "port", 9001),
        ("LEADLINE_PORT", "", "port", 8000),
        ("REDIS_URL", "redis://:pw@h:6379/0", "redis_url", "redis://:pw@h:6379/0"),
        ("REDIS_URL", "rediss://h", "redis_url", "rediss://h"),
        ("REDIS_URL", "unix:///run/r.sock?db=1", "redis_url", "unix:///run/r.sock?db=1"),
        ("REDIS_URL", "redis+sentinel://a:1,b:2/main/0", "redis_url", "redis+sentinel://a:1,b:2/main/0"),
        ("PIPEDRIVE_BASE_URL", "https://acme.pipedrive.com/", "pipedrive_base_url", "https://acme.pipedrive.com"),
        ("PIPEDRIVE_PLAN", "Growth", "pipedrive_plan", "growth"),
        ("PIPEDRIVE_DAILY_TOKENS", "30000", "pipedrive_daily_tokens", 30_000),
        ("LEADLINE_RETRY_DELAYS", "1s, 2m,3h", "retry_delays", (1, 120, 10_800)),
        ("LEADLINE_SETTLE_SECONDS", "2", "settle_seconds", 2),
        ("LEADLINE_SETTLE_SECONDS", "0.5", "settle_seconds", 0.5),
        ("LEADLINE_PROBE_SECONDS", "1m30s", "probe_seconds", 90),
        ("LEADLINE_SPOOL_MAX", "10MB", "spool_max", 10_000_000),
        ("LEADLINE_TRUSTED_PROXIES", "10.0.0.1, fd00::/8", "trusted_proxies", (ip_network("10.0.0.1"), ip_network("fd00::/8"))),
        ("LEADLINE_OPS_TOKENS", f"ann:viewer:{LONG},bob:operator:b:{LONG}", "ops_tokens",
         (OpsToken("ann", "viewer", Secret(LONG)), OpsToken("bob", "operator", Secret(f"b:{LONG}")))),
        ("LEADLINE_ENCRYPTION_KEYS", f"{KEY},{OTHER_KEY}", "encryption_keys", (KEY, OTHER_KEY)),
        ("LEADLINE_LOG_FORMAT", "console", "log_format", "console"),
        ("LEADLINE_CONFIG", "/etc/l.toml", "config", Path("/etc/l.toml")),
    ],
)  # fmt: skip
def test_reading(name: str, text: str, field: str, value: Any) -> None:
    """Each setting is read in its unit; space around it does not matter, and empty is unset."""
    assert getattr(load({name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LEADLINE_PORT", "70000", "expected a whole number from 0 to 65535, got '70000'"),
        ("LEADLINE_PORT", "٣", "expected a whole number"),
        ("LEADLINE_SLOTS", "0", "expected a whole number from 1 to 512"),
        (
            "REDIS_URL",
            "http://h",
            "expected redis://, rediss://, unix:// or redis+sentinel://, got http",
        ),
        ("REDIS_URL", "redis+sentinel://h:26379", "no master name"),
        ("REDIS_URL", "unix://relative", "not absolute"),
        ("REDIS_URL", "redis://h:port/0", "expected a Redis URL"),
        ("PIPEDRIVE_BASE_URL", "api.pipedrive.com", "expected an http:// or https:// URL"),
        ("PIPEDRIVE_BASE_URL", "https://h/?a=b", "without query"),
        (
            "PIPEDRIVE_PLAN",
            "free",
            "expected one of lite, growth, premium, ultimate, unlimited, got 'free'",
        ),
        ("PIPEDRIVE_API_TOKEN", "two words", "visible ASCII"),
        ("LEADLINE_RETRY_DELAYS", "10,20", "expected a duration such as"),
        ("LEADLINE_RETRY_DELAYS", ",", "expected durations"),
        ("LEADLINE_RETENTION", "gone=1d", "expected STATE=DURATION"),
        ("LEADLINE_RETENTION", "dead=soon", "expected a duration"),
        ("LEADLINE_SPOOL_MAX", "big", "expected a size"),
        ("LEADLINE_TRUSTED_PROXIES", "proxy.local", "expected IP addresses"),
        ("LEADLINE_OPS_TOKENS", "ann:admin:x", "name:role:token"),
        ("LEADLINE_OPS_TOKENS", f"ann:viewer:{LONG},ann:viewer:{LONG}2", "each name once"),
        ("LEADLINE_OPS_TOKENS", f"ann:viewer:{LONG},bob:viewer:{LONG}", "each token once"),
        (
            "LEADLINE_OPS_TOKENS",
            f"ann:viewer:{LONG[:23]}",
            "tokens of at least 24 characters, got a shorter one as entry 1",
        ),
        (
            "LEADLINE_ENCRYPTION_KEYS",
            "correct horse battery staple",
            "not a passphrase (make one with:",
        ),
        ("LEADLINE_LOG_FORMAT", "xml", "expected one of json, console"),
    ],
)
def test_refusing(name: str, text: str, expected: str) -> None:
    """A wrong setting is named with what was expected."""
    (fault,) = faults(**{name: text})
    assert fault.startswith(f"{name}: expected ")
    assert expected in fault


def test_all_faults_at_once() -> None:
    """All faults are reported together, so that one start is enough to fix them."""
    messages = faults(LEADLINE_PORT="x", LEADLINE_SLOTS="-1", PIPEDRIVE_CLIENT_ID="id")
    assert [fault.partition(":")[0] for fault in messages] == [
        "LEADLINE_PORT",
        "LEADLINE_SLOTS",
        "PIPEDRIVE_CLIENT_SECRET",
        "PIPEDRIVE_REFRESH_TOKEN",
    ]


@pytest.mark.parametrize("name", sorted(row.name for row in SETTINGS.values() if row.secret))
def test_secrets_do_not_show(name: str) -> None:
    """Neither a fault nor the settings' representation nor the table shows a secret."""
    bad = "hunter2 \u00e9"
    assert not any("hunter2" in fault for fault in faults(**{name: bad}))
    good = {
        "REDIS_URL": "redis://:hunter2@h/0",
        "LEADLINE_OPS_TOKENS": f"ann:viewer:hunter2{LONG}",
        "LEADLINE_ENCRYPTION_KEYS": KEY,
        "LEADLINE_ALERT_WEBHOOK": "https://hooks.example/hunter2",
    }.get(name, "hunter2")
    others = {
        row.name: "x"
        for row in SETTINGS.values()
        if row.name.startswith("PIPEDRIVE_") and row.secret and "API" not in row.name
    }
    settings = load((others if name in others else {}) | {name: good})
    text = repr(settings) + repr(describe_settings(settings))
    assert "hunter2" not in text
    assert KEY not in text
    assert any(row.name == name and row.value == "*** (set)" for row in describe_settings(settings))


def test_each_process_holds_only_its_secrets() -> None:
    """The service never holds the Pipedrive credentials, the worker never the ops tokens."""
    env = {
        "PIPEDRIVE_API_TOKEN": "p",
        "LEADLINE_OPS_TOKENS": f"a:viewer:{LONG}",
        "LEADLINE_ENCRYPTION_KEYS": KEY,
    }
    service, worker, both = (
        Settings.for_service(env),
        Settings.for_worker(env),
        Settings.for_all(env),
    )
    assert (service.pipedrive_api_token, worker.ops_tokens) == (None, None)
    assert service.ops_tokens == both.ops_tokens == (OpsToken("a", "viewer", Secret(LONG)),)
    assert worker.pipedrive_api_token == both.pipedrive_api_token == "p"
    assert service.encryption_keys == worker.encryption_keys == (KEY,)
    assert (
        Settings.for_service(env | {"PIPEDRIVE_API_TOKEN": "two words", "PIPEDRIVE_CLIENT_ID": "x"})
        == service
    )


@pytest.mark.parametrize(
    ("env", "fault"),
    [
        (
            {},
            "PIPEDRIVE_API_TOKEN: expected an API token, or the three OAuth settings, got nothing",
        ),
        (
            {"PIPEDRIVE_REFRESH_TOKEN": "r", "PIPEDRIVE_CLIENT_ID": "i"},
            "PIPEDRIVE_CLIENT_SECRET: expected a value because",
        ),
        (
            {"PIPEDRIVE_API_TOKEN": "t"}
            | {
                f"PIPEDRIVE_{each}": "x" for each in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN")
            },
            "got both",
        ),
    ],
)
def test_worker_needs_credentials(env: dict[str, str], fault: str) -> None:
    """The worker starts with an API token or complete OAuth settings, and with nothing else."""
    with pytest.raises(SettingsError, match="PIPEDRIVE") as caught:
        Settings.for_worker(env)
    assert fault in str(caught.value)


def test_oauth_settings_suffice() -> None:
    """The three OAuth settings together are credentials."""
    env = {
        "PIPEDRIVE_CLIENT_ID": "i",
        "PIPEDRIVE_CLIENT_SECRET": "s",
        "PIPEDRIVE_REFRESH_TOKEN": "r",
    }
    assert Settings.for_worker(env).uses_oauth
    assert Settings.for_worker(env).has_credentials
    assert not Settings.for_all({}).has_credentials


def test_retention_keeps_what_is_not_named() -> None:
    """Naming one state leaves the others at their defaults; discarded follows ignored."""
    retention = load({"LEADLINE_RETENTION": "ignored=1h,quarantined=never"}).retention
    assert retention[State.IGNORED] == retention[State.DISCARDED] == 3600
    assert (retention[State.QUARANTINED], retention[State.DELIVERED], retention[State.DEAD]) == (
        None,
        30 * DAY,
        None,
    )


def test_misspelt_settings_are_found() -> None:
    """A variable that is nearly a setting is reported; a source's own secrets are left alone."""
    env = {
        "LEADLINE_SLOT": "1",
        "PIPEDRIVE_TOKEN_API": "x",
        "LEADLINE_CONTACT_SECRET": "x",
        "LEADLINE_PORT": "1",
        "PATH": "/",
    }
    assert find_misspelt(env)["LEADLINE_SLOT"] == "LEADLINE_SLOTS"
    assert not {"LEADLINE_CONTACT_SECRET", "LEADLINE_PORT", "PATH"} & set(find_misspelt(env))


def test_every_field_has_its_row() -> None:
    """A field is its setting's name in lower case without prefix, and each row is explained."""
    assert [each.name for each in fields(Settings)] == list(SETTINGS)
    for key, row in SETTINGS.items():
        assert key == row.name.removeprefix("LEADLINE_").lower()
        assert row.help.endswith(".")
        assert row.unit
        assert row.default or row.unset, (
            f"{row.name} says neither its default nor what happens without"
        )


def test_env_example_is_current() -> None:
    """deploy/env.example lists every setting with unit and default, and nothing else."""
    stored = Path(__file__).parents[2] / "deploy" / "env.example"
    assert stored.read_text() == env_example(), (
        "run: .venv/bin/python -m service.settings > deploy/env.example"
    )


def test_env_example_gives_the_defaults() -> None:
    """With every line of env.example taken out of its comment, the settings are the defaults."""
    lines = [
        line[1:]
        for line in env_example().splitlines()
        if line.startswith("#") and not line.startswith("# ")
    ]
    env = dict(line.split("=", 1) for line in lines)
    assert list(env) == [row.name for row in SETTINGS.values()]
    assert load(env) == Settings()


def test_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LEADLINE_CONFIG wins, then leadline.toml in the working directory, then the example."""
    monkeypatch.chdir(tmp_path)
    assert source_file(Settings()) == packaged_example()
    (tmp_path / "leadline.toml").touch()
    assert source_file(Settings()) == Path("leadline.toml")
    assert source_file(Settings(config=Path("other.toml"))) == Path("other.toml")

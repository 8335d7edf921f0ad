"""A stored submission as it is read again, for the console."""

from __future__ import annotations

from msgspec import structs

from service.ops.reading import MAX_READINGS, StoredReading, read_stored
from service.sources.request import InboundRequest
from tests.flow.arrivals import build_submissions_of
from tests.unit.sources.factories import NOW, form, json_post, post, source
from worker.ledger import Record
from worker.ledger.record import spooled_record

PERSONAL = ("Ada", "Lovelace", "ada@", "4420", "secret", "Byron")
ADA = {"email": "ada@example.com", "name": "Ada Lovelace", "phone": "+442079460018"}


def records(request: InboundRequest, toml: str = "") -> list[Record]:
    return [spooled_record(one) for one in build_submissions_of(source(toml), request, NOW)]


def read_one(request: InboundRequest, toml: str = "", *, reveal: bool = True) -> StoredReading:
    [record] = records(request, toml)
    return read_stored(record, source(toml), reveal=reveal)


def test_an_operator_sees_the_values() -> None:
    """Whoever may see personal data sees what came and what it became."""
    reading = read_one(form(**ADA, firma="Acme"))
    values = {each.field: (each.value, each.became) for each in reading.fields}
    assert values["email"] == ("ada@example.com", "email")
    assert values["firma"] == ("Acme", "company")
    assert (reading.note, reading.guessed, reading.cut) == (None, None, 0)


def test_a_viewer_sees_no_more_than_in_the_lead() -> None:
    """Values are masked as in the lead, and those of answers and of other people are hidden."""
    fields = {**ADA, "firma": "Acme", "hobby": "secret", "agent_email": "byron@x.example",
              "agent_name": "Byron", "Ada Byron=": "", "agb": "ja", "utm_source": "google"}  # fmt: skip
    reading = read_one(form(**fields), reveal=False)
    values = {each.became: each.value for each in reading.fields}
    assert values["email"] == "a…@example.com"
    assert values["company"] == "Acme"
    assert values["utm_source"] == "google"
    assert values["answer"] == "…"
    printed = str(reading)
    assert [text for text in PERSONAL if text in printed] == []


def test_the_source_as_it_is_now() -> None:
    """A changed source file shows how the stored request is read since."""
    [record] = records(form(**ADA, kunde="Acme"))
    changed = read_stored(record, source('map = { kunde = "company" }'), reveal=True)
    assert {each.field: each.became for each in changed.fields}["kunde"] == "company"


def test_one_of_several_events() -> None:
    """Of a request with several events each submission shows its own."""
    people = [{"email": f"{name}@example.com"} for name in ("ada", "bob")]
    toml = '[sources.x]\nadapter = "json"\nverify = { scheme = "none" }'
    readings = [
        read_stored(each, source(toml), reveal=True) for each in records(json_post(people), toml)
    ]
    assert [[each.value for each in one.fields] for one in readings] == [
        ["ada@example.com"],
        ["bob@example.com"],
    ]


def test_a_guess_is_told() -> None:
    """A body whose charset had to be guessed says so."""
    sentence = read_one(post(b"email=ada@example.com&stadt=K%F6ln"), reveal=False).guessed
    assert sentence is not None
    assert "windows-1252" in sentence


def test_what_cannot_be_read_again() -> None:
    """Erased content, a source that is gone, and a body nobody can read have a note, not fields."""
    [record] = records(form(**ADA))
    raw = record.raw
    assert raw is not None
    broken = structs.replace(
        record, raw=structs.replace(raw, body=b"{", content_type="application/json")
    )
    gone = structs.replace(record, raw=None)
    for one, config in ((gone, source()), (record, None), (broken, source())):
        reading = read_stored(one, config, reveal=False)
        assert reading.note
        assert not reading.fields


def test_a_long_form_is_cut() -> None:
    """Of more fields than a page can show the rest is counted."""
    fields = {f"q{number}": "x" for number in range(MAX_READINGS)}
    reading = read_one(form(**ADA, **fields))
    assert (len(reading.fields), reading.cut) == (MAX_READINGS, 3)

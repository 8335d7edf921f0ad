from __future__ import annotations

import msgspec
import pytest

from worker.contract import Lead, Money, Utm
from worker.lead.templates import (
    CLICK_IDS,
    TEMPLATE_NAMES,
    TemplateContext,
    TemplateError,
    build_context,
    check_name,
    compile_template,
)

LEAD = Lead(
    first_name="Ann",
    last_name="Lee",
    email="ann@acme.example",
    consent=True,
    value=Money(amount=1200.0, currency="EUR"),
    form_name="Contact {us}",
    utm=Utm(source="google", campaign="spring"),
    click_ids={"gclid": "G1", "ScCid": "S1", "acme_id": "A1"},
    answers={
        "Your team": ["Sales", "", "IT"],
        "How much, roughly?": "5 k",
        "v1.2": "dotted",
        "Empty": "",
    },
)


def context_of(lead: Lead = LEAD) -> TemplateContext:
    return build_context(lead, "contact", "sub-1", 1_767_225_599.0)


def render(text: str, lead: Lead = LEAD) -> str:
    return compile_template(text).render(context_of(lead))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{company|name|email} via {form_name|source}", "Ann Lee via Contact {us}"),
        ("{first_name}", "Ann"),
        ("{company}", ""),
        ("  {company} \n", ""),
        ("for {company}", "for"),
        ("{phone|'no phone'}", "no phone"),
        ('{phone|company|"none | at } all"}', "none | at } all"),
        ("{email|'unused'}", "ann@acme.example"),
        ("{ company | email }", "ann@acme.example"),
        ("{{{source}}}", "{contact}"),
        ("{source}:{submission_id}", "contact:sub-1"),
        ("{utm_campaign|gclid}", "spring"),
        ("{utm_term|gclid}", "G1"),
        ("{sclid|ScCid}", "S1"),
        ("{click_ids.acme_id}", "A1"),
        ("{value.amount} {value.currency}", "1200 EUR"),
        ("{consent}/{is_test}", "yes/no"),
        ("{received_date}", "2025-12-31"),
        ("{answers.Your team}", "Sales, IT"),
        ("{answers.your-team}", "Sales, IT"),
        ("{answers.how much roughly}", "5 k"),
        ("{answers.v1.2}", "dotted"),
        ("{answers.Empty|answers.missing|'-'}", "-"),
        ("{answers.__class__}", ""),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_renders(text: str, expected: str) -> None:
    """A template takes the first alternative that says something, and its text is trimmed."""
    assert render(text) == expected


def test_consent_refused_is_not_absent() -> None:
    """A refused consent reads "no"; a consent nobody asked for is empty and leaves the fallback."""
    assert render("{consent|'-'}", Lead(consent=False)) == "no"
    assert render("{consent|'-'}", Lead()) == "-"


def test_text_of_the_lead_is_never_a_template() -> None:
    """Braces in what the sender wrote stay text."""
    assert render("{name}", Lead(name="{email}", email="a@b.example")) == "{email}"


def test_names_are_told() -> None:
    """A template lists the fields it reads, so that the source file can be checked."""
    assert compile_template("{company|name|'x'} {answers.Your team}").names == {
        "company",
        "name",
        "answers.Your team",
    }


@pytest.mark.parametrize(
    ("text", "says", "position"),
    [
        ("{compny} x", "did you mean company?", 2),
        ("Hi {first_nme|name}", "did you mean first_name?", 5),
        ("{utm.campaign}", "did you mean utm_campaign?", 2),
        ("{name|utm_sorce}", "did you mean utm_source?", 7),
        ("{value}", "did you mean value.amount?", 2),
        ("{answers}", "answers.NAME", 2),
        ("{answers.}", "answers.NAME", 2),
        ("{name.__class__}", "unknown field 'name.__class__'", 2),
        ("{__init__}", "unknown field '__init__'", 2),
        ("{full_name}", "unknown field 'full_name'", 2),
        ("{}", "name is missing", 2),
        ("{name|}", "name is missing", 7),
        ("ab {name", "not closed", 4),
        ("{name {email}}", "not closed", 1),
        ("ab}", "without an opening one", 3),
        ("{name|'open}", "unknown field", 7),
    ],
)
def test_refuses(text: str, says: str, position: int) -> None:
    """A faulty template is refused with what is wrong, where, and what was probably meant."""
    with pytest.raises(TemplateError) as caught:
        compile_template(text)
    assert says in str(caught.value)
    assert caught.value.position == position
    assert f"(at character {position})" in str(caught.value)


def test_every_name_has_a_value() -> None:
    """Each name that templates may use has a value in the context of a full lead."""
    rest = {"consent", "value", "utm", "click_ids", "answers", "is_test"}
    text = msgspec.convert({name: "x" for name in Lead.__struct_fields__ if name not in rest}, Lead)
    full = msgspec.structs.replace(
        text,
        consent=True,
        is_test=True,
        value=Money("1", "EUR"),
        utm=Utm("a", "b", "c", "d", "e", "f"),
        click_ids=dict.fromkeys(CLICK_IDS, "id"),
    )
    assert [name for name in TEMPLATE_NAMES if not context_of(full).get(name)] == []


@pytest.mark.parametrize(
    "name", ["utm_source", "answers.Anything at all", "click_ids.new", "gclid"]
)
def test_names_for_rules(name: str) -> None:
    """Rules may test the names that templates may use."""
    check_name(name)

"""E-mail addresses as people, address books and spreadsheets write them."""

from __future__ import annotations

import pytest

from service.sources.fields import emails
from service.sources.fields.effort import EMAIL_UNITS, Effort
from service.sources.fields.emails import Address, parse_address, parse_email
from tests.unit.sources.factories import form, lead_of

WRITTEN = (
    "ada@b.example", " Ada@B.Example ", "<ada@b.example>", "Ada <ada@b.example>",
    '"Lovelace, Ada" <ada@b.example>', "Ada <ada@b.example", "ada@b.example>", "[ada@b.example]",
    "(ada@b.example)", "ada@b.example.", "ada@b.example;", "ada@b.example,", "ada@b.example:",
    "'ada@b.example'", '"ada@b.example"', "`ada@b.example`", "„ada@b.example“", "«ada@b.example»",
    "ada%40b.example", "ada＠b.example", "ａｄａ@b.example", "mailto:ada@b.example",
    "mailto:ada@b.example?subject=Hello%20you", "MAILTO: ADA@B.example", "<mailto:ada@b.example>",
    "smtp:ada@b.example", "E-Mail: ada@b.example", "email:ada@b.example", "ada @ b.example",
    "ada@b.example?subject=Hi", "ada\u200b@b.example", "\ufeffada@b.example", "ada@b.example\u0000",
    "ada@b.example\n", "\tada@b.example",
)  # fmt: skip
SEVERAL = (
    "ada@b.example, bo@c.example", "ada@b.example; bo@c.example", "ada@b.example bo@c.example",
    "ada@b.example / bo@c.example", "ada@b.example/bo@c.example", "ada@b.example | bo@c.example",
    "ada@b.example\nbo@c.example", "nonsense@, ada@b.example", "ada@b.example (privat)",
    "Ada ada@b.example",
)  # fmt: skip
OTHERS = (
    "", "no", "ada", "ada@b", "@b.example", "ada@", "ada@@b.example", "ada@b@c.example", "ada@b..example",
    "ada@-b.example", "ada..l@b.example", "ada.@b.example", "ada(at)b.example", "ada[at]b.example",
    "https://b.example/", "ada@[127.0.0.1]", "x" * 65 + "@b.example", "ada@" + "b" * 64 + ".example",
    "ada@" + "b." * 130 + "example", "please write to ada@b.example or else call me",
    "@", "ada@b .example or so", "\u0000",
)  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_one_address(text: str) -> None:
    """However an address is written, it is read in lower case without what surrounds it."""
    address = parse_address(text, Effort())
    assert address is not None
    assert address.email == "ada@b.example"
    assert not address.has_more


@pytest.mark.parametrize("text", SEVERAL)
def test_several_addresses(text: str) -> None:
    """The first address of several is taken, and the text is more than that address."""
    assert parse_address(text, Effort()) == Address("ada@b.example", has_more=True)
    lead = lead_of(form(email=text))
    assert lead.email == "ada@b.example"
    assert list(lead.answers) == ["email"]


@pytest.mark.parametrize("text", OTHERS)
def test_no_address(text: str) -> None:
    """What nobody could be written to at, and a sentence, is no address and stays an answer."""
    assert parse_email(text, Effort()) is None
    lead = lead_of(form(email=text, name="Ada"))
    assert lead.email is None
    assert lead.answers == ({"email": text.strip()} if text.strip("\u0000") else {})


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("zoë@bücher.example", "zoë@bücher.example"),
        ("info@例え.jp", "info@例え.jp"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("o'hara+tag@b.co.uk", "o'hara+tag@b.co.uk"),
        ("почта@пример.рф", "почта@пример.рф"),
        ("x" * 64 + "@b.example", "x" * 64 + "@b.example"),
    ],
)
def test_international_addresses(text: str, email: str) -> None:
    """Letters of any script, apostrophes and tags belong to addresses."""
    typed = text.upper().replace("SS", "ß") if text.isascii() else text
    assert parse_email(typed, Effort()) == email


def test_plain_addresses_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is plain costs nothing, and one that is ASCII no call of the library."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the library was asked")

    monkeypatch.setattr(emails, "validate_email", fail)
    assert parse_email(" Ada@B.example ", Effort(0)) == "ada@b.example"
    for text in (*WRITTEN, *SEVERAL):
        assert parse_email(text, Effort()) == "ada@b.example"


def test_foreign_addresses_share_what_a_request_may_cost() -> None:
    """Beyond a request's share of the library a foreign address stays an answer."""
    effort = Effort(2 * EMAIL_UNITS + 100)
    texts = ("zoë@b.example", "zoé@b.example", "zoè@b.example")
    assert [parse_email(text, effort) is not None for text in texts] == [True, True, False]


def test_letters_of_a_foreign_domain_count() -> None:
    """The library looks up each letter, so long domains leave less for others."""
    effort = Effort(10 * EMAIL_UNITS)
    long_domain = ".".join(["ö" * 16] * 5)
    assert parse_email(f"a@{long_domain}.example", effort)
    assert parse_email(f"b@{long_domain}.example", effort) is None
    assert parse_email("zoë@b.example", effort)


def test_the_name_beside_an_address() -> None:
    """A name that was written with the address is the person's, where no field asks for one."""
    lead = lead_of(form(email='"Ada Lovelace" <ada@b.example>'))
    assert (lead.email, lead.name, lead.answers) == ("ada@b.example", "Ada Lovelace", {})
    lead = lead_of(form(email="Ada Lovelace <ada@b.example>", first_name="Augusta"))
    assert (lead.first_name, lead.name) == ("Augusta", None)


@pytest.mark.parametrize("label", ["_replyto", "replyto", "Your e-mail *", "contact[email]", "zz7"])
def test_labels_of_addresses(label: str) -> None:
    """The only address is the lead's, under the name of a product or an unknown one."""
    assert lead_of(form(**{label: "<Ada@B.example>;"})).email == "ada@b.example"


def test_two_strange_addresses() -> None:
    """Of two different addresses under unknown names neither is taken."""
    assert lead_of(form(name="Ada", zz7="ada@b.example", zz8="bo@c.example")).email is None
    assert lead_of(form(zz7="ada@b.example", zz8="Ada@b.example")).email == "ada@b.example"

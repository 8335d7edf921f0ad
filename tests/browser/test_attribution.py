"""The page that says where leads come from and what became of them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from playwright.sync_api import expect

from service.cli.main import main
from tests.browser.conftest import Console, OpenPage
from tests.polling import eventually


def read_outcomes(console: Console) -> None:
    result = CliRunner().invoke(main, ["attribution", "--refresh"], env=console.env)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("narrow", [False, True])
def test_what_became_of_the_leads(narrow: bool, console: Console, open_page: OpenPage) -> None:
    """A bar and the numbers of each campaign, and since when they hold; no personal data."""
    page = open_page("/ops/attribution", narrow=narrow, role="viewer")
    expect(page.locator(".empty")).to_contain_text("No leads yet")
    ids = [console.post(utm_campaign="spring", utm_source="google") for _ in range(4)]
    ids += [console.post() for _ in range(2)]
    with console.worker():
        assert eventually(lambda: {console.state(id) for id in ids} == {"delivered"})
    page.reload()
    expect(page.locator("#outcomes")).to_contain_text("Not read from Pipedrive yet")
    spring = [lead for lead in console.leads() if lead["channel_id"] == "spring"]
    for lead in spring[:2]:
        console.sandbox.post(f"/api/v2/leads/{lead['id']}/convert/deal", json={}).raise_for_status()
    console.sandbox.patch(
        "/api/v2/deals/1", json={"status": "won", "value": 1200, "currency": "EUR"}
    ).raise_for_status()
    read_outcomes(console)
    page.reload()
    expect(page.locator("#outcomes")).to_contain_text("UTC, read from Pipedrive for 90 API tokens")
    row = page.locator("tbody tr").first
    expect(row.locator("th")).to_have_text("spring")
    expect(row.locator("td").first).to_have_text("contact · Paid search")
    expect(row.locator("td.num")).to_have_text(["4", "4", "2", "1", "0", "1,200.00 EUR"])
    titles = row.locator("rect title").all_text_contents()
    assert titles == ["1 won", "1 open deal", "2 open leads"]
    expect(row.get_by_role("img")).to_have_accessible_name(
        "contact, spring, Paid search: 4 delivered: 1 won, 1 open deal, 2 open leads"
    )
    expect(page.locator("tbody tr").nth(1).locator("th")).to_have_text("(none)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "example.com" not in page.content()

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, OpenPage


def rows(page: Page) -> list[str]:
    return page.locator("#list tbody tr th").all_inner_texts()


def test_filters_are_in_the_address(console: Console, open_page: OpenPage) -> None:
    """Each filter changes URL and list without a reload; going back undoes it."""
    console.nobody()
    console.post()
    page = open_page("/ops/leads")
    page.evaluate("window.mark = 1")
    expect(page.locator("#total")).to_have_text("2")
    page.get_by_label("Source").select_option("contact")
    expect(page).to_have_url(f"{console.url}/ops/leads?source=contact")
    expect(page.locator("#total")).to_have_text("1")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.go_back()
    expect(page.locator("#total")).to_have_text("2")
    expect(page.get_by_label("Source")).to_have_value("")
    assert page.evaluate("window.mark") == 1


def test_search_finds_by_what_is_masked(console: Console, open_page: OpenPage) -> None:
    """A lead is found by data that the list masks, or by qualifiers; the search stays in its box."""
    console.post(email="grace@navy.example", name="Grace Hopper", utm_campaign="spring")
    console.post(email="ada@engines.example")
    page = open_page("/ops/leads")
    page.get_by_label("Search leads").fill("grace@navy.example")
    page.keyboard.press("Enter")
    expect(page.locator("#total")).to_have_text("1")
    assert rows(page) == ["G… H…"]
    page.get_by_label("Search leads").fill("utm_campaign:spring source:contact")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=utm_campaign"))
    expect(page.locator("#total")).to_have_text("1")
    page.keyboard.press("j")
    expect(page.locator("#list tbody tr.current")).to_have_count(1)
    page.reload()
    expect(page.get_by_label("Search leads")).to_have_value("utm_campaign:spring source:contact")


def test_nothing_matches_names_the_filter_to_drop(console: Console, open_page: OpenPage) -> None:
    """An empty list says which filter to remove, and how many leads there are without it."""
    console.nobody()
    page = open_page("/ops/leads?state=dead&source=contact")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    page.get_by_role("link", name="Remove source: contact").click()
    expect(page.locator("#total")).to_have_text("1")
    page.goto("/ops/leads?q=state:nonsense")
    expect(page.get_by_role("heading", name="That didn't work")).to_be_visible()


def test_pages_follow_each_other(console: Console, open_page: OpenPage) -> None:
    """Of sixty leads the second page has the ten oldest, and a link back to the first."""
    for _ in range(60):
        console.post()
    page = open_page("/ops/leads")
    expect(page.locator("#total")).to_have_text("60")
    expect(page.locator("#list tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#list tbody tr")).to_have_count(10)
    page.get_by_role("link", name="First page").click()
    expect(page.locator("#list tbody tr")).to_have_count(50)


def test_a_phone_has_cards(console: Console, open_page: OpenPage) -> None:
    """At 390 px a row is a card, nothing overflows, and an open lead covers the list."""
    console.nobody()
    page = open_page("/ops/leads?state=dead", narrow=True)
    expect(page.locator("#list thead")).not_to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#list tbody th a").click()
    expect(page.locator("#detail")).to_be_visible()
    expect(page.locator("#list")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name="Back to the list").click()
    expect(page.locator("#list")).to_be_visible()


def test_a_wide_screen_has_both(console: Console, open_page: OpenPage) -> None:
    """At 1280 px an open lead is beside the list, with its buttons in view."""
    console.nobody()
    page = open_page("/ops/leads?state=dead")
    page.locator("#list tbody th a").click()
    expect(page.locator("#list")).to_be_visible()
    expect(page.get_by_role("button", name="Retry without changes")).to_be_in_viewport()


def test_times_tell_both_clocks(console: Console, open_page: OpenPage) -> None:
    """The title of a relative time has local time and UTC."""
    console.nobody()
    page = open_page("/ops/leads?state=dead", timezone_id="Asia/Tokyo", locale="en-GB")
    title = page.locator("#list tbody time").first.get_attribute("title") or ""
    assert re.search(r"local time · .* UTC$", title)

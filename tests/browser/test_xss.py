"""What strangers write stays text: 200 payloads in every stored field, on every page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from playwright.sync_api import Dialog, Page, expect

from service.alerts.state import MonitorState, SourceActivity
from service.ops.console.lead import TABS
from tests.browser.conftest import Console, OpenPage
from tests.browser.payloads import MARK, PAYLOADS, PRINTABLE, WORKED_OUT, words
from tests.browser.placing import place, submission
from tests.polling import eventually
from worker.contract import Cause, Lead, Money, Raw, State, Submission, Utm
from worker.drift.drift import DriftFinding, DriftReport
from worker.store import keys

CHUNKS = [PAYLOADS[start::4] for start in range(4)]
UTM = tuple(f"utm_{name}" for name in Utm.__struct_fields__)
FIELDS = ("name", "company", "job_title", "message", "country", "page_url", "referrer", "form_id", "form_name", *UTM,
          "gclid", "fbclid", "msclkid", "li_fat_id")  # fmt: skip
TEXTS = [
    name
    for name in Lead.__struct_fields__
    if name not in ("consent", "value", "utm", "click_ids", "is_test", "answers")
]
NO_KEY = next(each for each in PRINTABLE if "<" in each and " " in each)
KEY = next(each for each in PRINTABLE if "<" in each and " " not in each)
OURS = "Leave without saving your changes?"

LISTEN = """
window.__violations = [];
addEventListener("securitypolicyviolation", (event) => window.__violations.push(event.violatedDirective), true);
"""
LOOK = """(mark) => {
  const strange = new Set("img iframe object embed math style base animate set use foreignobject video audio marquee frameset "
    .concat("frame canvas portal x template").split(" "));
  const addresses = new Set("href src action formaction data poster srcset background xlink:href".split(" "));
  const added = [], text = [document.documentElement.textContent];
  for (const node of document.querySelectorAll("*")) {
    const own = node.localName.toLowerCase();
    const ours = own !== "script" || /^\\/ops\\/static\\//.test(node.getAttribute("src"));
    if (strange.has(own) || !ours) added.push(node.outerHTML);
    if (own === "meta" && node.httpEquiv === "refresh" && !/^\\d+$/.test(node.content)) added.push(node.outerHTML);
    if (/^(input|textarea)$/.test(own)) text.push(node.value);
    for (const { name, value } of node.attributes) {
      if (name.includes(mark) || /^on|^style$|^srcdoc$|[<>"'`]/.test(name)) added.push(`${name} of ${node.outerHTML}`);
      if (addresses.has(name) && !/^(\\/(?!\\/)|#|\\?|$)/.test(value)) added.push(`${name}=${value}`);
      if (name === "title" || name === "aria-label") text.push(value);
    }
  }
  return { added: added.map((each) => each.slice(0, 300)), text: text.join("\\n"),
           ran: window.__pwned ?? null, violations: window.__violations };
}"""


POLICY = b"content-security-policy"


@pytest.fixture
def around() -> Callable[[Litestar], ASGIApp]:
    """The policy of each page is only watched over: what breaks it is reported, and runs."""

    def only_reported(app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def pass_on(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [
                        # Without an address for its reports, Chromium finds such a policy useless.
                        (POLICY + b"-report-only", value + b"; report-uri /reports")
                        if name.lower() == POLICY
                        else (name, value)
                        for name, value in message["headers"]
                    ]
                await send(message)

            await app(scope, receive, pass_on)

        return answer

    return only_reported


class View(NamedTuple):
    """A page, and texts that must be on it as they are stored."""

    path: str
    texts: Sequence[str] = ()


class Watch:
    """A page that is checked for anything that a payload could have done."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialogs: list[str] = []
        page.add_init_script(LISTEN)
        page.on("dialog", self._on_dialog)

    def _on_dialog(self, dialog: Dialog) -> None:
        if dialog.message != OURS:
            self.dialogs.append(dialog.message)
        dialog.accept()

    def open_view(self, view: View) -> None:
        self.page.goto(view.path)
        self.look(view.path, view.texts)

    def look(self, where: str, texts: Iterable[str] = ()) -> None:
        report = self.page.evaluate(LOOK, MARK)
        assert (report["ran"], self.dialogs, report["violations"]) == (None, [], []), where
        assert report["added"] == [], where
        assert WORKED_OUT not in report["text"], where
        text_on_page = words(report["text"])
        missing = [text[:200] for text in texts if words(text) not in text_on_page]
        assert missing == [], f"{where}: not shown as it is"


# -- what is planted
# --------------------------------------------------------------------------------------------------


class Planted(NamedTuple):
    delivered: str
    refused: str
    unlabelled: str
    spam: str
    placed: list[str]
    """With payloads where no sender gets any: in every field of the record."""


def plant(console: Console) -> Planted:
    """Posts what a sender can post, and puts the rest straight into the store."""
    with console.worker():
        delivered, unlabelled = (
            _posted(console, "contact", CHUNKS[0]),
            _posted(console, "webinar", CHUNKS[1]),
        )
        assert eventually(
            lambda: (console.state(delivered), console.state(unlabelled)) == ("delivered", "dead")
        )
        body = {"success": False, "error": " ".join(CHUNKS[2][5:9]), "error_info": CHUNKS[2][9]}
        answer = {"kind": "answer", "status": 400, "body": body}
        rule = {"name": PAYLOADS[-1], "match": {"operation": "leads.add"}, "effect": answer}
        console.sandbox.post("/_sandbox/faults", json=rule).raise_for_status()
        refused = _uploaded(console, CHUNKS[2])
        assert eventually(lambda: console.state(refused) == "dead")
    spam = _posted(console, "contact", CHUNKS[3], website="javascript:window.__pwned=1")
    placed = place(console.context, (_record(chunk, number) for number, chunk in enumerate(CHUNKS)))
    _decided(console, placed)
    _in_the_account(console)
    return Planted(delivered, refused, unlabelled, spam, placed)


def _posted(console: Console, source: str, chunk: tuple[str, ...], **more: str) -> str:
    turn = cycle(chunk)
    fields = (
        {name: next(turn) for name in FIELDS}
        | {payload: payload for payload in chunk}
        | {"message": "\n".join(chunk)}
    )
    return console.post(source, **fields, **more)


def _uploaded(console: Console, chunk: tuple[str, ...]) -> str:
    """As multipart, with files; payloads in head, query and names of files too."""
    headers = {f"x-{number}": payload for number, payload in enumerate(PRINTABLE[::6])}
    headers |= {"user-agent": PRINTABLE[9], "referer": PRINTABLE[12], "idempotency-key": KEY}
    files: list[tuple[str, Any]] = [(payload, (None, payload)) for payload in chunk]
    files += [("upload", (payload, b"%PDF", payload)) for payload in PRINTABLE[1::40]]
    files += [("name", (None, chunk[7])), ("email", (None, "eve@example.com"))]
    url = (
        str(console.url)
        + "/in/contact?"
        + urlencode({payload: payload for payload in chunk[10:14]})
    )
    return str(
        httpx.post(url, files=files, headers=headers, timeout=20, trust_env=False)
        .raise_for_status()
        .json()["id"]
    )


def _record(chunk: tuple[str, ...], number: int) -> Submission:
    turn = cycle(chunk)
    texts: dict[str, Any] = {name: next(turn) for name in TEXTS}
    lead = Lead(
        **texts,
        value=Money(next(turn), next(turn)),
        utm=Utm(*(next(turn) for _ in UTM)),
        click_ids={next(turn): next(turn) for _ in range(5)},
        answers={
            payload: [payload, next(turn)] if place % 2 else payload
            for place, payload in enumerate(chunk)
        },
    )
    body = "\n".join(each for each in chunk if "\x00" not in each or number == 3)
    raw = Raw(next(turn), next(turn), next(turn), [(each, each) for each in chunk], body.encode())
    cause = Cause(
        step=next(turn),
        code=next(turn),
        detail=" ".join(chunk[20:23]),
        field=next(turn),
        setting=next(turn),
        hint=next(turn),
    )
    source = next(each for each in chunk[30:] if "<" in each)
    state = State.QUARANTINED if number == 1 else State.DEAD
    return submission(
        source, state, time.time() - 60, lead, raw=raw, cause=cause, why=" ".join(chunk[24:27])
    )


def _decided(console: Console, placed: list[str]) -> None:
    """Operators with strange names give strange reasons; what watches the account and the sources
    says strange things.
    """
    context, (who, why, *more) = console.context, CHUNKS[2][15:30]
    context.ledger.discard(placed[3], who, why)
    context.ledger.gate.pause(why, who)
    console.actions.retry(placed[2], who, {"name": more[0], "answers.<b data-pwned>": more[1]})
    for start in range(0, len(PAYLOADS), 4):
        console.actions.audit.record(*PAYLOADS[start : start + 4])
    console.actions.bulks.create("discard", [placed[0]], 1, who)
    # Until it is done, a page may show its cause or not any more.
    assert eventually(
        lambda: (
            (record := context.ledger.get(placed[0])) is not None
            and record.state is State.DISCARDED
        )
    )
    drifted = DriftFinding(
        kind=more[2],
        message=more[3],
        needed=True,
        settings=[more[4]],
        sources=[more[5]],
        name=more[6],
        available=more,
    )
    report = DriftReport(at=time.time(), mappings_version="", findings=[drifted], error=more[7])
    context.redis.set(keys.DEFAULT_ACCOUNT.drift, msgspec.json.encode(report))
    watched = MonitorState(
        sources={payload: SourceActivity(total=9.0, last_rise_at=1.0) for payload in more}
    )
    context.redis.set(keys.ALERTS, msgspec.json.encode(watched))


def _in_the_account(console: Console) -> None:
    """The sandbox's own page shows labels, calls and their paths."""
    for payload in PRINTABLE[::9]:
        console.sandbox.post("/v1/leadLabels", json={"name": payload, "color": "red"})
        console.sandbox.get(f"/v1/{quote(payload, safe='')}", params={payload: payload})
        console.sandbox.get(httpx.URL(f"http://x/v1/leads?a={payload}").raw_path.decode())


# -- where it is shown
# --------------------------------------------------------------------------------------------------


def views(console: Console, planted: Planted) -> Iterator[View]:
    yield from _lists(console)
    whole = (planted.refused, planted.placed[0], planted.placed[3])
    for id in (
        planted.delivered,
        planted.refused,
        planted.unlabelled,
        planted.spam,
        *planted.placed,
    ):
        yield from _details(console, id, list(TABS) if id in whole else ["received"])
    reader = console.queries
    for cause in reader.causes().items:
        yield View(
            f"/ops/causes/{cause.id}/mend", [cause.title, cause.detail or "", (cause.setting or "")]
        )
        yield View(f"/ops/leads?state=dead&cause={cause.id}", [cause.title])
    [run] = console.actions.newest_bulks(1)
    yield View(f"/ops/bulk/{run.id}", [run.by or "?"])
    yield View("/ops/bulk?action=discard&state=dead,quarantined", [])
    entries, _, _ = console.actions.audit.read_page(limit=100)
    yield View(
        f"{console.sandbox.base_url}?refresh=0", [str(lead["title"]) for lead in console.leads()]
    )
    yield View(
        "/ops/audit",
        [
            text
            for each in entries
            for text in (each.who, each.action, each.target, each.detail or "")
        ],
    )
    yield from _echoes()


def _lists(console: Console) -> Iterator[View]:
    reader = console.queries
    causes, sources = reader.causes().items, [line.source for line in reader.activity().sources]
    pause = console.context.ledger.gate.find_pause()
    assert pause is not None
    yield View(
        "/ops",
        [
            *sources,
            pause.reason,
            *(each.title for each in causes),
            *(each.detail or "" for each in causes),
        ],
    )
    yield View("/ops/leads", [])
    for state in State:
        yield View(f"/ops/leads?state={state.value}", [])
    for source in sources:
        yield View("/ops/leads?" + urlencode({"source": source}), [source])
    for payload in PAYLOADS[5::19]:
        yield View("/ops/leads?" + urlencode({"q": payload}), [payload])


def _details(console: Console, id: str, tabs: list[str]) -> Iterator[View]:
    record = console.context.ledger.get(id)
    assert record is not None
    assert record.lead is not None
    assert record.raw is not None
    lead, path = list(_leaves(msgspec.to_builtins(record.lead))), f"/ops/leads/{id}?reveal=1"
    raw = [
        record.raw.content_type,
        record.raw.query,
        *(text for pair in record.raw.headers for text in pair),
    ]
    body = record.raw.body.decode()
    if not any(ord(letter) < 32 and letter not in "\t\n\r" for letter in body):
        raw.append(body)
    moments = [
        text for each in console.context.ledger.timeline(id) for text in (each.by, each.why or "")
    ]
    attempts = [each.detail or "" for each in console.context.ledger.attempts(id)]
    by_tab = {"received": raw, "timeline": moments, "attempts": attempts}
    yield from (View(f"{path}&tab={tab}", lead + by_tab.get(tab, [])) for tab in tabs)
    yield View(f"/ops/leads/{id}", [])
    if record.state in (State.DEAD, State.QUARANTINED):
        yield View(f"{path}&edit=1", lead)


def _leaves(value: Any) -> Iterator[str]:
    """Every text of a lead, and every name that a stranger chose."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _leaves(each)
            if name not in Lead.__struct_fields__ + Utm.__struct_fields__ + Money.__struct_fields__:
                yield str(name)
    elif isinstance(value, list):
        yield from (str(each) for each in value)
    elif isinstance(value, str):
        yield value


ECHOES = (
    "ops/leads?state={0}", "ops/leads?source={0}", "ops/leads?cause={0}", "ops/leads?cursor={0}",
    "ops/leads?q=state:{0}",
    "ops/sign-in?next={0}&notice={0}", "ops?done={0}&of={0}", "ops?done=discarded&of={0}",
    "ops/bulk?action={0}&state=dead",
    "ops/bulk?action=retry&state=dead&back={0}", "ops/audit?cursor={0}", "ops/leads/{0}?tab={0}",
    "ops/bulk/{0}",
    "ops/causes/{0}/mend?back={0}", "ops/api/submissions/{0}", "ops/{0}", "in/{0}",
    "in/contact?{0}", "submissions/{0}", "{0}",
)  # fmt: skip
"""Pages that might say again what the address says."""


def _echoes() -> Iterator[View]:
    for payload in (PAYLOADS[6], "javascript:window.__pwned=1"):
        text = quote(payload.replace("/", "\\"), safe="")
        yield from (View("/" + path.format(text)) for path in ECHOES)


# -- the tests
# --------------------------------------------------------------------------------------------------


def test_the_corpus() -> None:
    """There are 200 different payloads, all but a dozen with markup or code."""
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 200
    assert sum(MARK in each or "__pwned" in each or "48271" in each for each in PAYLOADS) >= 188


def test_nothing_runs_and_all_is_text(console: Console, open_page: OpenPage) -> None:
    """No page runs a payload, adds its elements or breaks the policy, even where a browser ignores it."""
    planted = plant(console)
    console.queries.causes()  # a page does not wait for the index, it says that it loads
    watch = Watch(open_page("/ops/sign-in", separate=True))
    for view in views(console, planted):
        watch.open_view(view)
    stored = [console.context.ledger.get(id) for id in (*planted[:4], *planted.placed)]
    stored_text = words(
        "\n".join(
            text for each in stored if each for text in _leaves(msgspec.to_builtins(each.lead))
        )
    )
    assert [each for each in PAYLOADS if words(each)[:200] not in stored_text] == []


def test_nothing_runs_in_what_comes_while_one_looks(console: Console, open_page: OpenPage) -> None:
    """Nor does the console's script: when it polls, opens a lead or a dialog, or shows a message."""
    page = open_page("/ops/sign-in", separate=True)
    watch = Watch(page)
    page.goto("/ops")
    dead = [_record(chunk, number) for number, chunk in enumerate(CHUNKS) if number != 1]
    place(console.context, dead)
    expect(page.locator("#causes .card")).to_have_count(3)
    watch.look("what came meanwhile", [each.cause.detail for each in dead if each.cause])
    page.locator("#causes .card footer a[data-dialog]").first.click()
    expect(page.get_by_role("dialog").get_by_role("button", name="retry 1")).to_be_visible()
    watch.look("the dialogue")
    page.keyboard.press("Escape")
    page.get_by_label("Search leads").fill("source:" + PRINTABLE[40])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    watch.look("nothing found", ["source:" + PRINTABLE[40]])
    page.get_by_role("link", name="Clear all filters").click()
    expect(page.locator("#list tbody tr")).to_have_count(3)
    page.locator("#list tbody tr th a").first.click()
    page.get_by_role("link", name="Edit").click()
    expect(page.locator("#lead-form")).to_be_visible()
    watch.look("the form")
    page.get_by_label("E-mail").fill(PAYLOADS[6])
    page.get_by_role("button", name="Save & retry").click()
    expect(page.locator(".field.invalid .error").first).to_be_visible()
    watch.look("the form again", [PAYLOADS[6]])
    page.get_by_role("link", name="Cancel").click()
    page.locator("#actions").get_by_role("button", name="Discard").click()
    expect(page.locator(".toast")).to_be_visible()
    watch.look("what was done")


FORM = """([action, fields, type]) => {
  const form = document.body.appendChild(document.createElement("form"));
  [form.action, form.method, form.enctype] = [action, "post", type];
  for (const [name, value] of fields) {
    const input = form.appendChild(document.createElement("textarea"));
    [input.name, input.value] = [name, value];
  }
  form.submit();
}"""


AS_FORM = "application/x-www-form-urlencoded"
ANSWERS: dict[str, tuple[list[tuple[str, str]], str | None, str]] = {
    "Thank you": (
        [("email", "eve@example.com"), *((each, each) for each in PAYLOADS)],
        None,
        "multipart/form-data",
    ),
    "Thank you, spam": (
        [("website", PAYLOADS[6]), ("email", "eve@example.com")],
        None,
        AS_FORM,
    ),
    "There is nobody to contact": ([(each, each) for each in PAYLOADS], None, AS_FORM),
    "The Idempotency-Key is not usable": ([("email", "eve@example.com")], NO_KEY, AS_FORM),
    "The Idempotency-Key belongs to another body": (
        [("email", "eve@example.com")],
        KEY,
        AS_FORM,
    ),
    "The request cannot be read": ([("{" + PAYLOADS[6], PAYLOADS[7])], None, "text/plain"),
}


def test_what_a_sender_is_answered(console: Console, open_page: OpenPage) -> None:
    """A browser that posts payloads gets a page with none of them as markup."""
    httpx.post(
        f"{console.url}/in/contact",
        data={"name": "Eve"},
        headers={"idempotency-key": KEY},
        trust_env=False,
    ).raise_for_status()
    page = open_page("/healthz", role=None, separate=True)
    watch = Watch(page)
    for title, (fields, key, type) in ANSWERS.items():
        page.set_extra_http_headers({})
        page.goto("/healthz")
        page.set_extra_http_headers({"idempotency-key": key} if key else {})
        with page.expect_navigation(url="**/in/contact"):
            page.evaluate(FORM, [f"{console.url}/in/contact", fields, type])
        assert page.title() == title.partition(",")[0]
        watch.look(title)

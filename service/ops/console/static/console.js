/* The console's one script. Every page works without it; with it pages change in place, follow what happens, and have keys.

   go      a link or a form -> fetch the same address -> make the parts of this page like those of the answer
   follow  every two seconds the same, of the address shown; slower while that fails, and then it says since when
   keys    press the button or the link that is there for it: the script can do nothing that the page cannot */
"use strict";

(() => {
  const PARTS = ["top", "flash", "main", "tray"];
  const FOLLOW = 2000, SLOWEST = 30000, PATIENCE = 150;
  const STAY = ["/ops/sign-out", "/ops/sign-in"];
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const dialog = $("#dialog");
  document.documentElement.classList.add("js");
  if (!$("#main") || !$("#top")) return;

  /* -- making one tree like another ---------------------------------------------------------------------------- */

  const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");

  function morph(have, want) {
    if (have.isEqualNode(want)) return;
    if (have.nodeName !== want.nodeName) return have.replaceWith(document.importNode(want, true));
    if (have.nodeType !== 1) return void (have.data = want.data);
    if (have.classList.contains("dirty")) return;
    for (const { name } of [...have.attributes]) if (!want.hasAttribute(name) && !(name === "open" && have.localName === "details")) have.removeAttribute(name);
    for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
    if (have !== document.activeElement && /^(input|textarea)$/.test(have.localName) && !/^(checkbox|hidden)$/.test(have.type)) have.value = want.value;
    morphChildren(have, want);
    if (have.localName === "select" && have !== document.activeElement) have.value = want.value;
  }

  function morphChildren(have, want) {
    const known = new Map();
    for (const child of have.childNodes) if (keyOf(child)) known.set(keyOf(child), child);
    let at = have.firstChild;
    for (const child of want.childNodes) {
      const key = keyOf(child);
      const match = key ? known.get(key) : at && !keyOf(at) && at.nodeName === child.nodeName ? at : null;
      if (!match) { have.insertBefore(document.importNode(child, true), at); continue; }
      if (match === at) at = at.nextSibling; else have.insertBefore(match, at);
      morph(match, child);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  /* -- going somewhere ------------------------------------------------------------------------------------------- */

  let turn = 0, waiting = null;

  async function ask(url, options) {
    const mine = ++turn;
    const slow = setTimeout(() => { $("#loading").hidden = false; $("#main").setAttribute("aria-busy", "true"); }, PATIENCE);
    try {
      const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "text/html" }, ...options });
      if (answer.status === 401 || new URL(answer.url).pathname === "/ops/sign-in") { leaveFreely(); location.assign(location.href); return null; }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine !== turn) return null;
      if (!$("#main", page) || !$("#top", page)) throw new Error(`${answer.status}`);
      failed(null);
      return { page, url: new URL(answer.url), status: answer.status };
    } catch (error) {
      if (mine === turn) failed(() => ask(url, options).then((answer) => answer && show(answer)), options?.method === "POST");
      return null;
    } finally {
      clearTimeout(slow);
      if (mine === turn) { $("#loading").hidden = true; $("#main").removeAttribute("aria-busy"); }
    }
  }

  async function go(url, { push = true } = {}) {
    if (!mayLeave()) return;
    const answer = await ask(url);
    if (answer) show(answer, { push });
  }

  function show({ page, url, status }, { push = true } = {}) {
    const before = { detail: $("#detail")?.dataset.key, place: rows().indexOf(current), focus: document.activeElement };
    leaveFreely();
    const bare = new URL(url);
    for (const name of ["done", "of"]) bare.searchParams.delete(name);
    const target = bare.pathname + bare.search + bare.hash;
    if (status < 400 && !/\/check$/.test(bare.pathname) && target !== location.pathname + location.search) history[push ? "pushState" : "replaceState"](null, "", target);
    morph($("header.bar"), $("header.bar", page));
    take(page, PARTS);
    document.title = page.title;
    settle(before);
    soon();
  }

  function take(page, parts) {
    for (const id of parts) {
      const have = document.getElementById(id), want = page.getElementById(id);
      if (have && want) morph(have, want);
    }
    if (parts.includes("flash")) toast();
    dress();
  }

  /* Where the eye and the focus are after the page has changed. */
  function settle(before) {
    const detail = $("#detail");
    if (detail && detail.dataset.key !== before.detail) {
      mark(rowOf(detail.dataset.key));
      detail.scrollTop = 0;
      detail.focus({ preventScroll: true });
      if (innerWidth < 1100) scrollTo(0, 0);
    } else if (!detail && before.detail) {
      // Where it was, or what has moved up into its place.
      mark(rowOf(before.detail) || rows()[Math.min(before.place, rows().length - 1)] || rows()[0], true);
    } else if (before.focus !== document.body && !before.focus?.isConnected) {
      const next = current || rows()[Math.min(before.place, rows().length - 1)];
      next ? mark(next, true) : $("#main").focus({ preventScroll: true });
    }
    const wrong = $("[aria-invalid=true]", $("#main"));
    if (wrong) wrong.focus();
  }

  function failed(again, changing) {
    const place = $("#failed");
    place.hidden = !again;
    waiting = again;
    if (again) $("p", place).textContent = changing
      ? "The service did not answer: it may or may not have been done. Trying again does nothing twice."
      : "The service did not answer.";
  }

  const dirty = () => $$("form.dirty");
  const mayLeave = () => !dirty().some((form) => form.closest("main")) || confirm("Leave without saving what you typed?");
  const leaveFreely = () => dirty().forEach((form) => form.classList.remove("dirty"));

  /* -- following what happens ------------------------------------------------------------------------------------ */

  let pause = FOLLOW, timer = 0, staleSince = null;
  const soon = (after = pause) => { clearTimeout(timer); timer = setTimeout(follow, after); };

  async function follow() {
    if (document.hidden) return;
    const mine = turn;
    const url = new URL(location.href);
    const revealed = url.searchParams.get("reveal") === "1";
    if (revealed) {
      // A look at personal data is logged: the script takes none by itself.
      url.pathname = "/ops/leads";
      for (const name of ["reveal", "edit", "tab"]) url.searchParams.delete(name);
    }
    try {
      const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "text/html" }, signal: AbortSignal.timeout(10000) });
      if (answer.status === 401) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!$("#top", page)) throw new Error(`${answer.status}`);
      staleSince = null;
      pause = FOLLOW;
      if (mine === turn) revealed ? takeBeside(page) : take(page, ["top", "main", "tray"]);
    } catch {
      staleSince ||= new Date($("#fresh").dataset.at);
      pause = Math.min(SLOWEST, pause * 2);
    }
    freshness();
    soon();
  }

  function takeBeside(page) {
    const open = $("#detail")?.dataset.key;
    take(page, ["top", "tray"]);
    if ($("#list") && $("#list", page)) morph($("#list"), $("#list", page));
    const row = open && rowOf(open);
    if (row) { row.classList.add("open"); row.setAttribute("aria-current", "true"); }
    dress();
  }

  function freshness() {
    const place = $("#fresh");
    if (!place || place.classList.contains("away-stale")) return;
    place.classList.toggle("live", !staleSince);
    place.classList.toggle("stale", Boolean(staleSince));
    $(".word", place).textContent = staleSince ? `stale since ${staleSince.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}` : "live";
  }

  document.addEventListener("visibilitychange", () => document.hidden || soon(0));

  /* -- times: relative as they pass, local and UTC when pointed at ------------------------------------------------ */

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function ago(date) {
    let left = Math.round((Date.now() - date) / 1000);
    const future = left < 0;
    left = Math.abs(left);
    if (left < 5) return "now";
    const found = UNITS.findIndex(([size]) => left >= size);
    const [size, unit] = UNITS[found];
    const [smaller, small] = UNITS[found + 1] || [];
    const rest = found < 2 && left < 864000 ? Math.floor((left % size) / smaller) : 0;
    const text = `${Math.floor(left / size)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
    return future ? `in ${text}` : `${text} ago`;
  }

  function times() {
    for (const time of $$("time[datetime]")) {
      const date = new Date(time.dateTime);
      if (time.dataset.form === "relative") { const text = ago(date); if (time.textContent !== text) time.textContent = text; }
      if (!time.dataset.utc) time.dataset.utc = time.title;
      time.title = `${date.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" })} here · ${time.dataset.utc}`;
    }
  }

  setInterval(times, 5000);

  /* -- what was just done: told for ten seconds, with its undo ----------------------------------------------------- */

  let toasting = 0;

  function toast() {
    clearTimeout(toasting);
    const told = $(".toast");
    if (told) toasting = setTimeout(() => told.remove(), 1000 * Number(told.dataset.toast || 10));
  }

  /* -- rows: the current one, and those that are ticked ------------------------------------------------------------- */

  let current = null;
  const picked = new Set();
  const rows = () => $$("#list tr[data-key], #causes .card, .audit tbody tr").filter((row) => row.offsetParent !== null);
  const rowOf = (key) => (key ? document.getElementById(`row-${key}`) : null);
  const boxes = () => $$("#list input[type=checkbox][name=id]");

  function mark(row, focus) {
    current?.classList.remove("current");
    current = row || null;
    if (!current) return;
    current.classList.add("current");
    if (focus) { ($("th a", current) || $("a", current))?.focus({ preventScroll: true }); current.scrollIntoView({ block: "nearest" }); }
  }

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(current);
    mark(all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + step))], true);
  }

  function bar() {
    const place = $("#bulkbar");
    if (!place) return;
    const here = boxes();
    for (const key of [...picked]) if (!here.some((box) => box.value === key)) picked.delete(key);
    for (const box of here) box.checked = picked.has(box.value);
    const all = $("#pick-all"), some = picked.size > 0;
    all.checked = some && picked.size === here.length;
    all.indeterminate = some && picked.size < here.length;
    place.classList.toggle("some", some);
    $("[data-picked]", place).textContent = some ? `${picked.size} selected` : `${here.length} on this page`;
    $("[data-chosen]", place).hidden = !some;
    const matching = $(".matching", place);
    if (matching) matching.hidden = some;
    const states = new Set([...picked].map((key) => rowOf(key)?.dataset.state));
    for (const button of $$("[data-picked-action]", place)) {
      const fits = { retry: states.has("dead"), accept: states.has("quarantined") }[button.value] ?? (states.has("dead") || states.has("quarantined"));
      button.hidden = !fits;
    }
  }

  function pick(keys, on) {
    for (const key of keys) on ? picked.add(key) : picked.delete(key);
    bar();
  }

  /* Again after each change of the page: what the markup cannot say. */
  function dress() {
    if (current && !current.isConnected) {
      const again = rowOf(current.dataset.key);
      current = again;
    }
    current?.classList.add("current");
    for (const hidden of $$("[data-open][hidden], .copy[hidden]")) hidden.hidden = false;
    bar();
    times();
    freshness();
  }

  /* -- the dialog: a page shown over this one ------------------------------------------------------------------------ */

  async function open(url) {
    const answer = await ask(url);
    if (answer) over(answer);
  }

  function over({ page }) {
    const content = $("[data-dialog-content]", page);
    if (!content) return show({ page, url: new URL(location.href), status: 400 });
    dialog.replaceChildren(document.importNode(content, true));
    if (!dialog.open) dialog.showModal();
    for (const hidden of $$(".copy[hidden]", dialog)) hidden.hidden = false;
    ($("[aria-invalid=true]", dialog) || $(".fields input", dialog) || $("button.main", dialog))?.focus();
  }

  dialog.addEventListener("close", () => dialog.replaceChildren());

  /* -- what is pressed ------------------------------------------------------------------------------------------------- */

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy !== undefined) return void copy(button);
    if (button?.dataset.open) return void document.getElementById(button.dataset.open).showModal();
    if (button?.dataset.again !== undefined) return void waiting?.();
    if (button?.dataset.clear !== undefined) return pick([...picked], false);
    const box = event.target.closest("input[type=checkbox]");
    if (box?.id === "pick-all") return pick(boxes().map((each) => each.value), box.checked);
    if (box?.name === "id") return pick([box.value], box.checked);
    const link = event.target.closest("a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return;
    const url = new URL(link.href);
    if (link.dataset.close !== undefined && dialog.open) { event.preventDefault(); return dialog.close(); }
    if (url.origin !== location.origin || !url.pathname.startsWith("/ops") || link.dataset.plain !== undefined) return;
    if (url.hash && url.pathname === location.pathname && url.search === location.search) return;
    event.preventDefault();
    if (link.dataset.dismiss) return void fetch(url, { credentials: "same-origin" }).then(() => soon(0));
    if (link.dataset.dialog !== undefined) return void open(url);
    if (dialog.open) dialog.close();
    go(url);
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    // By attribute: an input called `action` would stand in the way of the property.
    const action = new URL(button?.getAttribute("formaction") || form.getAttribute("action") || "", location.href);
    const method = form.getAttribute("method");
    if (method === "dialog" || !action.pathname.startsWith("/ops") || STAY.includes(action.pathname)) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form));
    if (button?.name) fields.append(button.name, button.value);
    if (method === "get") {
      for (const [name, value] of [...fields]) if (!value) fields.delete(name);
      action.search = fields;
      if (form.getAttribute("role") === "search") document.activeElement.blur();
      return go(action);
    }
    if (!form.classList.contains("dirty") && !dialog.contains(form) && !mayLeave()) return;
    if (button) button.disabled = true;
    const answer = await ask(action, { method: "POST", body: fields });
    if (button) button.disabled = false;
    if (!answer) return;
    if (dialog.contains(form) && answer.status === 422) return over(answer);
    if (dialog.open) dialog.close();
    if (form.id === "picked") picked.clear();
    show(answer, { push: false });
    if (answer.status === 422 || action.pathname.endsWith("/check")) $("#lead-form")?.classList.add("dirty");
  });

  document.addEventListener("input", (event) => event.target.closest("form[data-dirty]")?.classList.add("dirty"));
  document.addEventListener("change", (event) => { const form = event.target.closest("form[data-auto]"); if (form) form.requestSubmit(); });
  addEventListener("popstate", () => go(location.href, { push: false }));
  addEventListener("beforeunload", (event) => { if (dirty().some((form) => form.closest("main"))) event.preventDefault(); });

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  /* -- keys ---------------------------------------------------------------------------------------------------------------- */

  const press = (selector, within = document) => { const found = $(selector, within); if (found) found.click(); return Boolean(found); };
  const detail = () => $("#detail");

  /* The one that is open, else those that are ticked, else the current row. */
  function act(action, key) {
    if (detail()) return press(`#do [data-key="${key}"]`);
    if (picked.size) return press(`#bulkbar [data-picked-action][value="${action}"]:not([hidden])`);
    return Boolean(current && press(`[data-act="${action}"]`, current));
  }

  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    Enter: () => current && document.activeElement === document.body && press("th a, h3 a, a", current),
    x: () => { const box = current && $("input[type=checkbox]", current); if (box) pick([box.value], !box.checked); },
    a: () => {
      const here = boxes().map((box) => box.value);
      if (here.length && here.length === picked.size) press("#bulkbar [data-all]"); else pick(here, true);
    },
    e: () => press('#do [data-key="e"]') || (current && press("th a", current)),
    r: () => act("retry", "r") || act("accept", "r"),
    d: () => act("discard", "d"),
    u: () => press('.toast [data-key="u"]') || press('#do [data-key="u"]') || press('#tray [data-key="u"]'),
    "/": () => { const field = $("#q"); field.focus(); field.select(); },
    "?": () => $("#help").showModal(),
    Escape: () => {
      if (picked.size && !detail()) return pick([...picked], false);
      if (detail()) press("#detail .close");
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if ($("dialog[open]")) return;
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (typing) return event.key === "Escape" ? typing.blur() : undefined;
    if (!Object.hasOwn(KEYS, event.key) || (event.key === "Enter" && event.target.closest("a, button, summary"))) return;
    if (event.key !== "Enter" && event.key !== "Escape") event.preventDefault();
    KEYS[event.key]();
  });

  toast();
  dress();
  if ($(".toast")) { const bare = new URL(location.href); bare.searchParams.delete("done"); bare.searchParams.delete("of"); history.replaceState(null, "", bare); }
  if ($("#detail")) mark(rowOf($("#detail").dataset.key));
  soon();
})();

/* The console's script. Every page works without it; with it pages change in place, stay up to date, and have shortcuts.

   go        a link or a form -> fetch the same URL -> make the parts of this page like those of the answer
   poll      every two seconds the same for the URL shown; slower while that fails, and then it says since when
   shortcuts press the button or link that is on the page: the script can do nothing that the page cannot */
"use strict";

(() => {
  const { find, findAll, morph, updateTimes } = dom;
  const PARTS = ["status-bar", "flash", "main", "bulk-progress"];
  const POLL_MS = 2000, MAX_POLL_MS = 30000, POLL_TIMEOUT_MS = 10000, LOADING_AFTER_MS = 150, TIMES_MS = 5000, COPIED_MS = 1500;
  const SPLIT_WIDTH = 1100;
  const FULL_PAGE_FORMS = ["/ops/sign-out", "/ops/sign-in"];
  const dialog = find("#dialog");
  document.documentElement.classList.add("js");
  if (!find("#main") || !find("#status-bar")) return;

  /* -- going to another page ------------------------------------------------------------------------------------- */

  let requests = 0, retry = null;

  async function fetchPage(url, options) {
    const response = await fetch(url, { credentials: "same-origin", headers: { Accept: "text/html" }, ...options });
    const signedOut = response.status === 401 || new URL(response.url).pathname === "/ops/sign-in";
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!signedOut && (!find("#main", page) || !find("#status-bar", page))) throw new Error(`${response.status}`);
    return { page, url: new URL(response.url), status: response.status, signedOut };
  }

  /* The answer; null if it failed, or another request was made meanwhile. */
  async function request(url, options) {
    const number = ++requests;
    const loading = setTimeout(() => { find("#loading").hidden = false; find("#main").setAttribute("aria-busy", "true"); }, LOADING_AFTER_MS);
    try {
      const answer = await fetchPage(url, options);
      if (answer.signedOut) { forgetEdits(); location.assign(location.href); return null; }
      if (number !== requests) return null;
      showFailure(null);
      return answer;
    } catch (error) {
      const again = () => request(url, options).then((answer) => answer && show(answer));
      if (number === requests) showFailure(again, options?.method === "POST");
      return null;
    } finally {
      clearTimeout(loading);
      if (number === requests) { find("#loading").hidden = true; find("#main").removeAttribute("aria-busy"); }
    }
  }

  async function go(url, { push = true } = {}) {
    if (!mayLeave()) return;
    const answer = await request(url);
    if (answer) show(answer, { push });
  }

  function show({ page, url, status }, { push = true } = {}) {
    const before = { detail: find("#detail")?.dataset.key, index: rows().indexOf(currentRow), focus: document.activeElement };
    forgetEdits();
    const target = withoutFlash(url);
    const isPage = status < 400 && !/\/check$/.test(url.pathname);
    if (isPage && target !== location.pathname + location.search) history[push ? "pushState" : "replaceState"](null, "", target);
    morph(find("header.bar"), find("header.bar", page));
    replaceParts(page, PARTS);
    document.title = page.title;
    placeFocus(before);
    pollSoon();
  }

  function withoutFlash(url) {
    const bare = new URL(url);
    for (const name of ["done", "of"]) bare.searchParams.delete(name);
    return bare.pathname + bare.search + bare.hash;
  }

  function replaceParts(page, ids) {
    for (const id of ids) {
      const current = document.getElementById(id), wanted = page.getElementById(id);
      if (current && wanted) morph(current, wanted);
    }
    if (ids.includes("flash")) hideFlashLater();
    enhance();
  }

  /* Where row and focus are after the page has changed. */
  function placeFocus(before) {
    const detail = find("#detail");
    const sameIndex = rows()[Math.min(before.index, rows().length - 1)];
    if (detail && detail.dataset.key !== before.detail) {
      setCurrent(rowOf(detail.dataset.key));
      detail.scrollTop = 0;
      detail.focus({ preventScroll: true });
      if (innerWidth < SPLIT_WIDTH) scrollTo(0, 0);
    } else if (!detail && before.detail) {
      // Its row, or the one that has moved up to where it was.
      setCurrent(rowOf(before.detail) || sameIndex || rows()[0], true);
    } else if (before.focus !== document.body && !before.focus?.isConnected) {
      const row = currentRow || sameIndex;
      row ? setCurrent(row, true) : find("#main").focus({ preventScroll: true });
    }
    find("[aria-invalid=true]", find("#main"))?.focus();
  }

  function showFailure(again, changed) {
    const place = find("#failed");
    place.hidden = !again;
    retry = again;
    if (again) find("p", place).textContent = changed
      ? "The service isn't responding. Your action may or may not have been done; trying again won't do it twice."
      : "The service isn't responding.";
  }

  const editedForms = () => findAll("form.dirty");
  const mayLeave = () => !editedForms().some((form) => form.closest("main")) || confirm("Leave without saving your changes?");
  const forgetEdits = () => editedForms().forEach((form) => form.classList.remove("dirty"));

  /* -- staying up to date ---------------------------------------------------------------------------------------- */

  let pollMs = POLL_MS, pollTimer = 0, staleSince = null;
  const pollSoon = (after = pollMs) => { clearTimeout(pollTimer); pollTimer = setTimeout(poll, after); };

  async function poll() {
    if (document.hidden) return;
    const number = requests;
    const url = new URL(location.href);
    const revealed = url.searchParams.get("reveal") === "1";
    if (revealed) {
      // Every look at personal data is logged, so the script must not take any: it asks for the list alone.
      url.pathname = "/ops/leads";
      for (const name of ["reveal", "edit", "tab"]) url.searchParams.delete(name);
    }
    try {
      const { page, signedOut } = await fetchPage(url, { signal: AbortSignal.timeout(POLL_TIMEOUT_MS) });
      if (signedOut) return location.reload();
      staleSince = null;
      pollMs = POLL_MS;
      if (number === requests) revealed ? replaceAllButDetail(page) : replaceParts(page, ["status-bar", "main", "bulk-progress"]);
    } catch {
      staleSince ||= new Date(find("#fresh").dataset.at);
      pollMs = Math.min(MAX_POLL_MS, pollMs * 2);
    }
    showFreshness();
    pollSoon();
  }

  function replaceAllButDetail(page) {
    const open = find("#detail")?.dataset.key;
    replaceParts(page, ["status-bar", "bulk-progress"]);
    if (find("#list") && find("#list", page)) morph(find("#list"), find("#list", page));
    const row = open && rowOf(open);
    if (row) { row.classList.add("open"); row.setAttribute("aria-current", "true"); }
    enhance();
  }

  function showFreshness() {
    const place = find("#fresh");
    if (!place || place.classList.contains("redis-down")) return;
    place.classList.toggle("live", !staleSince);
    place.classList.toggle("stale", Boolean(staleSince));
    find(".word", place).textContent = staleSince ? `stale since ${staleSince.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}` : "live";
  }

  document.addEventListener("visibilitychange", () => document.hidden || pollSoon(0));
  setInterval(updateTimes, TIMES_MS);

  let flashTimer = 0;

  function hideFlashLater() {
    clearTimeout(flashTimer);
    const toast = find(".toast");
    if (toast) flashTimer = setTimeout(() => toast.remove(), 1000 * Number(toast.dataset.seconds));
  }

  /* -- rows: the current one, and the selected ones -------------------------------------------------------------- */

  let currentRow = null;
  const selected = new Set();
  const rows = () => findAll("#list tr[data-key], #causes .card, .audit tbody tr").filter((row) => row.offsetParent !== null);
  const rowOf = (key) => (key ? document.getElementById(`row-${key}`) : null);
  const boxes = () => findAll("#list input[type=checkbox][name=id]");

  function setCurrent(row, focus) {
    currentRow?.classList.remove("current");
    currentRow = row || null;
    if (!currentRow) return;
    currentRow.classList.add("current");
    if (focus) { (find("th a", currentRow) || find("a", currentRow))?.focus({ preventScroll: true }); currentRow.scrollIntoView({ block: "nearest" }); }
  }

  function moveBy(step) {
    const all = rows();
    if (!all.length) return;
    const index = all.indexOf(currentRow);
    setCurrent(all[index < 0 ? 0 : Math.max(0, Math.min(all.length - 1, index + step))], true);
  }

  function select(keys, on) {
    for (const key of keys) on ? selected.add(key) : selected.delete(key);
    updateBulkBar();
  }

  function updateBulkBar() {
    const bar = find("#bulk-bar");
    if (!bar) return;
    const all = boxes(), selectAll = find("#select-all");
    for (const key of [...selected]) if (!all.some((box) => box.value === key)) selected.delete(key);
    for (const box of all) box.checked = selected.has(box.value);
    const some = selected.size > 0;
    selectAll.checked = some && selected.size === all.length;
    selectAll.indeterminate = some && selected.size < all.length;
    bar.classList.toggle("some", some);
    find("[data-count]", bar).textContent = some ? `${selected.size} selected` : `Select all ${all.length}`;
    find("[data-chosen]", bar).hidden = !some;
    const matching = find(".matching", bar);
    if (matching) matching.hidden = some;
    const states = new Set([...selected].map((key) => rowOf(key)?.dataset.state));
    for (const button of findAll("[data-selected-action]", bar)) {
      button.hidden = !button.dataset.states.split(" ").some((state) => states.has(state));
    }
  }

  /* What the markup cannot say; again after each change of the page. */
  function enhance() {
    if (currentRow && !currentRow.isConnected) currentRow = rowOf(currentRow.dataset.key);
    currentRow?.classList.add("current");
    showScriptButtons(document);
    updateBulkBar();
    updateTimes();
    showFreshness();
  }

  const showScriptButtons = (within) => findAll("[data-open][hidden], .copy[hidden]", within).forEach((button) => { button.hidden = false; });

  /* -- the dialog: a page shown over this one -------------------------------------------------------------------- */

  async function openDialog(url) {
    const answer = await request(url);
    if (answer) fillDialog(answer);
  }

  function fillDialog({ page }) {
    const content = find("[data-dialog-content]", page);
    if (!content) return show({ page, url: new URL(location.href), status: 400 });
    dialog.replaceChildren(document.importNode(content, true));
    if (!dialog.open) dialog.showModal();
    showScriptButtons(dialog);
    (find("[aria-invalid=true]", dialog) || find(".fields input", dialog) || find("button.main", dialog))?.focus();
  }

  dialog.addEventListener("close", () => dialog.replaceChildren());

  /* -- clicks and forms ------------------------------------------------------------------------------------------ */

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy !== undefined) return void copy(button);
    if (button?.dataset.open) return void document.getElementById(button.dataset.open).showModal();
    if (button?.dataset.retry !== undefined) return void retry?.();
    if (button?.dataset.clear !== undefined) return select([...selected], false);
    const box = event.target.closest("input[type=checkbox]");
    if (box?.id === "select-all") return select(boxes().map((each) => each.value), box.checked);
    if (box?.name === "id") return select([box.value], box.checked);
    const link = event.target.closest("a[href]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey && !event.button) follow(link, event);
  });

  function follow(link, event) {
    const url = new URL(link.href);
    if (link.dataset.close !== undefined && dialog.open) { event.preventDefault(); return dialog.close(); }
    if (url.origin !== location.origin || !url.pathname.startsWith("/ops") || link.dataset.plain !== undefined) return;
    if (url.hash && url.pathname === location.pathname && url.search === location.search) return;
    event.preventDefault();
    if (link.dataset.dismiss !== undefined) return void fetch(url, { credentials: "same-origin" }).then(() => pollSoon(0));
    if (link.dataset.dialog !== undefined) return void openDialog(url);
    if (dialog.open) dialog.close();
    go(url);
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    // By attribute: an input named `action` would hide the property.
    const url = new URL(button?.getAttribute("formaction") || form.getAttribute("action") || "", location.href);
    const method = form.getAttribute("method");
    if (method === "dialog" || !url.pathname.startsWith("/ops") || FULL_PAGE_FORMS.includes(url.pathname)) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form));
    if (button?.name) fields.append(button.name, button.value);
    if (method === "get") {
      for (const [name, value] of [...fields]) if (!value) fields.delete(name);
      url.search = fields;
      if (form.getAttribute("role") === "search") document.activeElement.blur();
      return go(url);
    }
    if (!form.classList.contains("dirty") && !dialog.contains(form) && !mayLeave()) return;
    if (button) button.disabled = true;
    const answer = await request(url, { method: "POST", body: fields });
    if (button) button.disabled = false;
    if (!answer) return;
    if (dialog.contains(form) && answer.status === 422) return fillDialog(answer);
    if (dialog.open) dialog.close();
    if (form.id === "selected") selected.clear();
    show(answer, { push: false });
    if (answer.status === 422 || url.pathname.endsWith("/check")) find("#lead-form")?.classList.add("dirty");
  });

  document.addEventListener("input", (event) => event.target.closest("form[data-dirty]")?.classList.add("dirty"));
  document.addEventListener("change", (event) => event.target.closest("form[data-auto]")?.requestSubmit());
  addEventListener("popstate", () => go(location.href, { push: false }));
  addEventListener("beforeunload", (event) => { if (editedForms().some((form) => form.closest("main"))) event.preventDefault(); });

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy failed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
  }

  /* -- shortcuts -------------------------------------------------------------------------------------------------- */

  const press = (selector, within = document) => { const target = find(selector, within); target?.click(); return Boolean(target); };

  /* On the open lead, else on the selected ones, else on the current row. */
  function act(action, key) {
    if (find("#detail")) return press(`#actions [data-key="${key}"]`);
    if (selected.size) return press(`#bulk-bar [data-selected-action][value="${action}"]:not([hidden])`);
    return Boolean(currentRow && press(`[data-act="${action}"]`, currentRow));
  }

  const SHORTCUTS = {
    j: () => moveBy(1),
    k: () => moveBy(-1),
    Enter: () => currentRow && document.activeElement === document.body && press("th a, h3 a, a", currentRow),
    x: () => { const box = currentRow && find("input[type=checkbox]", currentRow); if (box) select([box.value], !box.checked); },
    a: () => {
      const keys = boxes().map((box) => box.value);
      if (keys.length && keys.length === selected.size) press("#bulk-bar [data-all]"); else select(keys, true);
    },
    e: () => press('#actions [data-key="e"]') || (currentRow && press("th a", currentRow)),
    r: () => act("retry", "r") || act("accept", "r"),
    d: () => act("discard", "d"),
    u: () => press('.toast [data-key="u"]') || press('#actions [data-key="u"]') || press('#bulk-progress [data-key="u"]'),
    "/": () => { const field = find("#q"); field.focus(); field.select(); },
    "?": () => find("#help").showModal(),
    Escape: () => {
      if (selected.size && !find("#detail")) return select([...selected], false);
      if (find("#detail")) press("#detail .close");
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (find("dialog[open]")) return;
    const field = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (field) return event.key === "Escape" ? field.blur() : undefined;
    if (!Object.hasOwn(SHORTCUTS, event.key) || (event.key === "Enter" && event.target.closest("a, button, summary"))) return;
    if (event.key !== "Enter" && event.key !== "Escape") event.preventDefault();
    SHORTCUTS[event.key]();
  });

  hideFlashLater();
  enhance();
  if (find(".toast")) history.replaceState(null, "", withoutFlash(location.href));
  if (find("#detail")) setCurrent(rowOf(find("#detail").dataset.key));
  pollSoon();
})();

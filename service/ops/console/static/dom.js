/* Helpers of console.js: finding elements, making one tree like another, and relative times. */
"use strict";

const dom = (() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

  /* -- morph: change the page only where it differs, so that focus, scroll and typed text stay --------------- */

  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "");

  function morph(current, wanted) {
    if (current.isEqualNode(wanted)) return;
    if (current.nodeName !== wanted.nodeName) return current.replaceWith(document.importNode(wanted, true));
    if (current.nodeType !== Node.ELEMENT_NODE) return void (current.data = wanted.data);
    if (current.classList.contains("dirty")) return;
    morphAttributes(current, wanted);
    const focused = current === document.activeElement;
    if (!focused && /^(input|textarea)$/.test(current.localName) && !/^(checkbox|hidden)$/.test(current.type)) {
      current.value = wanted.value;
    }
    morphChildren(current, wanted);
    if (!focused && current.localName === "select") current.value = wanted.value;
  }

  function morphAttributes(current, wanted) {
    for (const { name } of [...current.attributes]) {
      // A <details> that somebody has opened stays open.
      const opened = name === "open" && current.localName === "details";
      if (!wanted.hasAttribute(name) && !opened) current.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (current.getAttribute(name) !== value) current.setAttribute(name, value);
    }
  }

  function morphChildren(current, wanted) {
    const byKey = new Map();
    for (const child of current.childNodes) if (keyOf(child)) byKey.set(keyOf(child), child);
    let next = current.firstChild;
    for (const child of wanted.childNodes) {
      const key = keyOf(child);
      const alike = next && !keyOf(next) && next.nodeName === child.nodeName ? next : null;
      const match = key ? byKey.get(key) : alike;
      if (!match) { current.insertBefore(document.importNode(child, true), next); continue; }
      if (match === next) next = next.nextSibling; else current.insertBefore(match, next);
      morph(match, child);
    }
    while (next) { const following = next.nextSibling; next.remove(); next = following; }
  }

  /* -- times: relative as they pass; local time and UTC when pointed at --------------------------------------- */

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function duration(seconds) {
    const index = UNITS.findIndex(([size]) => seconds >= size);
    const [size, unit] = UNITS[index];
    const [smaller, smallUnit] = UNITS[index + 1] || [];
    const rest = index < 2 && seconds < 864000 ? Math.floor((seconds % size) / smaller) : 0;
    return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${smallUnit}` : ""}`;
  }

  function relative(date, form) {
    const seconds = Math.round((Date.now() - date) / 1000);
    if (form === "due" && seconds >= 0) return "due";
    if (Math.abs(seconds) < 5) return "now";
    return seconds < 0 ? `in ${duration(-seconds)}` : `${duration(seconds)} ago`;
  }

  function updateTimes() {
    for (const time of findAll("time[datetime]")) {
      const date = new Date(time.dateTime);
      if (time.dataset.form !== "clock") {
        const text = relative(date, time.dataset.form);
        if (time.textContent !== text) time.textContent = text;
      }
      if (!time.dataset.utc) time.dataset.utc = time.title;
      const local = date.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
      time.title = `${local} local time · ${time.dataset.utc}`;
    }
  }

  return { find, findAll, morph, updateTimes };
})();

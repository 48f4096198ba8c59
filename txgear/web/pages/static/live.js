// Keeps the page as the server is: what has changed comes as it changes, from the page's own address.
//
// A part is one element with an id; rows say which parts are within an element, in which order. While
// something is selected the page stays still: what comes meanwhile is kept, the last of each part, and shown
// afterwards.
import { localise, setTime } from "./times.js";

const SILENT = 12_000; // milliseconds without a word, of a server that says something every five seconds
const RETRY = 1_000;
const line = document.getElementById("line");
const html = window.trustedTypes
  ? window.trustedTypes.createPolicy("txgear", { createHTML: (text) => text })
  : { createHTML: (text) => text };

const parts = new Map(); // what waits to be shown, by id
const rows = new Map();
let events;
let silence;
let ended = false;

function say(text) {
  line.textContent = text;
  line.hidden = !text;
}

/** Whether the reader is at something that must not move. */
export function isHeld() {
  if (document.querySelector("main input[type=checkbox]:checked, dialog[open], form[data-dirty]")) return true;
  const selection = document.getSelection();
  return Boolean(selection && !selection.isCollapsed);
}

function made(text) {
  const template = document.createElement("template");
  template.innerHTML = html.createHTML(text);
  return template.content.firstElementChild;
}

function replace(old, fresh) {
  const open = [...old.querySelectorAll("details[open][id]")].map((each) => each.id);
  const focused = old.contains(document.activeElement) ? path(old, document.activeElement) : null;
  old.replaceWith(fresh);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) focused.reduce((at, index) => at?.children[index], fresh)?.focus({ preventScroll: true });
}

function path(root, element) {
  const found = [];
  for (let at = element; at !== root; at = at.parentElement) found.unshift([...at.parentElement.children].indexOf(at));
  return found;
}

/** Show all that waits. */
export function show() {
  if (!parts.size && !rows.size) return;
  if (isHeld()) {
    say("Held while something is selected");
    return;
  }
  for (const [id, ids] of rows) {
    const within = document.getElementById(id);
    if (!within) continue;
    const wanted = new Set(ids);
    for (const child of [...within.children]) if (!wanted.has(child.id)) child.remove();
  }
  for (const [id, text] of parts) {
    const old = document.getElementById(id);
    if (!old) continue;
    const fresh = made(text);
    localise(fresh);
    replace(old, fresh);
    parts.delete(id);
  }
  for (const [id, ids] of rows) arrange(document.getElementById(id), ids);
  rows.clear();
  parts.clear();
  say("");
}

function arrange(within, ids) {
  if (!within) return;
  let at = within.firstElementChild;
  for (const id of ids) {
    let child = document.getElementById(id);
    if (!child) {
      if (!parts.has(id)) continue;
      child = made(parts.get(id));
      localise(child);
    }
    if (child === at) at = at.nextElementSibling;
    else within.insertBefore(child, at);
  }
}

function heard() {
  clearTimeout(silence);
  silence = setTimeout(() => lost("The server says nothing"), SILENT);
  if (document.body.classList.contains("is-stale")) {
    document.body.classList.remove("is-stale");
    say("");
  }
}

function lost(why) {
  if (ended) return;
  document.body.classList.add("is-stale");
  say(`${why}: trying again`);
  clearTimeout(silence);
  events?.close();
  setTimeout(open, RETRY);
}

function open() {
  events = new EventSource(location.pathname + location.search);
  events.onopen = heard;
  events.onerror = () => lost("The server cannot be reached");
  events.addEventListener("beat", (event) => {
    heard();
    setTime(JSON.parse(event.data).time);
  });
  events.addEventListener("change", (event) => {
    heard();
    const data = JSON.parse(event.data);
    setTime(data.time);
    for (const [id, text] of Object.entries(data.parts)) parts.set(id, text);
    for (const [id, ids] of Object.entries(data.rows)) rows.set(id, ids);
    show();
  });
  events.addEventListener("reload", () => location.reload());
  events.addEventListener("gone", (event) => {
    ended = true;
    events.close();
    clearTimeout(silence);
    document.body.classList.add("is-stale");
    say(JSON.parse(event.data).text);
  });
}

if (document.body.hasAttribute("data-live")) {
  open();
  for (const kind of ["change", "selectionchange", "close"]) document.addEventListener(kind, () => setTimeout(show), true);
  addEventListener("pagehide", () => { ended = true; events.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

// Keeps the page as the server is: what has changed comes as it changes, from the page's own address.
//
// A part is one element with an id; rows say which parts are within an element, in which order. While
// something is selected the page stays still: what comes meanwhile is kept, the last of each part, and shown
// afterwards. A page that nobody sees has no line to the server, and is told all when it is seen again.
import { morph } from "./morph.js";
import { staying } from "./order.js";
import { SOONEST, Stream } from "./stream.js";
import { localise, now, setTime, timeOfDay } from "./times.js";

const UNSEEN = 10_000; // milliseconds in the background, after which the line is closed
const YOUNG = 5_000; // a page that is loaded again is at least that old before it is once more
const FRAME = 8; // milliseconds of a frame for what has changed, so that scrolling stays smooth
const BATCH = 25; // parts that are read together
const html = globalThis.trustedTypes
  ? globalThis.trustedTypes.createPolicy("txgear", { createHTML: (text) => text })
  : { createHTML: (text) => text };

const parts = new Map(); // what waits to be shown, by id
const rows = new Map();
let planned = 0;
let pressed = false;
let unseen;
let heardAt = 0;
let isLive = false;

// What is said of the line

const line = document.getElementById("line"); // announced: it changes when the state does, no more often
const more = document.getElementById("line-more");
const button = document.getElementById("line-button");

function say(state, text, further = "", label = "", act = null) {
  const box = line.parentElement;
  box.hidden = false;
  isLive = state === "live" || state === "held";
  if (box.dataset.state !== state) box.dataset.state = state;
  if (line.textContent !== text) line.textContent = text;
  if (more.textContent !== further) more.textContent = further;
  button.hidden = !label;
  if (button.textContent !== label) button.textContent = label;
  button.onclick = act;
  document.body.classList.toggle("is-stale", state === "lost" || state === "ended");
}

/** Say how it is, while the line is there. */
function tell() {
  if (!isLive) return;
  const count = parts.size || rows.size;
  if (!count || !isHeld()) say("live", "Live");
  else {
    const wait = count === 1 ? "1 change waits" : `${count.toLocaleString("en")} changes wait`;
    say("held", "Held while something is selected", wait, "Show now", () => show(true));
  }
}

function asOf() {
  return heardAt ? `As of ${timeOfDay(heardAt)}` : "";
}

// What is shown

/** Whether the reader is at something that must not move. */
export function isHeld() {
  const chosen = "main :is(tbody, [data-rows]) input[type=checkbox]:checked, dialog[open]";
  if (pressed || document.querySelector(chosen)) return true;
  const selection = document.getSelection();
  return Boolean(
    selection && !selection.isCollapsed && document.querySelector("main")?.contains(selection.anchorNode),
  );
}

/** Whether something was typed or chosen in a form that sends. */
function isEdited() {
  const fields = document.querySelectorAll("form[method=post] :is(input, textarea, select)");
  return [...fields].some((field) => field.type !== "hidden" && isChanged(field));
}

function isChanged(field) {
  if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected);
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  return field.value !== field.defaultValue;
}

/** The elements that parts are, by id. Those of one kind are read together. */
function made(texts) {
  const kinds = new Map();
  for (const text of texts) {
    const kind = /^\s*<([a-z0-9]+)/i.exec(text)?.[1] ?? "";
    if (kinds.has(kind)) kinds.get(kind).push(text);
    else kinds.set(kind, [text]);
  }
  const found = new Map();
  for (const each of kinds.values()) {
    const template = document.createElement("template");
    template.innerHTML = html.createHTML(each.join(""));
    for (const element of template.content.children) found.set(element.id, element);
  }
  return found;
}

/**
 * Show what waits: as much as fits into a frame, and the rest in the next ones.
 *
 * @param {boolean} always also while the reader is at something that must not move.
 */
export function show(always = false) {
  planned = 0;
  if (!parts.size && !rows.size) return;
  if (!always && isHeld()) {
    tell();
    return;
  }
  const begun = performance.now();
  const focused = document.activeElement;
  const isAll = change(begun + FRAME);
  if (isAll) {
    const fresh = made(parts.values());
    for (const [id, ids] of rows) {
      const within = document.getElementById(id);
      if (within) arrange(within, ids, fresh);
    }
    parts.clear();
    rows.clear();
  }
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  document.dispatchEvent(new Event("txgear:shown"));
  performance.measure("txgear:show", { start: begun });
  performance.clearMeasures("txgear:show");
  if (!isAll) planned = requestAnimationFrame(() => show(always));
  else tell();
}

/** Change the parts that are in the page, until it is time. Returns whether that was all. */
function change(end) {
  const ids = [...parts.keys()].filter((id) => document.getElementById(id));
  for (let at = 0; at < ids.length; at += BATCH) {
    if (performance.now() > end) return false;
    const batch = ids.slice(at, at + BATCH);
    const fresh = made(batch.map((id) => parts.get(id)));
    for (const id of batch) {
      parts.delete(id);
      const element = fresh.get(id);
      const old = document.getElementById(id);
      if (old && element) morph(old, element);
    }
  }
  return true;
}

function arrange(within, ids, fresh) {
  const wanted = new Set(ids);
  const places = new Map();
  let lost = -1;
  for (const [index, child] of [...within.children].entries()) {
    if (wanted.has(child.id)) places.set(child, index);
    else {
      if (child.contains(document.activeElement)) lost = index;
      child.remove();
    }
  }
  const list = [];
  for (const id of ids) {
    const child = document.getElementById(id) ?? fresh.get(id);
    if (child) list.push(child);
  }
  const still = staying(list.map((child) => places.get(child) ?? -1));
  let next = null;
  for (let index = list.length - 1; index >= 0; index -= 1) {
    const child = list[index];
    if (!still.has(index)) place(within, child, next);
    next = child;
  }
  if (lost >= 0) {
    // The focus was in a row that is gone: it goes to the one that stands there now.
    const row = within.children[Math.min(lost, within.children.length - 1)];
    row?.querySelector("a, button, input")?.focus({ preventScroll: true });
  }
}

function place(within, child, next) {
  if (!child.isConnected) {
    localise(child);
    within.insertBefore(child, next);
  } else if (within.moveBefore) within.moveBefore(child, next);
  else within.insertBefore(child, next);
}

/** Forget what waits for rows that are not there any more: a page may be held for long. */
function prune() {
  const wanted = new Set([...rows.values()].flat());
  for (const id of parts.keys()) if (!wanted.has(id) && !document.getElementById(id)) parts.delete(id);
}

function plan() {
  if (!planned && (parts.size || rows.size)) planned = requestAnimationFrame(() => show());
}

// The line

/** What the page's own address is answered with now; nothing if it is not. */
async function answered() {
  try {
    return await fetch(location.href, { method: "HEAD", cache: "no-store", headers: { Accept: "text/html" } });
  } catch {
    return null;
  }
}

/** Load the page again: at once, but never in a loop, and not under what somebody is writing or has selected. */
function reload(text) {
  stream.end();
  if (isEdited() || isHeld()) {
    say("ended", text, asOf(), "Load again", () => location.reload());
    return;
  }
  say("lost", text, "Loading again");
  const again = performance.getEntriesByType("navigation")[0]?.type === "reload";
  setTimeout(load, again ? Math.max(YOUNG - performance.now(), 0) : 0);
}

/** Load it, as soon as there is something that can be loaded. */
async function load() {
  const answer = await answered();
  if (answer && answer.status < 500) location.reload();
  else setTimeout(load, SOONEST);
}

/** The server answers, and sends no news: perhaps who looks is not signed in any more. */
async function ask() {
  const answer = await answered();
  if (!answer || stream.isLive) return;
  if (answer.redirected || answer.status === 401) reload("You are not signed in any more");
  else if (answer.status === 403) lost("You may not see this any more");
  else if (answer.status === 404) lost("What this page is about is not there any more");
  else lost("The server is busy");
}

function lost(why) {
  const since = asOf();
  say("lost", why, since ? `${since} \u00b7 Trying again` : "Trying again", "Try now", () => stream.open());
}

const stream = new Stream(() => new EventSource(location.pathname + location.search), {
  live() {
    heardAt = now();
    isLive = true;
    tell();
  },
  lost(why, refused) {
    if (refused) void ask();
    else lost(why);
  },
  hello(data) {
    if (data.run !== document.documentElement.dataset.run) reload("The server was started anew");
  },
  beat(data) {
    setTime(data.time);
    heardAt = now();
  },
  change(data) {
    setTime(data.time);
    heardAt = now();
    for (const [id, text] of Object.entries(data.parts)) parts.set(id, text);
    for (const [id, ids] of Object.entries(data.rows)) rows.set(id, ids);
    if (rows.size) prune();
    plan();
  },
  reload() {
    reload("What may be seen here has changed");
  },
  gone(data) {
    stream.end();
    say("ended", data.text, asOf());
  },
});

function seen() {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(() => stream.rest(), UNSEEN);
  else stream.open();
}

export function start() {
  if (!document.body.hasAttribute("data-live")) return;
  seen();
  document.addEventListener("visibilitychange", seen);
  addEventListener("online", () => { if (!document.hidden) stream.open(); });
  for (const kind of ["change", "reset", "selectionchange", "close"]) document.addEventListener(kind, plan, true);
  // A row must not go from under the pointer between its way down and up.
  addEventListener("pointerdown", () => { pressed = true; }, true);
  for (const kind of ["pointerup", "pointercancel", "dragend"]) {
    addEventListener(kind, () => { pressed = false; plan(); }, true);
  }
  addEventListener("pagehide", () => stream.rest());
  // Kept by the browser for the way back: who may see it could have changed since.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

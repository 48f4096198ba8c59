// The keyboard: g and a letter go to a view, / to the search, j and k from row to row, ? tells of all keys.
import { clear } from "./select.js";

const OFF = "txgear-keys-off"; // single letters can be in the way of who speaks to the computer
const PATIENCE = 1_500; // milliseconds between g and its letter

let prefixed = 0;

const isOff = () => localStorage.getItem(OFF) !== null;
const search = () => document.querySelector("main [data-search], main input[type=search]");
const views = () => [...document.querySelectorAll("nav a[data-key]")];

/** The rows of the page's tables, or of its one list. */
function rows() {
  const marked = [...document.querySelectorAll("main [data-rows] > *")];
  return (marked.length ? marked : [...document.querySelectorAll("main tbody > tr")]).filter(
    (row) => row.checkVisibility?.() ?? true,
  );
}

const current = () => rows().find((row) => row.contains(document.activeElement));

function go(step) {
  const all = rows();
  if (!all.length) return false;
  const at = all.indexOf(current());
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  const row = all[next];
  let target = row.querySelector("th a[href], td a[href], a[href]");
  if (!target) {
    target = row;
    if (!row.hasAttribute("tabindex")) row.tabIndex = -1;
  }
  target.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  return true;
}

function select() {
  const box = current()?.querySelector("input[type=checkbox]");
  box?.click();
  return Boolean(box);
}

function find() {
  const field = search();
  field?.focus();
  field?.select();
  return Boolean(field);
}

/** All keys that do something on this page. */
function known() {
  const found = views().map((link) => [["g", link.dataset.key], link.textContent.trim()]);
  if (search()) found.push([["/"], "Search"]);
  if (rows().length) {
    found.push([["j"], "Next row"], [["k"], "Row before"], [["Enter"], "Open the row"]);
    if (document.querySelector("main tbody input[type=checkbox]")) found.push([["x"], "Select the row, or not"]);
  }
  found.push([["Esc"], "Close, or select nothing"], [["?"], "These keys"]);
  return found;
}

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function help() {
  const dialog = element("dialog");
  dialog.setAttribute("aria-labelledby", "keys-title");
  const title = element("h2", "Keys");
  title.id = "keys-title";
  const list = element("dl");
  list.className = "keys";
  for (const [keys, does] of known()) {
    const shown = keys.flatMap((key, index) => (index ? [" then ", element("kbd", key)] : [element("kbd", key)]));
    list.append(element("dt", ...shown), element("dd", does));
  }
  const box = element("input");
  box.type = "checkbox";
  box.checked = !isOff();
  box.addEventListener("change", () => {
    if (box.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "");
  });
  const label = element("label", box, "Single keys do this in this browser");
  label.className = "check";
  const form = element("form", element("button", "Close"));
  form.method = "dialog";
  form.className = "actions";
  dialog.append(title, list, label, form);
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}

function pressed(key) {
  if (Date.now() - prefixed < PATIENCE) {
    prefixed = 0;
    const link = views().find((each) => each.dataset.key === key);
    link?.click();
    return Boolean(link);
  }
  switch (key) {
    case "g": prefixed = Date.now(); return true;
    case "/": return find();
    case "j": return go(1);
    case "k": return go(-1);
    case "ArrowDown": return Boolean(current()) && go(1);
    case "ArrowUp": return Boolean(current()) && go(-1);
    case "x": return select();
    case "?": help(); return true;
    case "Escape": return clear();
    default: return false;
  }
}

export function start() {
  const button = document.getElementById("keys");
  button.hidden = false;
  button.addEventListener("click", help);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
    const typing = "input:not([type=checkbox], [type=radio], [type=submit]), select, textarea, dialog, [contenteditable]";
    if (event.target.closest(typing)) return;
    if (event.key !== "Escape" && isOff()) return;
    if (pressed(event.key)) event.preventDefault();
  });
}

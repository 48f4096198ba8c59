// Sends forms without leaving the page: what was done, or why not, stands above it.
import { ask } from "./ask.js";

const KEPT = "txgear-note"; // what the next page is to say

/**
 * Say something above the page.
 *
 * @param {string} text
 * @param {boolean} bad whether it could not be done.
 * @param {[string, string]} [link] where else to go, and its words.
 */
export function note(text, bad = false, link = null) {
  const said = document.createElement("p");
  said.className = bad ? "note critical" : "note";
  said.textContent = text;
  if (link) {
    const [href, words] = link;
    const further = document.createElement("a");
    further.href = href;
    further.textContent = words;
    said.append(" ", further);
  }
  document.getElementById("notes").replaceChildren(said);
}

async function sent(event) {
  const form = event.target;
  if (!form.matches("form[method=post]:not([data-plain])") || event.defaultPrevented) return;
  event.preventDefault();
  if (form.hasAttribute("data-busy")) return;
  const button = event.submitter;
  const fields = new URLSearchParams(new FormData(form, button));
  form.dataset.busy = "";
  try {
    const question = button?.dataset.confirm ?? form.dataset.confirm;
    if (question) {
      if (!(await ask(question, yes(button)))) return;
      fields.set("sure", "yes");
    }
    button?.setAttribute("aria-busy", "true");
    await post(form, button, fields);
  } finally {
    delete form.dataset.busy;
    button?.removeAttribute("aria-busy");
  }
}

/** What the button says that goes on: "Yes, cancel 3". */
function yes(button) {
  const words = button?.textContent.trim();
  if (!words) return "Yes";
  const count = button.dataset.count ? ` ${button.dataset.count}` : "";
  return `Yes, ${words[0].toLowerCase()}${words.slice(1)}${count}`;
}

/** Send it as browsers do, to the page that comes next. */
function leave(form, button) {
  form.dataset.plain = "";
  form.requestSubmit(button);
  delete form.dataset.plain;
}

async function post(form, button, fields) {
  const action = button?.getAttribute("formaction") ?? form.getAttribute("action");
  let answer;
  let found;
  try {
    answer = await fetch(action || location.href, {
      method: "POST",
      body: fields,
      headers: { Accept: "application/json" },
    });
    if (answer.headers.get("Content-Type")?.startsWith("text/html")) {
      // It is asked before anything is done, on a page of its own; or one has to sign in first.
      if (answer.redirected) location.assign(answer.url);
      else leave(form, button);
      return;
    }
    found = await answer.json();
  } catch {
    note("There was no answer, so it may or may not be done: look before you do it again.", true);
    return;
  }
  if (!answer.ok) refused(answer, found);
  else done(form, found);
}

function refused(answer, problem) {
  const stale = String(problem.type).endsWith(":stale_form");
  const further = answer.status === 401 ? [signIn(), "Sign in"] : stale ? [location.href, "Load again"] : null;
  note(problem.detail ?? `The server has answered ${answer.status}.`, true, further);
}

function signIn() {
  return `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
}

function done(form, { text, to }) {
  const next = new URL(to, location.href);
  if (next.pathname === location.pathname && (next.search === location.search || !next.search)) {
    settle(form);
    note(text);
    return;
  }
  if (text) sessionStorage.setItem(KEPT, text);
  location.assign(next.href);
}

/** What was sent is what there is now: nothing is selected, and nothing half written. */
function settle(form) {
  for (const field of form.elements) {
    if (field.type === "checkbox" && field.closest("tbody, [data-rows]")) {
      if (field.checked) {
        field.checked = false;
        field.dispatchEvent(new Event("change", { bubbles: true }));
      }
    } else if (field.options) {
      for (const option of field.options) option.defaultSelected = option.selected;
    } else if (field.type === "checkbox" || field.type === "radio") field.defaultChecked = field.checked;
    else if ("defaultValue" in field && field.type !== "hidden") field.defaultValue = field.value;
  }
}

export function start() {
  document.addEventListener("submit", sent);
  const kept = sessionStorage.getItem(KEPT);
  if (kept !== null) {
    sessionStorage.removeItem(KEPT);
    note(kept);
  }
}

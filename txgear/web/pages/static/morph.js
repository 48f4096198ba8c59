// Makes an element what another one is, by changing no more than differs: what has the focus keeps it, what
// is open or scrolled or typed stays so.
import { localise } from "./times.js";

// What readers and scripts set, and the server does not take away.
const KEPT = new Set(["open", "tabindex", "aria-busy", "aria-disabled", "data-count"]);

/**
 * @param old the element in the page.
 * @param fresh what it is to be. It is used up.
 */
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id ?? "") !== (fresh.id ?? "")) {
    if (fresh.nodeType === Node.ELEMENT_NODE) localise(fresh);
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeName === "TIME") {
    // Written in the reader's own way: compared by what it says.
    if (old.dateTime === fresh.dateTime && old.hasAttribute("data-age") === fresh.hasAttribute("data-age")) return;
    localise(fresh);
  }
  attributes(old, fresh);
  children(old, fresh);
}

function attributes(old, fresh) {
  for (const name of fresh.getAttributeNames()) {
    const value = fresh.getAttribute(name);
    if (old.getAttribute(name) !== value && !KEPT.has(name)) old.setAttribute(name, value);
  }
  for (const name of old.getAttributeNames()) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
}

function children(old, fresh) {
  let at = old.firstChild;
  let next = fresh.firstChild;
  while (next) {
    const wanted = next;
    next = next.nextSibling;
    if (wanted.id && at?.id !== wanted.id) {
      // It is further on, or new: what stands here may be wanted later.
      const known = old.querySelector(`:scope > #${CSS.escape(wanted.id)}`);
      if (!known) {
        localise(wanted);
        old.insertBefore(wanted, at);
        continue;
      }
      old.insertBefore(known, at);
      at = known;
    }
    if (!at) {
      if (wanted.nodeType === Node.ELEMENT_NODE) localise(wanted);
      old.append(wanted);
      continue;
    }
    const here = at;
    at = at.nextSibling;
    if (!here.isEqualNode(wanted)) morph(here, wanted);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// The selection: all rows shown at once, how many are selected, and what is done with them.

const BOXES = "main :is(tbody, [data-rows]) input[type=checkbox][name]";

function boxes(within = document) {
  return [...within.querySelectorAll(BOXES)];
}

/** A checkbox in the head of each table whose rows have one. */
function heads() {
  for (const table of document.querySelectorAll("main table")) {
    if (table.querySelector("thead [data-all]")) continue;
    const first = table.querySelector("tbody input[type=checkbox][name]");
    const head = first && table.tHead?.rows[0]?.cells[first.closest("td, th").cellIndex];
    if (!head) continue;
    const all = document.createElement("input");
    all.type = "checkbox";
    all.dataset.all = "";
    const words = document.createElement("span");
    words.className = "hidden-text";
    words.textContent = "Select all rows shown";
    const label = document.createElement("label");
    label.className = "check";
    label.append(all, words);
    head.replaceChildren(label);
    all.addEventListener("change", () => {
      for (const box of boxes(table)) box.checked = all.checked;
      count();
    });
  }
}

/** Say how many are selected. */
function count() {
  const forms = new Map();
  for (const box of boxes()) {
    if (!box.form) continue;
    forms.set(box.form, (forms.get(box.form) ?? 0) + box.checked);
  }
  for (const [form, selected] of forms) tell(form, selected);
  for (const all of document.querySelectorAll("thead [data-all]")) {
    const its = boxes(all.closest("table"));
    const selected = its.filter((box) => box.checked).length;
    all.checked = selected > 0 && selected === its.length;
    all.indeterminate = selected > 0 && selected < its.length;
  }
}

function tell(form, selected) {
  for (const button of form.elements) {
    const bar = button.type === "submit" && !button.closest("tbody") && button.closest("[data-selection]");
    if (!bar) continue;
    if (selected) button.dataset.count = selected;
    else delete button.dataset.count;
    let said = bar.querySelector("output.selected");
    if (!said) {
      said = document.createElement("output");
      said.className = "selected";
      bar.prepend(said);
    }
    const text = selected ? `${selected} selected` : "Nothing selected";
    if (said.textContent !== text) said.textContent = text;
    bar.toggleAttribute("data-chosen", selected > 0);
  }
}

/** Have nothing selected. */
export function clear() {
  const chosen = boxes().filter((box) => box.checked);
  for (const box of chosen) box.checked = false;
  if (chosen.length) chosen[0].dispatchEvent(new Event("change", { bubbles: true }));
  return chosen.length > 0;
}

function refresh() {
  heads();
  count();
}

export function start() {
  refresh();
  document.addEventListener("change", (event) => { if (event.target.matches(BOXES)) count(); });
  document.addEventListener("reset", () => setTimeout(count));
  document.addEventListener("txgear:shown", refresh);
}

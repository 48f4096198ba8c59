// The keyboard: g and a letter go to a view, / to the search, ? tells of all keys.

let prefix = "";

addEventListener("keydown", (event) => {
  const at = event.target;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (at.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
  const key = event.key;
  if (prefix === "g") {
    prefix = "";
    const link = document.querySelector(`nav a[data-key="${CSS.escape(key)}"]`);
    if (link) link.click();
  } else if (key === "g") {
    prefix = "g";
    setTimeout(() => { prefix = ""; }, 1500);
  } else if (key === "/") {
    const search = document.querySelector("[data-search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
  }
});

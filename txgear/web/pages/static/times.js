// Times in the reader's own time zone, and ages that go on.

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const units = [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "", 0]];

// How far the server's clock is ahead of the browser's, in milliseconds.
let ahead = 0;

/** Take the server's time, as an ISO string. */
export function setTime(iso) {
  ahead = Date.parse(iso) - Date.now();
}

export function now() {
  return Date.now() + ahead;
}

/** A span of seconds, in the words that the server has for it. */
export function span(seconds) {
  if (seconds < 1) return "less than 1 s";
  const whole = Math.floor(seconds);
  for (const [name, unit, itsName, smaller] of units) {
    const count = Math.floor(whole / unit);
    const rest = whole % unit;
    if (count >= (unit === 60 ? 2 : 1)) {
      return smaller && count < 10 && rest >= smaller
        ? `${count} ${name} ${Math.floor(rest / smaller)} ${itsName}`
        : `${count} ${name}`;
    }
  }
  return `${whole} s`;
}

/** Write the times within an element. */
export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-age], [data-local])")) {
    const utc = time.textContent;
    time.dataset.local = "";
    time.title = utc;
    time.textContent = full.format(new Date(time.dateTime));
  }
  tick(root);
}

function tick(root) {
  for (const time of root.querySelectorAll("time[data-age]")) {
    const said = span((now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== said) {
      time.textContent = said;
      if (!time.title) time.title = full.format(new Date(time.dateTime));
    }
  }
}

setTime(document.documentElement.dataset.time);
localise(document);
setInterval(() => { if (!document.hidden) tick(document); }, 1000);

// Times in the reader's own time zone and language, and ages that go on by the server's clock.

const UNITS = [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "", 0]];

// The server's time, in milliseconds, when the browser's own stopwatch stood at `at`: its clock may be wrong.
let known = Date.now();
let at = performance.now();

/** Take the server's time, as an ISO string. */
export function setTime(iso) {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return;
  known = time;
  at = performance.now();
}

/** The server's time, in milliseconds since the epoch. */
export function now() {
  return known + performance.now() - at;
}

/** A span of seconds, in the words that the server has for it. */
export function span(seconds) {
  if (seconds < 1) return "less than 1 s";
  const whole = Math.floor(seconds);
  for (const [name, unit, itsName, smaller] of UNITS) {
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

/** A time as it stands in the page without JavaScript. */
export function utc(date) {
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const language = full.resolvedOptions().locale;

/** The time of day, for the reader. */
export function timeOfDay(milliseconds) {
  return clock.format(milliseconds);
}

// Ages that can be seen now; no others go on.
const seen = new Set();
const watcher = globalThis.IntersectionObserver && new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      seen.add(target);
      write(target);
    } else seen.delete(target);
  }
});

/** How long something is ago, or until it comes. */
function said(time) {
  const seconds = (now() - Date.parse(time.dateTime)) / 1000;
  if (!("until" in time.dataset)) return span(seconds);
  return seconds < 0 ? `in ${span(-seconds)}` : "now";
}

function write(time) {
  const text = said(time);
  if (time.textContent !== text) time.textContent = text;
}

/** Write the times of an element that is new in the page. */
export function localise(root) {
  const times = [...root.querySelectorAll("time[datetime]:not([data-local])")];
  if (root.matches?.("time[datetime]:not([data-local])")) times.push(root);
  for (const time of times) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    time.dataset.local = "";
    if (time.matches("[data-age], [data-until]")) {
      time.title = `${full.format(date)} (${utc(date)})`;
      write(time);
      watcher.observe(time);
    } else {
      time.title = utc(date);
      time.lang = language;
      time.textContent = (time.matches("[data-clock]") ? minute : full).format(date);
    }
  }
}

export function start() {
  setTime(document.documentElement.dataset.time);
  localise(document);
  const zone = document.getElementById("zone");
  if (zone) zone.textContent = full.resolvedOptions().timeZone;
  const shown = document.getElementById("clock");
  setInterval(() => {
    if (document.hidden) return;
    for (const time of seen) write(time);
    if (shown) shown.textContent = timeOfDay(now());
  }, 1000);
}

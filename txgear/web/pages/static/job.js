// What the worker of a job says, as it comes: a log that follows its end, of bounded length.

const section = document.querySelector("#output[data-events]");
const UNSEEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]+/g;
const RETRY = 2_000;
const NEAR = 24; // pixels from the end at which the reader is at the end

/** Text in which all is seen: what has no shape is escaped, and marked. */
function append(to, text) {
  let at = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > at) to.append(text.slice(at, match.index));
    const mark = document.createElement("span");
    mark.className = "odd";
    mark.textContent = [...match[0]].map(escaped).join("");
    to.append(mark);
    at = match.index + match[0].length;
  }
  if (at < text.length) to.append(text.slice(at));
}

function escaped(character) {
  if (character === "\r") return "\\r";
  const code = character.codePointAt(0);
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

function bytesOf({ text, base64 }) {
  return text === undefined ? Uint8Array.from(atob(base64), (each) => each.charCodeAt(0)) : new TextEncoder().encode(text);
}

class Log {
  #log = document.getElementById("output-log");
  #none = document.getElementById("output-none");
  #missing = document.getElementById("output-missing");
  #decoder = new TextDecoder();
  #pieces = [];
  #size = 0;
  #lost = 0;
  #most;

  constructor(most) {
    this.#most = most;
    this.#lost = Number(this.#missing.firstElementChild.dataset.count);
    const size = new TextEncoder().encode(this.#log.textContent).length;
    const first = document.createElement("span");
    first.append(...this.#log.childNodes);
    if (size) this.#log.append(first);
    this.#keep(first, size);
  }

  /** Bytes that come one behind the other. A character may be cut between two of them. */
  data(bytes) {
    const piece = document.createElement("span");
    append(piece, this.#decoder.decode(bytes, { stream: true }));
    this.#add(piece, bytes.length);
  }

  /** Something that is said aside. */
  aside(words) {
    const piece = document.createElement("span");
    piece.className = "aside";
    append(piece, words);
    this.#add(piece, words.length);
  }

  skipped(bytes) {
    this.#decoder = new TextDecoder();
    this.aside(bytes === 1 ? "[1 byte was skipped]" : `[${bytes.toLocaleString("en")} bytes were skipped]`);
  }

  /** Another attempt: what was said before is void. */
  clear(words) {
    this.#decoder = new TextDecoder();
    this.#pieces = [];
    this.#size = this.#lost = 0;
    this.#log.replaceChildren();
    this.#tell();
    this.aside(words);
  }

  #add(piece, size) {
    const box = this.#log;
    const follows = box.hidden || box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    this.#none.hidden = true;
    box.hidden = false;
    box.append(piece);
    this.#keep(piece, size);
    if (follows) box.scrollTop = box.scrollHeight;
  }

  #keep(piece, size) {
    this.#pieces.push([piece, size]);
    this.#size += size;
    while (this.#size > this.#most && this.#pieces.length > 1) {
      const [old, bytes] = this.#pieces.shift();
      old.remove();
      this.#size -= bytes;
      this.#lost += bytes;
    }
    this.#tell();
  }

  #tell() {
    this.#missing.hidden = !this.#lost;
    this.#missing.firstElementChild.textContent = this.#lost.toLocaleString("en");
  }
}

function follow() {
  const log = new Log(Number(section.dataset.most));
  let place = section.dataset.place;
  let events = null;
  let isOver = false;
  let retry;

  function open() {
    if (isOver || events) return;
    events = new EventSource(`${section.dataset.events}&last_event_id=${encodeURIComponent(place)}`);
    events.onerror = () => {
      close();
      if (!isOver) retry = setTimeout(open, RETRY);
    };
    const on = (name, then) => events.addEventListener(name, (event) => then(JSON.parse(event.data), event));
    on("data", (data, event) => {
      if (event.lastEventId) place = event.lastEventId;
      log.data(bytesOf(data));
    });
    on("warning", (data) => log.aside(`[warning] ${new TextDecoder().decode(bytesOf(data))}`));
    on("skipped", ({ bytes }) => log.skipped(bytes));
    on("restarted", () => log.clear("[another attempt: what was here before is void]"));
    on("job", (job) => {
      if (job.state === "waiting" || job.state === "queued") place = "0-0";
    });
    on("ended", (data) => {
      isOver = true;
      close();
      log.aside(`[it has ended: ${data.outcome}]`);
      if (data.result?.size && !("keeps" in section.dataset)) {
        const end = document.getElementById("output-end");
        append(end.querySelector("pre"), new TextDecoder().decode(bytesOf(data.result)));
        end.hidden = false;
      }
    });
  }

  function close() {
    clearTimeout(retry);
    events?.close();
    events = null;
  }

  open();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) open();
  });
  addEventListener("pagehide", close);
}

if (section) follow();

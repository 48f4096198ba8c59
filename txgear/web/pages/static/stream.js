// The line to the server: one at a time, opened again by itself until there is an end.

export const SILENT = 12_000; // milliseconds without a word, of a server that says something every five seconds
export const SOONEST = 1_000;
export const LATEST = 15_000;
const CLOSED = 2; // as in EventSource
const EVENTS = ["hello", "beat", "change", "reload", "gone"];

/** Milliseconds before the next try: longer each time, never longer than the latest, and not all at once. */
export function pause(failed, chance = Math.random()) {
  return Math.min(SOONEST * 2 ** failed, LATEST) * (0.75 + chance / 4);
}

export class Stream {
  #make;
  #on;
  #events = null;
  #silence;
  #retry;
  #failed = 0;
  #ended = false;

  /**
   * @param make returns a new EventSource.
   * @param on what is called: `live()`, `lost(why, refused)`, and each event by its name with its data.
   */
  constructor(make, on) {
    this.#make = make;
    this.#on = on;
  }

  /** Whether there is a line now. */
  get isLive() {
    return this.#events !== null;
  }

  /** Open it, at once. One that is open is left as it is. */
  open() {
    if (this.#ended || this.#events) return;
    clearTimeout(this.#retry);
    const events = this.#make();
    this.#events = events;
    const mine = (then) => (event) => { if (this.#events === events) then(event); };
    events.onopen = mine(() => this.#heard());
    events.onerror = mine(() => {
      // Closed by itself: there was an answer, and it was no stream of events.
      if (events.readyState === CLOSED) this.#lost("The server sends no news", true);
      else this.#lost("The server cannot be reached");
    });
    for (const name of EVENTS) {
      events.addEventListener(name, mine((event) => {
        this.#failed = 0;
        this.#heard();
        this.#on[name](JSON.parse(event.data));
      }));
    }
    this.#listen();
  }

  /** Close it until it is opened again. */
  rest() {
    this.#close();
  }

  /** Close it for good. */
  end() {
    this.#ended = true;
    this.#close();
  }

  #close() {
    clearTimeout(this.#silence);
    clearTimeout(this.#retry);
    this.#events?.close();
    this.#events = null;
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost("The server says nothing"), SILENT);
  }

  #heard() {
    this.#listen();
    this.#on.live();
  }

  #lost(why, refused = false) {
    this.#close();
    this.#retry = setTimeout(() => this.open(), pause(this.#failed));
    this.#failed += 1;
    this.#on.lost(why, refused);
  }
}

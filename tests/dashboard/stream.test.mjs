import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { LATEST, SILENT, SOONEST, Stream, pause } from "../../txgear/web/pages/static/stream.js";

let lines;
let told;
let stream;

/** An EventSource that does what it is told. */
class Source {
  closed = false;
  heard = new Map();
  addEventListener(name, then) { this.heard.set(name, then); }
  close() { this.closed = true; }
  say(name, data = {}) { this.heard.get(name)({ data: JSON.stringify(data) }); }
}

const open = () => lines.filter((line) => !line.closed);

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  lines = [];
  told = [];
  const on = { live: () => told.push("live"), lost: (why, refused) => told.push(refused ? "refused" : why) };
  for (const name of ["hello", "beat", "change", "reload", "gone"]) on[name] = (data) => told.push([name, data]);
  stream = new Stream(() => {
    const line = new Source();
    lines.push(line);
    return line;
  }, on);
});

test("events are told with their data", () => {
  stream.open();
  lines[0].say("change", { parts: {} });
  assert.deepEqual(told, ["live", ["change", { parts: {} }]]);
});

test("a line that ends is said at once, and opened again", () => {
  stream.open();
  lines[0].onerror();
  assert.deepEqual(told, ["The server cannot be reached"]);
  assert.equal(open().length, 0);
  mock.timers.tick(SOONEST);
  assert.equal(open().length, 1);
});

test("an answer that is no stream is told apart, and tried again as well", () => {
  stream.open();
  lines[0].readyState = 2;
  lines[0].onerror();
  assert.deepEqual(told, ["refused"]);
  assert.equal(stream.isLive, false);
  mock.timers.tick(SOONEST);
  assert.equal(stream.isLive, true);
});

test("silence is as good as gone, also before the first word", () => {
  stream.open();
  mock.timers.tick(SILENT);
  assert.deepEqual(told, ["The server says nothing"]);
  mock.timers.tick(SOONEST);
  lines[1].say("beat");
  mock.timers.tick(SILENT - 1);
  lines[1].say("beat");
  mock.timers.tick(SILENT - 1);
  assert.equal(told.filter((each) => each === "The server says nothing").length, 1);
});

test("there are never two lines", () => {
  stream.open();
  stream.open();
  lines[0].onerror();
  stream.open();
  stream.open();
  mock.timers.tick(LATEST * 2);
  assert.ok(open().length <= 1);
  stream.rest();
  assert.equal(open().length, 0);
  mock.timers.tick(LATEST * 2);
  assert.equal(open().length, 0);
});

test("an old line is not heard any more", () => {
  stream.open();
  lines[0].onerror();
  mock.timers.tick(SOONEST);
  told.length = 0;
  lines[0].say("change", {});
  lines[0].onerror();
  assert.deepEqual(told, []);
  assert.equal(open().length, 1);
});

test("each try waits for longer, up to a bound, until the server says something", () => {
  stream.open();
  const waits = [];
  for (let tries = 0; tries < 8; tries += 1) {
    const before = lines.length;
    lines[before - 1].onopen();
    lines[before - 1].onerror();
    let waited = 0;
    while (lines.length === before) {
      mock.timers.tick(10);
      waited += 10;
    }
    waits.push(waited);
  }
  assert.ok(waits[3] > waits[0] * 4, String(waits));
  assert.ok(Math.max(...waits) <= LATEST + 10, String(waits));
  lines.at(-1).say("hello");
  lines.at(-1).onerror();
  const before = lines.length;
  mock.timers.tick(SOONEST);
  assert.equal(lines.length, before + 1);
});

test("the end is the end", () => {
  stream.open();
  stream.end();
  stream.open();
  mock.timers.tick(LATEST * 2);
  assert.equal(lines.length, 1);
  assert.equal(open().length, 0);
  assert.equal(stream.isLive, false);
});

test("pauses differ, so that not all pages come back at once", () => {
  assert.equal(pause(0, 1), SOONEST);
  assert.ok(pause(0, 0) < SOONEST);
  assert.equal(pause(1000, 1), LATEST);
});

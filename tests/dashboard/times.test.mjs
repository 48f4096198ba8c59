import assert from "node:assert/strict";
import test from "node:test";
import { now, setTime, span, utc } from "../../txgear/web/pages/static/times.js";

test("spans are in the server's words", () => {
  // What the server's own span() makes of these stands beside them; tests/test_dashboard_js.py compares.
  for (const [seconds, words] of JSON.parse(process.env.SPANS ?? "[]")) assert.equal(span(seconds), words);
  assert.equal(span(-5), "less than 1 s");
});

test("the time is the server's, whatever the browser's clock says", () => {
  setTime("2031-02-03T04:05:06.700Z");
  assert.ok(Math.abs(now() - Date.UTC(2031, 1, 3, 4, 5, 6, 700)) < 50);
  setTime("nonsense");
  assert.ok(Math.abs(now() - Date.UTC(2031, 1, 3, 4, 5, 6, 700)) < 50);
});

test("UTC is as the page has it without JavaScript", () => {
  assert.equal(utc(new Date("2026-11-28T12:00:01.250Z")), "2026-11-28 12:00:01 UTC");
});

import assert from "node:assert/strict";
import test from "node:test";
import { staying } from "../../txgear/web/pages/static/order.js";

test("all that is in order stays", () => {
  assert.deepEqual([...staying([0, 1, 2])].sort(), [0, 1, 2]);
  assert.equal(staying([]).size, 0);
});

test("one that goes to the other end is the only one that moves", () => {
  assert.deepEqual([...staying([4, 0, 1, 2, 3])].sort(), [1, 2, 3, 4]);
  assert.deepEqual([...staying([1, 2, 3, 4, 0])].sort(), [0, 1, 2, 3]);
});

test("what is new never stays", () => {
  assert.deepEqual([...staying([-1, 0, -1, 1])].sort(), [1, 3]);
  assert.equal(staying([-1, -1]).size, 0);
});

test("the longest run stays, of any order", () => {
  for (let round = 0; round < 300; round += 1) {
    const places = Array.from({ length: 8 }, (_, index) => index);
    for (let at = 7; at > 0; at -= 1) {
      const other = (round * 7919 + at * 104729 + round * at) % (at + 1);
      [places[at], places[other]] = [places[other], places[at]];
    }
    const found = [...staying(places)].sort((one, other) => one - other).map((index) => places[index]);
    assert.deepEqual(found, [...found].sort((one, other) => one - other));
    let longest = 0;
    for (let chosen = 0; chosen < 256; chosen += 1) {
      const run = places.filter((_, index) => chosen & (1 << index));
      if (run.every((place, index) => !index || run[index - 1] < place)) longest = Math.max(longest, run.length);
    }
    assert.equal(found.length, longest);
  }
});

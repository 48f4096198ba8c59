// Which of some things may stay where they are, so that the fewest are moved.

/**
 * The longest run that is in order already.
 *
 * @param {number[]} places where each thing is now, in the wanted order; -1 for one that is nowhere yet.
 * @returns {Set<number>} indexes of those that stay; all others are moved.
 */
export function staying(places) {
  const last = []; // index of the smallest end of a run, by the run's length less one
  const before = new Array(places.length).fill(-1);
  places.forEach((place, index) => {
    if (place < 0) return;
    let low = 0;
    let high = last.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[last[middle]] < place) low = middle + 1;
      else high = middle;
    }
    if (low) before[index] = last[low - 1];
    last[low] = index;
  });
  const found = new Set();
  for (let at = last.length ? last[last.length - 1] : -1; at >= 0; at = before[at]) found.add(at);
  return found;
}

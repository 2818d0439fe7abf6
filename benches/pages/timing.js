/**
 * What the parts of a page that measure share.
 */

/** The smallest of the values that a share of them does not exceed. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What `work` gives, and the milliseconds until it did. */
export async function timed(work) {
  const begin = performance.now();
  const value = await work();
  return { value, ms: performance.now() - begin };
}

/** The times of `count` runs of `work`, one after the other; it is told the number of the run. */
export async function timesOf(count, work) {
  const times = [];
  for (let run = 0; run < count; run++) times.push((await timed(() => work(run))).ms);
  return times;
}

/**
 * How the cache did over a visit: its figures whenever something happened, at
 * most so often, and of a long visit every second, fourth, eighth one.
 */

import type { CacheStats } from "cacher-wasm";

/** Since the figures were last reset. */
export interface Sample {
  /** Milliseconds since 1970. */
  time: number;
  /** Requests that were looked up. */
  lookups: number;
  hits: number;
  /** From 0 to 1; 0 where nothing was looked up. */
  hitRate: number;
  savedMs: number;
}

/** More points than this no plot of the page's width can show. */
const MOST = 600;

export function toSample({ hits, misses, hitRate, savedMs }: CacheStats, time: number): Sample {
  return { time, lookups: hits.total + misses, hits: hits.total, hitRate, savedMs };
}

/** `samples` and a later one. What stayed the same is one stretch, told by its ends. */
export function addSample(samples: readonly Sample[], sample: Sample): Sample[] {
  const [last, before] = [samples.at(-1), samples.at(-2)];
  const kept = last && before && sameFigures(last, before) && sameFigures(last, sample) ? samples.slice(0, -1) : samples;
  const all = [...kept, sample];
  return all.length > MOST ? all.filter((_, index) => index % 2 === 0 || index === all.length - 1) : all;
}

function sameFigures(a: Sample, b: Sample): boolean {
  return a.lookups === b.lookups && a.hits === b.hits && a.savedMs === b.savedMs;
}

/** The plot in a sentence. */
export function describeSamples(samples: readonly Sample[], format: { share(value: number): string; time(ms: number): string }): string {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last) return "Nothing was looked up yet.";
  return (
    `Hit rate from ${format.share(first.hitRate)} to ${format.share(last.hitRate)}, ` +
    `time saved from ${format.time(first.savedMs)} to ${format.time(last.savedMs)}.`
  );
}

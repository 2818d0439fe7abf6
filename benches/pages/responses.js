/**
 * What the response cache costs by the package's public API: calls over the
 * worker's boundary, layers behind memory, and generations that are repeated.
 *
 * Each function gives figures as `{ case, metric, unit, value }`.
 */
import { ResponseCache } from "/pkg/dist/index.js";
import { Engine } from "/pkg/dist/wasm/cacher_wasm.js";
import { load } from "./engines/cacher.js";
import { median, quantile, timed, timesOf } from "./timing.js";

/** Longest, so that no clean-up falls into a measurement. */
const NEVER_MS = 0x7fff_ffff;
/** With one entry in memory, the layer behind it is asked each time. */
const BEHIND_MEMORY = { maxEntries: 1, cleanUpIntervalMs: NEVER_MS };
const IN_FLIGHT = 32;
const FIRST_CALLS = 300;
/** Greedy, never stopping early, and computing every prompt anew. */
const PLAIN = { temperature: 0, eosTokenIds: [], cachePrompt: false };

let cacher;

const figure = (testCase, metric, unit, value) => ({ case: `response ${testCase}`, metric, unit, value });
const thousands = (number) => number.toLocaleString("en-GB");
const request = (index) => ({ question: `question number ${index}`, model: "a-model" });

function percentiles(testCase, what, times) {
  return [0.5, 0.99].map((share) => figure(testCase, `${what}, p${share * 100}`, "ms", quantile(times, share)));
}

/** Runs `work` for the numbers from `from` to below `to`, several at a time. */
async function inFlight(from, to, work) {
  let next = from;
  const loop = async () => {
    while (next < to) await work(next++);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop));
}

/** Different numbers below `count`, at even distances in a mixed order. */
function spread(length, count) {
  // Coprime to every count that is used, so none comes twice.
  const STRIDE = 7919;
  return Array.from({ length: Math.min(length, count) }, (_, index) => (index * STRIDE) % count);
}

/** Gets one after the other, all of which `layer` must have. */
async function getTimes(cache, numbers, layer) {
  return timesOf(numbers.length, async (run) => {
    const hit = await cache.get(request(numbers[run]));
    if (hit?.cache.layer !== layer) throw new Error(`an answer came from ${hit?.cache.layer}, not from ${layer}`);
  });
}

/** The layer's own times, without the way to the worker and what is done there with a record. */
async function layerTimes(cache, testCase, names) {
  const { layers } = await cache.stats();
  return names.flatMap((name) => {
    const { p50, p99 } = layers.at(-1)[name];
    return [figure(testCase, `${name} in the layer, p50`, "ms", p50), figure(testCase, `${name} in the layer, p99`, "ms", p99)];
  });
}

/** Calls over the worker's boundary that memory answers. */
export async function boundary(value, { entries, calls }) {
  const cache = await ResponseCache.open({ layers: [], maxEntries: entries, cleanUpIntervalMs: NEVER_MS });
  const set = (index) => cache.set(request(index % entries), value);
  await inFlight(0, entries, set);
  const numbers = spread(entries, entries);
  await getTimes(cache, numbers.slice(0, FIRST_CALLS), "memory");
  const times = [];
  while (times.length < calls) times.push(...(await getTimes(cache, numbers, "memory")));
  const perSecond = (count, ms) => (count / ms) * 1000;
  const together = await timed(() => inFlight(0, calls, (index) => cache.get(request(index % entries))));
  const misses = await timesOf(calls, (run) => cache.get(request(entries + run)));
  const sets = await timesOf(calls, set);
  await cache.close();
  const name = `call over the worker's boundary, ${thousands(value.length)} B`;
  return [
    ...percentiles(name, "get", times),
    figure(name, "gets, one after the other", "calls/s", perSecond(times.length, times.reduce((sum, ms) => sum + ms, 0))),
    figure(name, `gets, ${IN_FLIGHT} in flight`, "calls/s", perSecond(calls, together.ms)),
    ...percentiles(name, "get that misses", misses),
    ...percentiles(name, "set", sets),
  ];
}

const openStored = () => ResponseCache.open({ ...BEHIND_MEMORY, layers: [{ kind: "indexeddb", maxEntries: 1e6, maxBytes: 1e9 }] });

/** Bytes of this origin's databases. */
async function databaseBytes() {
  const { usage, usageDetails } = await navigator.storage.estimate();
  return usageDetails?.indexedDB ?? usage;
}

/** Fills IndexedDB with entries of slices of `text`, up to `count` from `from`; the last ones are timed. */
export async function store(text, { from, count, length, timedCalls }) {
  const cache = await openStored();
  const set = (index) => cache.set(request(index), text.slice(index % (text.length - length)).slice(0, length));
  const first = count - timedCalls;
  await inFlight(from, first, set);
  const times = await timesOf(timedCalls, (run) => set(first + run));
  const figures = percentiles(`IndexedDB, ${thousands(count)} entries`, "set", times);
  await cache.close();
  return figures;
}

/** Gets of what `store` has stored, in a page that has just been loaded. */
export async function stored({ count, length, timedCalls }) {
  const name = `IndexedDB, ${thousands(count)} entries`;
  const cache = await openStored();
  const [first, ...others] = await getTimes(cache, spread(timedCalls + 1, count), "indexeddb");
  const figures = [
    figure(name, "first get after a reload", "ms", first),
    ...percentiles(name, "get", others),
    ...(await layerTimes(cache, name, ["get"])),
  ];
  const { layers } = await cache.stats();
  const { entries, bytes } = layers.at(-1);
  if (entries !== count) throw new Error(`${entries} entries are stored, not ${count}`);
  figures.push(figure(name, `record of an entry of ${length} B`, "bytes", bytes / count));
  figures.push(figure(name, "database, by entry", "bytes", (await databaseBytes()) / count));
  await cache.close();
  return figures;
}

/** A Redis behind Webdis. */
export async function remote(url, value, { entries, calls }) {
  const cache = await ResponseCache.open({ ...BEHIND_MEMORY, layers: [{ kind: "webdis", url }] });
  const sets = await timesOf(entries, (run) => cache.set(request(run), value));
  const gets = [];
  while (gets.length < calls) gets.push(...(await getTimes(cache, spread(entries, entries), "webdis")));
  const name = `Webdis on this machine, ${thousands(value.length)} B`;
  const figures = [...percentiles(name, "get", gets), ...percentiles(name, "set", sets), ...(await layerTimes(cache, name, ["get", "set"]))];
  await cache.clear({ remote: true });
  await cache.close();
  return figures;
}

/** Loads the model and has the engine's code compiled. */
export async function open(variant, warmUp) {
  cacher = await load(variant, { cache: { name: variant.model, cleanUpIntervalMs: NEVER_MS } });
  await cacher.generate(warmUp, { ...PLAIN, maxTokens: 24, cache: false }).result;
}

/** A generation's time; `from` is where it must have come from. */
async function generate(prompt, maxTokens, cache, from) {
  const { value, ms } = await timed(() => cacher.generate(prompt, { ...PLAIN, maxTokens, cache }).result);
  if (value.cache.layer !== from) throw new Error(`an answer came from ${value.cache.layer}, not from ${from}`);
  return { ms, text: value.text };
}

/** Computes answers, with the cache and without, and repeats them out of memory. */
export async function repeat(prompts, { maxTokens, hits }) {
  const [computed, kept, repeated] = [[], [], []];
  for (const prompt of prompts) {
    computed.push((await generate(prompt, maxTokens, false, null)).ms);
    const { ms, text } = await generate(prompt, maxTokens, true, null);
    kept.push(ms);
    for (let hit = 0; hit < hits; hit++) {
      const again = await generate(prompt, maxTokens, true, "memory");
      if (again.text !== text) throw new Error("a repeated answer is another one");
      repeated.push(again.ms);
    }
  }
  // The next page is to find them stored.
  while ((await cacher.cache.stats()).layers.at(-1).entries < prompts.length);
  const { items } = await cacher.cache.entries();
  const explained = await timesOf(hits, () => cacher.cache.explainGeneration(prompts[0], { ...PLAIN, maxTokens }));
  const name = `generation of ${maxTokens} tokens`;
  return [
    figure(name, "computed", "ms", median(computed)),
    figure(name, "computed and kept", "ms", median(kept)),
    figure(name, "from memory", "ms", median(repeated)),
    figure(name, "key over the worker's boundary", "ms", median(explained)),
    figure(name, "record", "bytes", median(items.map(({ bytes }) => bytes))),
    figure(name, "record before compression", "bytes", median(items.map(({ rawBytes }) => rawBytes))),
  ];
}

/** The same answers in the next page. */
export async function afterReload(prompts, { maxTokens }) {
  const times = [];
  for (const prompt of prompts) times.push((await generate(prompt, maxTokens, true, "indexeddb")).ms);
  const name = `generation of ${maxTokens} tokens`;
  const [first, ...others] = times;
  return [figure(name, "from IndexedDB", "ms", median(others)), figure(name, "from IndexedDB, first after a reload", "ms", first)];
}

/**
 * What looking for a prompt of the same meaning adds to a lookup that finds
 * nothing; `undefined` where this build cannot. No prompt may come twice.
 */
export async function meaning(lists) {
  if (!("addEmbedding" in Engine.prototype)) return undefined;
  const figures = [];
  for (const { length, prompts } of lists) {
    const lookUp = async (prompt) => {
      const { result } = cacher.generate(prompt, { ...PLAIN, maxTokens: 1, cache: "only" });
      const code = await result.then(() => "none", (error) => error.code);
      if (code !== "not-cached") throw new Error(`a lookup ended with ${code}`);
    };
    const without = await timesOf(prompts.length, (run) => lookUp(prompts[run]));
    await cacher.cache.configure({ semantic: true });
    const [, ...withIt] = await timesOf(prompts.length, (run) => lookUp(prompts[run]));
    await cacher.cache.configure({ semantic: false });
    figures.push(figure("semantic lookup", `vector of a prompt of ${length} tokens`, "ms", median(withIt) - median(without)));
  }
  return figures;
}

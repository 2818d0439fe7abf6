/**
 * What the core of the response cache does in a second, called in the thread
 * that has the wasm: all of a hit in memory but the way to the worker.
 *
 * It is the class that the package's own worker uses, with the calls and
 * arguments of pkg/src/cache/tiers.ts. Each function gives figures as
 * `{ case, metric, unit, value }`.
 */
import { supports } from "/pkg/dist/builds.js";
import * as wasm from "/pkg/dist/wasm/cacher_wasm.js";
import { median } from "./timing.js";

const SETTINGS = {
  ...{ maxEntries: 1e6, maxBytes: 1e9, ttlMs: 0, ttlJitter: 0.1, staleMs: 0, earlyRefresh: 0 },
  ...{ compressOver: 1_024, pinnedTags: [], semanticThreshold: 0.9 },
};
/** `compressOver`, for no value and for every one. */
const COMPRESSION = { plain: 0, compressed: 1 };
/** Of the 124M model's vectors. */
const WIDTH = 768;
const SEARCHES = 10;

const figure = (testCase, metric, unit, value) => ({ case: `response ${testCase}`, metric, unit, value });
const thousands = (number) => number.toLocaleString("en-GB");

async function start() {
  const file = supports("relaxed") ? "cacher_wasm_relaxed_bg.wasm" : "cacher_wasm_bg.wasm";
  await wasm.default({ module_or_path: fetch(`/pkg/dist/wasm/${file}`) });
  return wasm.ResponseCacheCore;
}
const Core = await start();

const open = (changes) => new Core(JSON.stringify({ ...SETTINGS, ...changes }), Date.now());
const keys = (name, count) => Array.from({ length: count }, (_, index) => Core.key(`["${name}",${index}]`));

function insert(core, key, value) {
  const entry = {
    ...{ key, title: "A question of the usual length, as it is shown in lists", kind: "value", model: null, source: "bench" },
    ...{ costMs: 1_000, tokens: 0, tags: [], ttlMs: null, semantic: null },
  };
  core.insert(JSON.stringify(entry), value, undefined, Date.now(), Math.random());
}

/** 1: it was there. */
const find = (core, key) => core.find(key, Date.now(), Math.random(), false, true);

/** Calls of `work` in a second: the middle one of several stretches, after one for the compiler. */
function perSecond(count, work, stretches = 5) {
  const speeds = [];
  for (let stretch = 0; stretch <= stretches; stretch++) {
    const begin = performance.now();
    for (let index = 0; index < count; index++) work(index);
    if (stretch > 0) speeds.push((count / (performance.now() - begin)) * 1000);
  }
  return median(speeds);
}

/** Microseconds of a call. */
const microseconds = (count, work) => 1e6 / perSecond(count, work);

/** The list in an order that no cache of the processor can foresee. */
function shuffled(list) {
  const copy = [...list];
  for (let index = copy.length - 1; index > 0; index--) {
    const other = Math.floor(Math.random() * (index + 1));
    [copy[index], copy[other]] = [copy[other], copy[index]];
  }
  return copy;
}

/** Gets and sets of `count` entries, each with `value`; values are not compressed. */
export function memory(value, count, calls) {
  const name = `memory, ${thousands(count)} entries of ${thousands(value.length)} B`;
  const [there, others] = [shuffled(keys("there", count)), shuffled(keys("other", count))];
  const limits = { maxEntries: count, compressOver: COMPRESSION.plain };
  // In turns of twice as many as there is room for, so that each is new and puts an old one out.
  const turns = [...there, ...others];
  let turn = 0;
  const evicting = open(limits);
  for (const key of others) insert(evicting, key, value);
  const sets = perSecond(calls / 10, () => insert(evicting, turns[turn++ % turns.length], value), 3);
  evicting.free();

  const core = open(limits);
  for (const key of there) insert(core, key, value);
  const lookUp = (index) => {
    if (find(core, there[index % count]) !== 1) throw new Error("an entry is not there");
  };
  const get = (index) => {
    lookUp(index);
    if (core.foundValue().length !== value.length) throw new Error("a value has another length");
  };
  const figures = [
    figure(name, "gets that hit", "calls/s", perSecond(calls, get)),
    figure(name, "their lookups alone", "calls/s", perSecond(calls, lookUp)),
    figure(name, "gets that miss", "calls/s", perSecond(calls, (index) => find(core, others[index % count]))),
    figure(name, "sets, each evicting one", "calls/s", sets),
  ];
  core.free();
  return figures;
}

/** From a request of the caller to its key, as the host does it. */
export function keying(prompts, calls) {
  return prompts.map((prompt) => {
    const request = JSON.stringify({ question: prompt, model: "a-model", temperature: 0.7, seed: 1 });
    const time = microseconds(calls, () => {
      const json = Core.canonical(`{"kind":"value","request":${Core.canonical(request)}}`);
      return Core.key(json);
    });
    return figure("key", `of a request of ${thousands(request.length)} B`, "µs", time);
  });
}

/** What compression saves of texts and what it takes. */
export function compression(texts, calls) {
  return texts.flatMap((text) => {
    const value = JSON.stringify(text);
    const name = `compression of ${thousands(text.length)} B of prose`;
    const [key] = keys("text", 1);
    const figures = [];
    for (const [how, compressOver] of Object.entries(COMPRESSION)) {
      const core = open({ compressOver });
      figures.push(figure(name, `set, ${how}`, "µs", microseconds(calls, () => insert(core, key, value))));
      const get = () => {
        find(core, key);
        return core.foundValue();
      };
      figures.push(figure(name, `get, ${how}`, "µs", microseconds(calls, get)));
      const { rawBytes, bytes } = JSON.parse(core.foundEntry());
      if (compressOver > 0) figures.push(figure(name, "record before over after", "ratio", rawBytes / bytes));
      core.free();
    }
    return figures;
  });
}

/** The nearest of so many prompts. */
export function search(counts) {
  const vector = () => Float32Array.from({ length: WIDTH }, () => Math.random() - 0.5);
  return counts.map((count) => {
    const core = open({});
    keys("prompt", count).forEach((key, index) => core.addVector(key, "family", `prompt ${index}`, vector()));
    const searches = Array.from({ length: SEARCHES }, vector);
    const time = microseconds(SEARCHES, (index) => core.similar("family", "a prompt", searches[index], Date.now()));
    core.free();
    return figure("semantic lookup", `search of ${thousands(count)} vectors`, "ms", time / 1e3);
  });
}

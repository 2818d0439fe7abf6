/**
 * Response caches as tests use them inside the page: `cache`, and where a model
 * is loaded `cacher`, are globals. What they have stored is read and changed
 * past the package, with what in-page/states.js has for that.
 */
import { Cacher, ResponseCache } from "/pkg/index.js";
import { NAME } from "./states.js";

export { rawEntries, rawPut } from "./states.js";

/** The events of the cache that is open. */
export const events = [];
/** The requests that were computed here. */
export const computed = [];

const withName = (options) => ({ name: NAME, ...options });

export async function open({ worker, workerUrl, ...options } = {}) {
  const where = { ...(worker === undefined ? {} : { worker }), ...(workerUrl === undefined ? {} : { workerUrl }) };
  globalThis.cache = await ResponseCache.open({ ...where, ...withName(options) });
  await listen();
}

export async function load(options = {}, settings = {}) {
  globalThis.cacher = await Cacher.load({ model: "tiny-gpt2", threads: 1, cache: withName(options), ...settings });
  globalThis.cache = cacher.cache;
  await listen();
}

async function listen() {
  cache.subscribe((event) => events.push(event));
  // So that the subscription has arrived.
  await cache.stats();
}

const answerTo = (request) => `the answer to ${JSON.stringify(request)}`;

/** Asks the cache, and computes what it has not. */
export function ask(request, controls = {}) {
  const compute = () => {
    computed.push(request);
    return answerTo(request);
  };
  return cache.fetch(request, compute, controls);
}

/** Asks the cache; computing stands still until `release()` or `fail(message)`. The outcome is `begun`. */
export function begin(request) {
  const held = new Promise((resolve, reject) => {
    globalThis.release = () => resolve(answerTo(request));
    globalThis.fail = (message) => reject(new Error(message));
  });
  const compute = () => {
    computed.push(request);
    return held;
  };
  globalThis.begun = cache.fetch(request, compute);
  // Whoever looks at the outcome sees a failure.
  begun.catch(() => undefined);
}

/** A generation to its end, with its chunks. */
export async function generate(prompt, options) {
  const generation = cacher.generate(prompt, options);
  const chunks = [];
  for await (const chunk of generation) chunks.push(chunk);
  const { text, tokens, usage, cache } = await generation.result;
  return { text, tokens, chunks, evaluated: usage.tokensEvaluated, cache };
}

/** What a layer has counted. */
export async function layerStats(name) {
  const { layers } = await cache.stats();
  return layers.find((layer) => layer.name === name);
}

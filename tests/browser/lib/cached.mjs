/**
 * Pages with a response cache, around functions or around a model.
 */
import { openLibrary, startKit } from "./library.mjs";
import { waitUntil } from "./wait.mjs";

/** Generations that tests repeat: short, and the same each time. */
export const PROMPT = "The bridge over the river";
export const OPTIONS = { maxTokens: 24, seed: 7, temperature: 0.8 };

/** Opens a page with `cached` (see in-page/cached.js) and a cache without a model. */
export async function openCache(browserOrContext, server, options = {}) {
  const opened = await openLibrary(browserOrContext, server);
  await startCache(opened.page, options);
  return opened;
}

export async function startCache(page, options = {}) {
  await importCached(page);
  await page.evaluate((options) => cached.open(options), options);
}

/** The same with a model; `settings` are those of `Cacher.load`. */
export async function openModel(browserOrContext, server, options = {}, settings = {}) {
  const opened = await openLibrary(browserOrContext, server);
  await startModel(opened.page, options, settings);
  return opened;
}

export async function startModel(page, options = {}, settings = {}) {
  await importCached(page);
  await page.evaluate(([options, settings]) => cached.load(options, settings), [options, settings]);
}

/** A reload: memory is gone. */
export async function reload(page) {
  await page.reload();
  await startKit(page);
}

async function importCached(page) {
  await page.evaluate(async () => {
    globalThis.cached = await import("/in-page/cached.js");
  });
}

/** Asks; computes what is not there. */
export const ask = (page, request, controls) => page.evaluate(([request, controls]) => cached.ask(request, controls ?? {}), [request, controls]);

export const generate = (page, prompt = PROMPT, options = OPTIONS) =>
  page.evaluate(([prompt, options]) => cached.generate(prompt, options), [prompt, options]);

export const computed = (page) => page.evaluate(() => cached.computed);

export const layerStats = (page, name) => page.evaluate((name) => cached.layerStats(name), name);

/** Where an answer came from, in two words. */
export const origin = ({ cache: { hit, layer } }) => [hit, layer];

export const FRESH = [false, null];

/** Waits until the answer under `key` lies in the layer. */
export const untilStored = (page, key, layer = "indexeddb") =>
  waitUntil(() =>
    page.evaluate(
      async ([key, layer]) => (await cache.entries()).items.some((entry) => entry.key === key && entry.layers.includes(layer)),
      [key, layer],
    ),
  );

/** Waits until the cache has told of such an event. */
export const untilTold = (page, event) =>
  waitUntil(() =>
    page.evaluate((wanted) => cached.events.some((event) => Object.entries(wanted).every(([name, value]) => event[name] === value)), event),
  );

/** Waits until some page waits for another's answer. */
export const untilWaiting = (page, count = 1) =>
  waitUntil(() =>
    page.evaluate(
      async (count) => (await navigator.locks.query()).pending.filter(({ name }) => name.startsWith("cacher-cache:test:")).length === count,
      count,
    ),
  );

/** From now on the engine in the page's worker takes no step, until `goOn`. */
export async function standStill(page) {
  await page.workers()[0].evaluate(async () => {
    // The module that runs there already, from the browser's module map.
    const { Engine } = await import("/pkg/wasm/cacher_wasm.js");
    const { step } = Engine.prototype;
    globalThis.goOn = () => {
      Engine.prototype.step = step;
    };
    Engine.prototype.step = () => [];
  });
}

export const goOn = (page) => page.workers()[0].evaluate(() => globalThis.goOn());

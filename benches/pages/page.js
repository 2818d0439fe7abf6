/**
 * What the runner calls in a page: one engine, behind the same few functions.
 *
 * Each module in engines/ exports `start(variant)`, which loads the model and
 * gives an object with `generate` and what else the engine can do.
 */
import { listMemories, watchWorkers } from "./memories.js";
import { reader } from "./reader.js";

let engine;
let read;

/**
 * Loads an engine, its code included, up to the first token.
 *
 * @returns {Promise<object>} milliseconds, and what the engine says of itself; or
 *   `{ refused }`, why the engine does not do what the variant asks for
 */
async function load(variant, prompt) {
  const start = performance.now();
  const { start: startEngine } = await import(`./engines/${variant.engine}.js`);
  try {
    engine = await startEngine(variant);
  } catch (error) {
    if (error.code === "invalid-argument") return { refused: error.message };
    throw error;
  }
  const ready = performance.now();
  await engine.generate(prompt, { maxTokens: 1 });
  return { readyMs: ready - start, firstTokenMs: performance.now() - start, ...engine.facts };
}

/** Keeps the page's thread busy, so that its process can be told from the others. */
function spin(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Gigabytes a second that a thread, and two together, read from memory. */
async function readSpeed() {
  read ??= await reader();
  return { one: await read(1), two: await read(2) };
}

globalThis.bench = {
  load,
  spin,
  readSpeed,
  listMemories,
  watchWorkers,
  can: (name) => typeof engine[name] === "function",
  generate: (...args) => engine.generate(...args),
  together: (...args) => engine.together(...args),
  tokenize: (...args) => engine.tokenize(...args),
  /** What states.js does. */
  states: async (name, ...args) => (await import("./states.js"))[name](...args),
  /** What generation.js does. */
  generation: async (name, ...args) => (await import("./generation.js"))[name](...args),
  /** What analysis.js does. */
  analysis: async (name, ...args) => (await import("./analysis.js"))[name](...args),
  /** What responses.js and response-core.js do. */
  responses: async (name, ...args) => (await import("./responses.js"))[name](...args),
  responseCore: async (name, ...args) => (await import("./response-core.js"))[name](...args),
};

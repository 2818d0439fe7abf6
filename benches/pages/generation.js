/**
 * What the options of a generation cost, by the package's public API: each
 * beside the same text without it.
 */
import { load } from "./engines/cacher.js";
import { median, timed } from "./timing.js";

let cacher;

/** Never stopping early: a random model ends a text at any time. */
const ALWAYS = { eosTokenIds: [] };

/** Time for each token after the first. */
function perStep({ decodeMs }, steps) {
  if (steps < 2) throw new Error(`a text ended after ${steps} steps`);
  return decodeMs / (steps - 1);
}

/** The callbacks, which let everything pass. */
const CALLBACKS = {
  onProgress: () => undefined,
  stopWhen: () => false,
};

/** Reads a generation as the name says, to its end. */
const READ = {
  result: () => undefined,
  async tokens(generation) {
    for await (const _ of generation);
  },
  async textStream(generation) {
    for await (const _ of generation.textStream());
  },
  async toEventStream(generation) {
    for await (const _ of generation.toEventStream());
  },
};

/** What is done with a case's options, each giving the milliseconds of a token or a step. */
const HOW = {
  /** By the engine's own clock, without the way to the page. */
  async decode([prompt], { options }) {
    const { timings, tokens } = await cacher.generate(prompt, options).result;
    return perStep(timings, tokens.length);
  },

  async beams([prompt], { options }) {
    const { timings, steps } = await cacher.beamSearch(prompt, options).result;
    return perStep(timings, steps);
  },

  /** From the call to the end of a text of one token. */
  async first([prompt], { options }) {
    return (await timed(() => cacher.generate(prompt, { ...options, maxTokens: 1 }).result)).ms;
  },

  /** From the call to the end, by token. */
  async read([prompt], { options, read = "tokens", callback }) {
    const begin = performance.now();
    const called = callback === undefined ? {} : { [callback]: CALLBACKS[callback] };
    const generation = cacher.generate(prompt, { ...options, ...called });
    await READ[read](generation);
    const { tokens } = await generation.result;
    return (performance.now() - begin) / tokens.length;
  },

  async batch(prompts, { options, count }) {
    const { results } = cacher.generateBatch(prompts.slice(0, count), options, { concurrency: count });
    const values = (await results).map(({ value, reason }) => {
      if (value === undefined) throw reason;
      return value;
    });
    // The first to begin waits for the others' prompts: what is common to all is the last one's.
    return Math.min(...values.map(({ timings, tokens }) => perStep(timings, tokens.length)));
  },
};

/** More than the constraints that the engine keeps compiled. */
const OTHER_CONSTRAINTS = 9;

/** What is done before a case is timed; `run` is the case. */
const PREPARE = {
  nothing: () => undefined,
  repeat: (run) => run(),
  async forgetConstraints() {
    for (let index = 0; index < OTHER_CONSTRAINTS; index++) {
      await cacher.generate([0], { maxTokens: 1, constraint: { choices: [`another ${index}`] } }).result;
    }
  },
};

/** Loads the model and has the engine's code compiled. */
export async function open(variant, warmUp) {
  try {
    cacher = await load(variant);
  } catch (error) {
    if (error.code === "invalid-argument") return { refused: error.message };
    throw error;
  }
  await cacher.generate(warmUp, { ...ALWAYS, temperature: 0, maxTokens: 24 }).result;
  return {};
}

/**
 * Runs the base and every case in turn, once for each entry of `prompts`, which
 * is a list of prompts, all in the KV cache but for their last token. A case is
 * compared with the runs of the base before and after it, because the speed of
 * a machine drifts.
 *
 * @returns {Promise<{ base: number, cases: { ms: number, extraMs: number, ratio: number }[] }>} medians
 */
export async function compare(how, prompts, { base, cases, maxTokens, prepare = "nothing" }) {
  const baseTimes = [];
  const found = cases.map(() => ({ ms: [], extraMs: [], ratio: [] }));
  for (const [seed, texts] of prompts.entries()) {
    const run = ({ options, ...rest }) =>
      HOW[how](texts, { ...rest, options: { ...ALWAYS, maxTokens, seed, ...base.options, ...options } });
    for (const prompt of texts) await cacher.generate(prompt, { ...ALWAYS, maxTokens: 1 }).result;
    let before = await run(base);
    for (const [index, each] of cases.entries()) {
      await PREPARE[prepare](() => run(each));
      const ms = await run(each);
      const after = await run(base);
      const beside = (before + after) / 2;
      found[index].ms.push(ms);
      found[index].extraMs.push(ms - beside);
      found[index].ratio.push(ms / beside);
      baseTimes.push(before);
      before = after;
    }
  }
  return {
    base: median(baseTimes),
    cases: found.map((values) => Object.fromEntries(Object.entries(values).map(([name, list]) => [name, median(list)]))),
  };
}

/**
 * This project's package, by its public API and with nothing else.
 */
import { Cacher } from "/pkg/dist/index.js";

/**
 * Greedy where nothing is sampled, never stopping early, as a random model ends
 * a text at any time, and computing every prompt anew.
 */
const toOptions = ({ maxTokens, sample, seed = 0 }) => ({
  maxTokens,
  seed,
  eosTokenIds: [],
  cachePrompt: false,
  ...(sample ? {} : { temperature: 0 }),
});

const toTimes = ({ timings, tokens }) => ({ ...timings, tokens: tokens.length });

/** The package with the variant's model. */
export function load({ source, dtype, threads }, more) {
  const model = new URL(source, location.origin).href;
  return Cacher.load({ model, dtype, threads, ...more });
}

export async function start(variant) {
  const cacher = await load(variant);
  return {
    facts: { weightBytes: cacher.model.weightBytes, parameters: cacher.model.parameters },

    async generate({ ids }, options) {
      const { prefillMs, decodeMs, tokens } = toTimes(await cacher.generate(ids, toOptions(options)).result);
      return { prefillMs, decodeMs, tokens };
    },

    /** Several prompts of one length at once. */
    async together(prompts, options) {
      const runs = prompts.map(({ ids }, seed) => cacher.generate(ids, toOptions({ ...options, seed })).result);
      const results = (await Promise.all(runs)).map(toTimes);
      // The first to begin waits for the others' prompts: what is common to all is the last one's.
      return { decodeMs: Math.min(...results.map((result) => result.decodeMs)), tokens: results[0].tokens };
    },

    async tokenize(text) {
      const begin = performance.now();
      const { ids } = await cacher.tokenize(text);
      return { ms: performance.now() - begin, tokens: ids.length };
    },
  };
}

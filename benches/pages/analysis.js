/**
 * What analyses take, by the package's public API, each beside what the model
 * does with the same text anyway.
 *
 * Each function gives figures as `{ case, metric, unit, value }`.
 */
import { load } from "./engines/cacher.js";
import { median, timed } from "./timing.js";

let cacher;

/** Greedy, and never stopping early: a random model ends a text at any time. */
const PLAIN = { temperature: 0, eosTokenIds: [] };
const MB = 1e6;

const figure = (testCase, metric, unit, value) => ({ case: `analysis ${testCase}`, metric, unit, value });

/** Loads the model and has the engine's code compiled. */
export async function open(variant, warmUp) {
  try {
    cacher = await load(variant);
  } catch (error) {
    if (error.code === "invalid-argument") return { refused: error.message };
    throw error;
  }
  await cacher.generate(warmUp, { ...PLAIN, maxTokens: 24, captureAttention: {} }).result;
  await cacher.analysis.tokens(warmUp.toReversed());
  return {};
}

/** Time of a token after the first, by the engine's own clock. */
async function decode(prompt, maxTokens, options) {
  const { timings, tokens } = await cacher.generate(prompt, { ...PLAIN, maxTokens, ...options }).result;
  if (tokens.length !== maxTokens) throw new Error(`a text ended after ${tokens.length} tokens`);
  return timings.decodeMs / (maxTokens - 1);
}

/** Writing with all attention kept, with one layer's, and without: the prompts are in the KV cache. */
export async function capture(prompts, { maxTokens }) {
  const ways = { "all layers": { captureAttention: {} }, "one layer": { captureAttention: { layers: [0] } } };
  const plain = [];
  const extra = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (const prompt of prompts) {
    await cacher.generate(prompt, { ...PLAIN, maxTokens: 1 }).result;
    let before = await decode(prompt, maxTokens, {});
    for (const [name, options] of Object.entries(ways)) {
      const ms = await decode(prompt, maxTokens, options);
      const after = await decode(prompt, maxTokens, {});
      extra[name].push(ms / ((before + after) / 2));
      plain.push(before);
      before = after;
    }
  }
  const name = `writing after ${prompts[0].length}`;
  return [
    figure(name, "without capture", "ms/token", median(plain)),
    ...Object.entries(extra).map(([way, ratios]) => figure(name, `attention of ${way} kept, over that`, "ratio", median(ratios))),
  ];
}

/** Every token's log-probability, beside reading as many tokens for the next one alone. */
export async function logProbs(tokens, others) {
  const { ms, value } = await timed(() => cacher.analysis.tokens(tokens));
  if (value.tokensEvaluated < tokens.length - 1) throw new Error("the KV cache had the text");
  const read = await timed(() => cacher.generate(others, { ...PLAIN, maxTokens: 1, cachePrompt: false }).result);
  const name = `log-probabilities of ${tokens.length}`;
  return [figure(name, "time", "ms", ms), figure(name, "reading as many alone", "ms", read.ms)];
}

/** All attention of a text, as it arrives in the page. */
export async function attentionMap(tokens) {
  const { ms, value } = await timed(() => cacher.analysis.attention(tokens));
  const name = `all attention of ${tokens.length}`;
  return [figure(name, "time", "ms", ms), figure(name, "result", "MB", value.weights.data.byteLength / MB)];
}

/** Every head's importance for a text. */
export async function importance(tokens) {
  const { ms, value } = await timed(() => cacher.analysis.importance(tokens));
  const name = `importance of all heads for ${tokens.length}`;
  return [figure(name, "time", "ms", ms), figure(name, "a head", "ms", ms / value.ranking.length)];
}

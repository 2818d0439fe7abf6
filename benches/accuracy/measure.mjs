/**
 * Runs a model in every number format over the same text, beside f32.
 *
 * All formats are loaded at once and go through the text together, a window at
 * a time, so that no more than a window's scores are ever held.
 */
import { Comparison, Reference, compareTexts } from "./statistics.mjs";

export const FORMATS = ["q8", "q5", "q4"];

/** At most this many tokens are scored in one go, each seeing those before it in its window. */
const WINDOW = 512;
const PROMPT = 32;
const CONTINUATION = 64;

/**
 * @param Cacher the package's class
 * @param {{ name: string, path: string }} model its name and its folder
 * @param {string | undefined} text what it reads; `undefined`: what it writes itself in f32, for a
 *   model of random weights, to which a text in English is as unlikely as any noise
 * @param {{ tokens: number, texts: number }} amount most tokens to score, and how many greedy texts
 */
export async function measure(Cacher, model, text, amount) {
  const cachers = {};
  for (const dtype of ["f32", ...FORMATS]) cachers[dtype] = await Cacher.load({ model: model.path, dtype });
  const { nPositions, parameters } = cachers.f32.model;
  const window = Math.min(WINDOW, nPositions);
  const ids = text === undefined ? await ownText(cachers.f32, window, amount.tokens) : await read(cachers.f32, text, amount.tokens);
  const scores = await compareScores(cachers, windows(ids, window));
  const texts = await compareGreedy(cachers, ids, amount.texts, nPositions);
  const formats = FORMATS.map((dtype) => {
    const { referencePerplexity: _, tokens: __, ...figures } = scores[dtype].summary();
    return { dtype, bytesPerWeight: cachers[dtype].model.weightBytes / parameters, ...figures, greedy: texts[dtype] };
  });
  for (const cacher of Object.values(cachers)) await cacher.dispose();
  const { tokens, referencePerplexity } = scores.q8.summary();
  return { model: model.name, parameters, tokens, referencePerplexity, formats };
}

async function read(cacher, text, most) {
  return [...(await cacher.tokenize(text)).ids].slice(0, most);
}

/** Texts of a window's length one after the other, drawn as the model's own probabilities say. */
async function ownText(cacher, length, most) {
  const seeds = Array.from({ length: Math.ceil(most / length) }, (_, index) => index);
  const options = { maxTokens: length - 1, topK: 0, eosTokenIds: [] };
  const start = [cacher.model.eosTokenId];
  const runs = seeds.map((seed) => cacher.generate(start, { ...options, seed }).result);
  return (await Promise.all(runs)).flatMap(({ tokens }) => [...start, ...tokens]);
}

function windows(ids, length) {
  const starts = Array.from({ length: Math.ceil(ids.length / length) }, (_, index) => index * length);
  // A single token predicts nothing that could be looked up.
  return starts.map((start) => ids.slice(start, start + length)).filter((window) => window.length > 1);
}

async function compareScores(cachers, windows) {
  const comparisons = Object.fromEntries(FORMATS.map((dtype) => [dtype, new Comparison()]));
  for (const window of windows) {
    const rows = {};
    for (const [dtype, cacher] of Object.entries(cachers)) {
      const { data, shape } = await cacher.logits(window, { positions: "all" });
      rows[dtype] = (position) => data.subarray(position * shape[1], (position + 1) * shape[1]);
    }
    for (let position = 0; position < window.length - 1; position++) {
      const reference = new Reference(rows.f32(position));
      for (const dtype of FORMATS) comparisons[dtype].add(reference, rows[dtype](position), window[position + 1]);
    }
  }
  return comparisons;
}

/** Continues places all over the text, always with the likeliest token. */
async function compareGreedy(cachers, ids, count, nPositions) {
  const promptLength = Math.min(PROMPT, nPositions >> 2);
  const maxTokens = Math.min(CONTINUATION, nPositions - promptLength);
  const distance = Math.floor((ids.length - promptLength) / count);
  const prompts = Array.from({ length: count }, (_, index) => ids.slice(index * distance, index * distance + promptLength));
  const tokens = {};
  for (const [dtype, cacher] of Object.entries(cachers)) {
    // The text was scored before: nothing of that may be reused.
    const options = { temperature: 0, maxTokens, eosTokenIds: [], cachePrompt: false };
    const results = await Promise.all(prompts.map((prompt) => cacher.generate(prompt, options).result));
    tokens[dtype] = results.map((result) => result.tokens);
  }
  return Object.fromEntries(FORMATS.map((dtype) => [dtype, compareTexts(tokens[dtype], tokens.f32)]));
}

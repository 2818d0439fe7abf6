/** Uses everything the package's README shows. */

import {
  Cacher,
  CacherError,
  type AnalysisProgress,
  type AttentionOptions,
  type DenseAttention,
  type EngineInspection,
  type ErrorCode,
  type GenerationResult,
  type LoadProgress,
} from "cacher-wasm";

function report({ phase, loaded, total }: LoadProgress): void {
  console.log(phase, `${loaded} of ${total} bytes`);
}

export async function complete(prompt: string, signal: AbortSignal): Promise<GenerationResult> {
  const cacher = await Cacher.load({ model: "openai-community/gpt2", onProgress: report, signal });
  try {
    const generation = cacher.generate(prompt, { maxTokens: 60, temperature: 0.8, topK: 40, seed: 7n, stop: ["\n"] });
    for await (const { text, tokens } of generation) console.log(text, tokens.length);
    return await generation.result;
  } finally {
    await cacher.dispose();
  }
}

export async function nextToken(cacher: Cacher, text: string): Promise<number> {
  const { ids } = await cacher.tokenize(text);
  const { data, shape } = await cacher.logits(ids, { positions: [-1] });
  console.log(await cacher.detokenize(ids), shape[1]);
  return data.indexOf(Math.max(...data));
}

export async function likeliest(cacher: Cacher): Promise<string> {
  const { logprobs, matched, finishReason } = await cacher.generate("Once", {
    ...{ maxTokens: 1, logprobs: 3, badWords: ["witch", [1, 2]], logitBias: { " the": -1, 50256: false } },
    ...{ temperatureSchedule: { type: "entropy", min: 0.5, max: 1.2 }, mirostat: {}, stopOnLoop: { repeats: 3 } },
    constraint: { regex: " [a-z]+" },
  }).result;
  console.log(finishReason, typeof matched === "string" ? matched.length : matched);
  return logprobs?.[0]?.top.map(({ text, logprob }) => `${text} ${logprob.toFixed(2)}`).join() ?? "";
}

/** Looks into the model and the engine. */
export async function inside(cacher: Cacher, text: string, signal: AbortSignal): Promise<string> {
  const onProgress = ({ done, total }: AnalysisProgress) => console.log(done / total);
  const { tokens } = await cacher.analysis.tokens(text, { top: 3, range: { start: -5 } });
  const surprise = tokens.map(({ piece, expected }) => `${piece} ${expected?.surprisalBits ?? ""}`);
  const { weights }: DenseAttention = await cacher.analysis.attention(text, { layers: [0], average: "heads" });
  const [, , queries = 0] = weights.shape;
  const { weight, head } = await cacher.analysis.attention(text, { threshold: 0.1, normalize: true });
  const numbers: [Float32Array, Uint32Array | undefined] = [weight.data, head?.data];
  const options: AttentionOptions = queries > 1 ? { threshold: 0.5 } : {};
  const either = await cacher.analysis.attention(text, options);
  const many = either.threshold === null ? either.weights.data.length : either.weight.data.length;
  const { mass } = await cacher.analysis.segments(text, { segments: [{ name: "prompt", ranges: [{ end: 3 }] }] });
  const { ranking } = await cacher.analysis.importance(text, { method: "zero", signal, onProgress });
  const { nextLogprob } = await cacher.analysis.lens(text, { layers: [1], top: 1 });
  const { layers, logit } = await cacher.analysis.attribution(text, { against: 5 });
  const { keyNorms, keys } = await cacher.analysis.kv(text, { samples: [-1] });
  const texts = await cacher.analysis.compare(text, { with: "another" });
  const settings = await cacher.analysis.compare(text, { options: [{ topK: 1 }, { topP: 0.5 }] });
  console.log(numbers, many, mass.shape, ranking[0]?.change, nextLogprob.data, layers[0]?.heads, logit, keyNorms, keys?.data);
  console.log(texts.firstDivergence, settings.meanJs, surprise);
  await cacher.generate(text, { captureAttention: { layers: [0] }, ablateHeads: [{ layer: 0, head: 1 }] }).result;
  const { memory, kv, cache }: EngineInspection = await cacher.inspect({ signal });
  console.log(memory.freeBytes, kv.blocks.filter(({ where }) => where.includes("indexeddb")), cache?.hitRate);
  return JSON.stringify(kv);
}

export async function freeSpace(): Promise<void> {
  for (const { id } of await Cacher.models.list()) await Cacher.models.delete(id);
}

export function isOutOfMemory(error: unknown): boolean {
  const code: ErrorCode = "out-of-memory";
  return error instanceof CacherError && error.code === code;
}

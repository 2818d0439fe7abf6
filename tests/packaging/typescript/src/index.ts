/** Uses everything the package's README shows. */

import { Cacher, CacherError, type ErrorCode, type GenerationResult, type LoadProgress } from "cacher-wasm";

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

export async function freeSpace(): Promise<void> {
  for (const { id } of await Cacher.models.list()) await Cacher.models.delete(id);
}

export function isOutOfMemory(error: unknown): boolean {
  const code: ErrorCode = "out-of-memory";
  return error instanceof CacherError && error.code === code;
}

/**
 * wllama: llama.cpp in WebAssembly, on the processor alone.
 */
import { LoggerWithoutDebug, Wllama } from "/benches/node_modules/@wllama/wllama/esm/index.js";

const WASM = "/benches/node_modules/@wllama/wllama/esm/wasm/wllama.wasm";

export async function start({ source, threads }) {
  const wllama = new Wllama(
    { default: new URL(WASM, location.origin).href },
    { suppressNativeLog: true, logger: LoggerWithoutDebug },
  );
  await wllama.loadModelFromUrl(new URL(source, location.origin).href, {
    n_ctx: 1024,
    n_threads: threads,
    n_gpu_layers: 0,
    n_parallel: 1,
  });
  return {
    facts: {},

    /**
     * The times are its server's own, which leave out the way to the worker
     * and back. It takes prompts as text alone.
     */
    async generate({ ids, text }, { maxTokens, sample }) {
      const { timings } = await wllama.createCompletion({
        prompt: text,
        max_tokens: maxTokens,
        ignore_eos: true,
        cache_prompt: false,
        ...(sample ? {} : { temperature: 0 }),
      });
      if (timings.prompt_n !== ids.length) {
        throw new Error(`wllama read ${timings.prompt_n} tokens where there are ${ids.length}`);
      }
      return { prefillMs: timings.prompt_ms, decodeMs: timings.predicted_ms, tokens: timings.predicted_n };
    },
  };
}

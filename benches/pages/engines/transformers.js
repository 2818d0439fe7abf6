/**
 * transformers.js, on onnxruntime's WebAssembly backend.
 *
 * Its code and onnxruntime's come from this server instead of a CDN, and the
 * model by its own path for models of a hub, so that its own cache is at work.
 */
import {
  AutoModelForCausalLM,
  AutoTokenizer,
  Tensor,
  env,
} from "/benches/node_modules/@huggingface/transformers/dist/transformers.min.js";

/** Any name a hub could have: the path is set above it. */
const NAME = "random/gpt2";
const RUNTIME = "/benches/node_modules/onnxruntime-web/dist/";

/** Times of the first token and the last. */
class Clock {
  first = 0;
  last = 0;
  count = 0;
  /** The first call brings the prompt, each further one a token. */
  put() {
    this.last = performance.now();
    if (this.count === 1) this.first = this.last;
    this.count++;
  }
  end() {}
}

export async function start({ source, dtype, threads, build }) {
  const { origin, pathname } = new URL(source, location.origin);
  env.allowLocalModels = false;
  env.remoteHost = `${origin}/`;
  env.remotePathTemplate = pathname.slice(1);
  env.backends.onnx.wasm.numThreads = threads;
  env.backends.onnx.wasm.wasmPaths = {
    mjs: new URL(`${RUNTIME}${build}.mjs`, origin).href,
    wasm: new URL(`${RUNTIME}${build}.wasm`, origin).href,
  };
  const [model, tokenizer] = await Promise.all([
    AutoModelForCausalLM.from_pretrained(NAME, { dtype, device: "wasm" }),
    AutoTokenizer.from_pretrained(NAME),
  ]);

  async function run(rows, { maxTokens, sample }) {
    const shape = [rows.length, rows[0].length];
    const ids = new Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), shape);
    const mask = new Tensor("int64", new BigInt64Array(ids.data.length).fill(1n), shape);
    const streamer = new Clock();
    const begin = performance.now();
    await model.generate({
      inputs: ids,
      attention_mask: mask,
      max_new_tokens: maxTokens,
      do_sample: sample === true,
      eos_token_id: null,
      streamer,
    });
    return {
      prefillMs: streamer.first - begin,
      decodeMs: streamer.last - streamer.first,
      tokens: streamer.count - 1,
    };
  }

  return {
    facts: {},
    generate: ({ ids }, options) => run([ids], options),
    together: (prompts, options) => run(prompts.map(({ ids }) => ids), options),
    async tokenize(text) {
      const begin = performance.now();
      const { input_ids } = await tokenizer(text);
      return { ms: performance.now() - begin, tokens: input_ids.dims[1] };
    },
  };
}

/**
 * An engine that keeps the contract of the wasm module without a model: token
 * `i` of an answer is prompt length + `i`, its text `"<id> "`, its
 * log-probability minus the seed's last digit. A step reads 32 tokens of a
 * prompt, and the last of these steps gives the first token. What it packs is
 * a pattern of bytes, at a fixed place of a real WebAssembly memory.
 */

import { createHash } from "node:crypto";

class Sha256 {
  #hash = createHash("sha256");
  update(bytes) {
    this.#hash.update(bytes);
  }
  digest() {
    return this.#hash.digest("hex");
  }
  free() {}
}

const coded = (code, message, details = {}) => Object.assign(new Error(message), { code, details });

/** Where in its memory the fake engine has its packed weights. */
const PACKED_ADDRESS = 4096;

class Engine {
  #jobs = new Map();
  #next = 1;
  #sha256;
  #log;
  #dtype;
  #header;
  #packedBytes;

  constructor({ sha256, log, dtype, header, packedBytes }) {
    this.#sha256 = sha256;
    this.#log = log;
    this.#dtype = dtype;
    this.#header = header;
    this.#packedBytes = packedBytes;
  }
  info() {
    return { vocabSize: 10, nPositions: 64, nEmbd: 1, nLayer: 1, nHead: 1, parameters: 1, weightBytes: 1,
      dtype: this.#dtype, hasTokenizer: true, eosTokenId: null, sha256: this.#sha256 };
  }
  packedHeader() {
    return this.#header && new TextEncoder().encode(JSON.stringify(this.#header));
  }
  packedAddress() {
    return PACKED_ADDRESS;
  }
  packedBytes() {
    return this.#packedBytes;
  }
  encode(text) {
    return { ids: Uint32Array.from(text, (c) => c.charCodeAt(0)), offsets: Uint32Array.from(text.split("").flatMap((_, i) => [i, i + 1])) };
  }
  decode(ids) {
    return String.fromCharCode(...ids);
  }
  addGeneration(prompt, options) {
    for (const name of Object.keys(options)) {
      if (!["maxTokens", "seed", "logprobs"].includes(name)) throw coded("invalid-argument", `${name}: no such option`, { name });
    }
    if (prompt === "trap") throw new WebAssembly.RuntimeError("unreachable");
    const ids = typeof prompt === "string" ? [...this.encode(prompt).ids] : [...prompt];
    this.#jobs.set(this.#next, { ids, made: [], read: 0, options, left: options.maxTokens ?? 128, cancelled: undefined, paused: false, trap: prompt === "trap later", fails: prompt === "fail later" });
    this.#log.push(`add ${this.#next}`);
    return this.#next++;
  }
  addLogits(tokens, positions) {
    const ids = typeof tokens === "string" ? [...this.encode(tokens).ids] : [...tokens];
    this.#jobs.set(this.#next, { ids, logits: positions ?? Int32Array.from(ids.keys()) });
    return this.#next++;
  }
  addEmbedding(prompt) {
    const ids = typeof prompt === "string" ? this.encode(prompt).ids : prompt;
    this.#jobs.set(this.#next, { embedding: Float32Array.of(ids.length) });
    return this.#next++;
  }
  /** Three steps; it tells what it was asked. */
  addAnalysis(request, subjects) {
    if (JSON.parse(request).kind === "none") throw coded("invalid-option", "kind: is none", { option: "kind" });
    this.#jobs.set(this.#next, { analysis: { request, subjects }, done: 0 });
    this.#log.push(`analyse ${this.#next}`);
    return this.#next++;
  }
  cancel(job, reason) {
    this.#log.push(reason === undefined ? `cancel ${job}` : `cancel ${job} ${reason}`);
    const entry = this.#jobs.get(job);
    if (entry?.logits || entry?.embedding || entry?.analysis) this.#jobs.delete(job);
    else if (entry) entry.cancelled ??= reason ?? "aborted";
  }
  pause(job) {
    this.#log.push(`pause ${job}`);
    const entry = this.#jobs.get(job);
    if (entry) entry.paused = true;
  }
  resume(job) {
    this.#log.push(`resume ${job}`);
    const entry = this.#jobs.get(job);
    if (entry) entry.paused = false;
  }
  step() {
    const events = [];
    this.#log.push("step");
    for (const [job, entry] of this.#jobs) {
      if (entry.paused && !entry.cancelled) continue;
      if (entry.logits) {
        this.#jobs.delete(job);
        const rows = entry.logits.length;
        events.push({ job, type: "logits", data: new Float32Array(rows * 10), shape: [rows, 10], tokens: entry.ids });
      } else if (entry.embedding) {
        this.#jobs.delete(job);
        events.push({ job, type: "embedding", data: entry.embedding });
      } else if (entry.analysis) {
        events.push({ job, type: "analysisProgress", done: ++entry.done, total: 3 });
        if (entry.done < 3) continue;
        this.#jobs.delete(job);
        const arrays = [{ name: "numbers", shape: [1, 2], data: Float32Array.of(1, NaN) }];
        events.push({ job, type: "analysed", value: JSON.stringify(entry.analysis), arrays });
      } else if (entry.fails) {
        this.#jobs.delete(job);
        events.push({ job, type: "error", error: coded("context-overflow", "too long", { needed: 65 }) });
      } else if (entry.cancelled || entry.left === 0) {
        this.#jobs.delete(job);
        events.push({ job, type: "done", result: resultOf(entry) });
      } else {
        const total = entry.ids.length;
        if (entry.made.length === 0) {
          entry.read = Math.min(total, entry.read + 32);
          events.push({ job, type: "progress", done: entry.read, cached: 0, total, maxTokens: entry.options.maxTokens ?? 128 });
          if (entry.read < total) continue;
        }
        if (entry.trap && entry.made.length === 2) throw new WebAssembly.RuntimeError("unreachable");
        const id = entry.ids.length + entry.made.length;
        entry.made.push(id);
        entry.left--;
        this.#log.push(`token ${job}`);
        const told = entry.options.logprobs === undefined ? {} : { logprobs: [logprobOf(id, entry)] };
        events.push({ job, type: "chunk", text: `${id} `, tokens: [id], ...told });
        if (entry.left === 0) {
          this.#jobs.delete(job);
          events.push({ job, type: "done", result: resultOf(entry) });
        }
      }
    }
    return events;
  }
  busy() {
    return [...this.#jobs.values()].some(({ paused, cancelled }) => !paused || cancelled);
  }
  free() {
    this.#log.push("free engine");
  }
}

function logprobOf(id, { options: { seed = 1 } }) {
  return { id, logprob: -Number(BigInt(seed) % 10n), alternatives: [] };
}

function resultOf(entry) {
  const { ids, made, cancelled, options } = entry;
  const logprobs = options.logprobs === undefined ? null : made.map((id) => logprobOf(id, entry));
  return { text: made.map((id) => `${id} `).join(""), tokens: made, promptTokens: ids,
    finishReason: cancelled ?? "length", matched: null, logprobs, seed: options.seed ?? 1,
    usage: { promptTokens: ids.length, tokensEvaluated: ids.length, completionTokens: made.length, totalTokens: ids.length + made.length, droppedTokens: 0, draftTokens: 0, acceptedDraftTokens: 0 },
    timings: { prefillMs: 0, decodeMs: 0, prefillTokensPerSecond: 0, tokensPerSecond: 0 } };
}

/** A fake module; `log` tells what was asked of it. */
export function fakeModule({ packedBytes = 100_000, packedVersion = 1 } = {}) {
  const log = [];
  const memory = new WebAssembly.Memory({ initial: Math.ceil((PACKED_ADDRESS + packedBytes) / 65536) });
  const packed = () => new Uint8Array(memory.buffer, PACKED_ADDRESS, packedBytes);
  const sumOf = (bytes) => createHash("sha256").update(bytes).digest("hex");
  class ModelLoader {
    #hash = new Sha256();
    #size = 0;
    #dtype;
    #header;
    constructor(dtype) {
      this.#dtype = dtype;
      log.push("new loader");
    }
    beginPacked(header) {
      this.#header = JSON.parse(new TextDecoder().decode(header));
      if (this.#header.refuse) throw coded("invalid-model-file", "the header does not fit");
      packed().fill(0);
    }
    packedAddress() {
      return PACKED_ADDRESS;
    }
    packedBytes() {
      return this.#header.bytes;
    }
    setConfig(json) {
      if (new TextDecoder().decode(json).includes("bert")) throw coded("unsupported-model", "not a GPT-2");
      log.push(`config ${json.length}`);
    }
    setTokenizerJson(json) {
      log.push(`tokenizer ${json.length}`);
    }
    setVocabAndMerges(vocab, merges) {
      log.push(`vocab ${vocab.length} merges ${merges.length}`);
    }
    push(chunk) {
      if (this.#size === 0 && chunk.length > 0 && new TextDecoder().decode(chunk.subarray(4, 7)) === "BAD") {
        throw coded("invalid-model-file", "a bad model");
      }
      this.#size += chunk.length;
      this.#hash.update(chunk);
    }
    finish() {
      const dtype = this.#dtype;
      if (this.#header !== undefined) {
        if (sumOf(packed()) !== this.#header.sum) throw coded("invalid-model-file", "the sum is wrong");
        log.push(`packed ${this.#header.bytes}`);
        return new Engine({ sha256: this.#header.sha256, log, dtype, packedBytes });
      }
      log.push(`weights ${this.#size}`);
      const sha256 = this.#hash.digest();
      if (dtype === "f32") return new Engine({ sha256, log, dtype, packedBytes });
      packed().forEach((_, index, bytes) => (bytes[index] = (index * 7 + (index >> 9)) & 255));
      const header = { sha256, bytes: packedBytes, sum: sumOf(packed()) };
      return new Engine({ sha256, log, dtype, header, packedBytes });
    }
    free() {
      log.push("free loader");
    }
  }
  return { module: { Sha256, ModelLoader, packedVersion: () => packedVersion }, memory, log };
}

/** A platform whose engine is the fake; each start gets a fresh instance, as after a trap. */
export function fakePlatform(overrides = {}) {
  const { module, memory, log } = fakeModule();
  let current;
  return {
    log,
    base: () => "http://localhost/",
    defaultWorker: () => false,
    defaultLayers: () => [],
    fetch: (url, init) => fetch(url, init),
    async environment() {
      return {
        fetch: (url, init) => fetch(url, init),
        async runtime(_fetch, { dtype, threads, simd }) {
          if (!current?.alive) {
            current = { module, memory, alive: true };
            log.push("start");
          }
          return { runtime: current, info: { simd: "simd128", threads: 1, threadsOff: `${dtype} ${threads} ${simd}` } };
        },
        ...overrides,
      };
    },
  };
}

/** A weights file for the fake engine: right magic, then noise. */
export function weights(size = 100_000, tag = "") {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8)) & 255;
  bytes.write(`GGUF${tag}`);
  return bytes;
}

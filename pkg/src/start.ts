/**
 * From `Cacher.load`'s options to a running client.
 */

import { requireKnown } from "./arguments.js";
import { type CacheSetUp, cacheSetUp as toCacheSetUp } from "./cache/settings.js";
import type { CacheOptions } from "./cache/types.js";
import { Client, type ClientSettings } from "./client.js";
import { CacherError, invalidOption } from "./errors.js";
import { parseSource, type SourceSpec } from "./models/source.js";
import type { Platform } from "./platform.js";
import type { Connection, Loaded, WasmInput } from "./protocol.js";
import { isSeed } from "./states/arguments.js";
import { stateSettings } from "./states/settings.js";
import type { Dtype, LoadOptions } from "./types.js";
import { startWorker, WorkerConnection } from "./worker-connection.js";

const OPTIONS = [
  "model",
  "dtype",
  "threads",
  "simd",
  "onProgress",
  "signal",
  "worker",
  "wasmUrl",
  "workerUrl",
  "modelsUrl",
  "hubUrl",
  "store",
  "states",
  "cache",
  "seed",
] as const satisfies (keyof LoadOptions)[];

const DTYPES = ["q8", "q5", "q4", "f32"] as const satisfies Dtype[];
const SIMD = ["auto", "relaxed", "simd128"] as const satisfies LoadOptions["simd"][];
const STORES = ["auto", "opfs", "indexeddb", "memory"] as const satisfies LoadOptions["store"][];

/** More than any browser tells of, and few enough for their stacks. */
const MAX_THREADS = 64;

export interface Started {
  client: Client;
  loaded: Loaded;
  /** `null`: without a cache. */
  cacheSetUp: CacheSetUp | null;
}

export async function start(options: LoadOptions, platform: Platform): Promise<Started> {
  if (typeof options !== "object" || options === null) {
    throw new CacherError("invalid-argument", "load: an object with `model` is needed");
  }
  requireKnown(options, OPTIONS, "load");
  const cacheSetUp = toCacheSetUp(options.cache, platform.defaultLayers());
  const { dtype = "q8", threads = "auto", simd = "auto", store = "auto", worker = platform.defaultWorker() } = options;
  requireOneOf("dtype", dtype, DTYPES);
  requireOneOf("simd", simd, SIMD);
  requireOneOf("store", store, STORES);
  if (threads !== "auto" && !(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw new CacherError("invalid-argument", `threads: must be "auto" or a whole number from 1 to ${MAX_THREADS}`);
  }
  if (options.seed !== undefined && !isSeed(options.seed)) {
    throw invalidOption("seed", options.seed, "a whole number from 0 to 2^53-1, or a bigint up to 2^64-1");
  }
  const base = platform.base();
  const source = parseSource(options, base);
  const settings: ClientSettings<"load"> = {
    connect: () => connect(worker, urlOption(options.workerUrl, base), platform),
    method: "load",
    request: {
      source: worker === false ? source : withBlobs(source),
      store,
      states: stateSettings(options.states),
      cache: cacheSetUp?.settings ?? null,
      dtype,
      threads,
      simd,
      wasm: wasmOption(options.wasmUrl, base),
    },
    unrepeatable: unrepeatable(worker, source),
  };
  const { client, value } = await Client.start(settings, {
    signal: options.signal,
    ...(options.onProgress === undefined ? {} : { onEvent: options.onProgress }),
  });
  return { client, loaded: value, cacheSetUp };
}

/** Where a cache without a model runs; as in `LoadOptions`. */
export type OpenOptions = Pick<LoadOptions, "worker" | "wasmUrl" | "workerUrl" | "signal">;

/** A client of a host without a model. */
export async function openClient(
  { worker: wanted, wasmUrl, workerUrl, signal, ...options }: CacheOptions & OpenOptions,
  platform: Platform,
): Promise<{ client: Client; setUp: CacheSetUp }> {
  const worker = wanted ?? platform.defaultWorker();
  const base = platform.base();
  const setUp = toCacheSetUp(options, platform.defaultLayers())!;
  const runtime = { dtype: "q8", threads: 1, simd: "auto", wasm: wasmOption(wasmUrl, base) } as const;
  const { client } = await Client.start<"open">(
    {
      connect: () => connect(worker, urlOption(workerUrl, base), platform),
      method: "open",
      request: { ...runtime, cache: setUp.settings },
      unrepeatable: typeof worker === "boolean" ? null : CALLERS_WORKER,
    },
    { signal },
  );
  return { client, setUp };
}

async function connect(
  worker: boolean | Worker,
  workerUrl: string | undefined,
  platform: Platform,
): Promise<Connection> {
  if (worker === false) {
    const { LocalConnection } = await import("./local-connection.js");
    return new LocalConnection(await platform.environment());
  }
  if (worker !== true) return new WorkerConnection(worker);
  if (typeof Worker === "undefined") {
    throw new CacherError("unsupported-browser", "there are no Web Workers here; leave out `worker` or pass false");
  }
  return new WorkerConnection(startWorker(workerUrl));
}

const CALLERS_WORKER = "the worker was the caller's";

/** Why a crashed engine could not be loaded again; holding on to the caller's bytes would double the memory. */
function unrepeatable(worker: boolean | Worker, source: SourceSpec): string | null {
  if (typeof worker !== "boolean") return CALLERS_WORKER;
  const hasBytes = source.kind === "files" && source.files.some(({ data }) => data instanceof Uint8Array);
  return hasBytes ? "the model's bytes were the caller's" : null;
}

/**
 * Bytes as Blobs: posting a Blob hands over a reference, posting bytes copies
 * them into the worker as a whole, and transferring would take them from the
 * caller.
 */
function withBlobs(source: SourceSpec): SourceSpec {
  if (source.kind !== "files") return source;
  return {
    kind: "files",
    files: source.files.map(({ name, data }) => ({
      name,
      data: data instanceof Blob ? data : new Blob([data as Uint8Array<ArrayBuffer>]),
    })),
  };
}

function requireOneOf(option: string, value: string, choices: readonly string[]): void {
  if (choices.includes(value)) return;
  const names = choices.map((choice) => `"${choice}"`).join(", ");
  throw new CacherError("invalid-argument", `${option}: "${String(value)}" is not one of ${names}`);
}

function wasmOption(wasm: LoadOptions["wasmUrl"], base: string): WasmInput | undefined {
  return typeof wasm === "string" || wasm instanceof URL ? urlOption(wasm, base) : wasm;
}

function urlOption(url: string | URL | undefined, base: string): string | undefined {
  return url === undefined ? undefined : new URL(url, base).href;
}

/**
 * Starts the single-threaded wasm instance of this thread, once for all who
 * use it.
 *
 * After a trap the instance is unusable for everyone; the next to ask gets a
 * new one from the same compiled module.
 */

import { chooseSimd, urlInFolder } from "./builds.js";
import type { EngineModule, Runtime, StartedRuntime } from "./engine.js";
import { CacherError, messageOf } from "./errors.js";
import { request, statusError, type Fetch } from "./models/http.js";
import type { RuntimeRequest, WasmInput } from "./protocol.js";
import type { SimdLevel } from "./types.js";
// The builds for one thread differ in their kernels alone, so this goes with each of them.
import * as glue from "./wasm/cacher_wasm.js";

let current: Promise<Runtime> | undefined;
/** The build that this thread's glue code holds an instance of already. */
let instantiated: SimdLevel | undefined;

/**
 * `wanted.wasm` counts for the first call on this thread; `fetch` gets the
 * file; `threadsOff` is why there are no threads.
 */
export async function wasmRuntime(fetch: Fetch, wanted: RuntimeRequest, threadsOff: string): Promise<StartedRuntime> {
  const starting = Promise.resolve(current)
    .catch(() => undefined)
    .then((earlier) => (earlier?.alive === true ? earlier : start(fetch, wanted)));
  current = starting;
  const runtime = await starting;
  const simd = instantiated as SimdLevel;
  if (wanted.simd !== "auto" && wanted.simd !== simd) {
    throw new CacherError("invalid-argument", `simd: this thread runs the ${simd} build already`);
  }
  return { runtime, info: { simd, threads: 1, threadsOff } };
}

async function start(fetch: Fetch, wanted: RuntimeRequest): Promise<Runtime> {
  const simd = instantiated ?? chooseSimd(wanted);
  try {
    let input: Awaited<ReturnType<typeof fetchWasm>> = new Uint8Array(0);
    if (instantiated === undefined) input = await fetchWasm(fetch, wanted.wasm ?? bundledUrl(simd), simd);
    else glue.__wbg_reset_state();
    // Where there is an instance, this gives its exports and leaves the input alone.
    const { memory } = await glue.default({ module_or_path: input });
    instantiated = simd;
    return { module: glue satisfies EngineModule, memory, alive: true };
  } catch (error) {
    throw startError(error);
  }
}

function bundledUrl(simd: SimdLevel): string {
  // Written out so that bundlers see the files and carry them along.
  return simd === "relaxed"
    ? new URL("./wasm/cacher_wasm_relaxed_bg.wasm", import.meta.url).href
    : new URL("./wasm/cacher_wasm_bg.wasm", import.meta.url).href;
}

async function fetchWasm(
  fetch: Fetch,
  wasm: WasmInput,
  simd: SimdLevel,
): Promise<Response | BufferSource | WebAssembly.Module> {
  return typeof wasm === "string" ? fetchFile(fetch, urlInFolder(wasm, simd) ?? wasm) : wasm;
}

export async function fetchFile(fetch: Fetch, url: string): Promise<Response> {
  const response = await request(fetch, url);
  if (!response.ok) throw statusError(url, response.status);
  return response;
}

/** Why an instance did not start. */
export function startError(error: unknown): CacherError {
  const code = error instanceof RangeError ? "out-of-memory" : "engine-unavailable";
  return new CacherError(code, `the wasm module did not start: ${messageOf(error)}`, {}, { cause: error });
}

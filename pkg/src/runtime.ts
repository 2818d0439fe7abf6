/**
 * Starts the wasm instance of this thread, once for all who use it.
 *
 * After a trap the instance is unusable for everyone; the next to ask gets a
 * new one from the same compiled module.
 */

import type { EngineModule, Runtime } from "./engine.js";
import { CacherError, messageOf } from "./errors.js";
import { request, statusError, type Fetch } from "./models/http.js";
import type { WasmInput } from "./protocol.js";
import * as glue from "./wasm/cacher_wasm.js";

/** A module of one function that makes an i8x16 vector and counts its bits: needs SIMD. */
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

let current: Promise<Runtime> | undefined;
/** Whether this thread's glue code holds an instance already. */
let instantiated = false;

/** `wasm` counts for the first call on this thread; `fetch` gets the file. */
export async function wasmRuntime(fetch: Fetch, wasm: WasmInput | undefined): Promise<Runtime> {
  const earlier = await current?.catch(() => undefined);
  if (earlier?.alive === true) return earlier;
  const starting = start(fetch, wasm);
  current = starting;
  return starting;
}

async function start(fetch: Fetch, wasm: WasmInput | undefined): Promise<Runtime> {
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(SIMD_PROBE)) {
    throw new CacherError("unsupported-browser", "this browser has no WebAssembly SIMD, which the engine needs");
  }
  try {
    if (instantiated) glue.__wbg_reset_state();
    else await glue.default({ module_or_path: await moduleInput(fetch, wasm) });
    instantiated = true;
    return { module: glue satisfies EngineModule, alive: true };
  } catch (error) {
    const code = error instanceof RangeError ? "out-of-memory" : "engine-unavailable";
    throw new CacherError(code, `the wasm module did not start: ${messageOf(error)}`, {}, { cause: error });
  }
}

async function moduleInput(fetch: Fetch, wasm: WasmInput | undefined): Promise<Response | BufferSource | WebAssembly.Module> {
  // Written out so that bundlers see the file and carry it along.
  const input = wasm ?? new URL("./wasm/cacher_wasm_bg.wasm", import.meta.url).href;
  if (typeof input !== "string") return input;
  const response = await request(fetch, input);
  if (!response.ok) throw statusError(input, response.status);
  return response;
}

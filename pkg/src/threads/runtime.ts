/**
 * Starts the engine's build for threads where that is possible, else the one
 * for a single thread.
 */

import { urlInFolder } from "../builds.js";
import type { EngineModule, Runtime, StartedRuntime } from "../engine.js";
import type { Fetch } from "../models/http.js";
import type { RuntimeRequest } from "../protocol.js";
import { fetchFile, startError, wasmRuntime } from "../runtime.js";
import type { RuntimeInfo } from "../types.js";
import * as glue from "../wasm/cacher_wasm_threads.js";
import { sharedMemory } from "./memory.js";
import { planThreads, surroundings } from "./plan.js";
import { startPool } from "./pool.js";

/** For a worker; it holds one engine in its life. */
export async function threadedRuntime(
  fetch: Fetch,
  wanted: RuntimeRequest,
  onCrash: (message: string) => void,
): Promise<StartedRuntime> {
  const count = planThreads(wanted, surroundings());
  if (typeof count === "string") return wasmRuntime(fetch, wanted, count);
  const memory = sharedMemory();
  if (memory === undefined) return wasmRuntime(fetch, wanted, "this browser grants no memory that threads could share");

  let module: WebAssembly.Module;
  try {
    module = await compile(await fetchFile(fetch, urlInFolder(wanted.wasm, "threads") ?? bundledUrl()));
    await glue.default({ module_or_path: module, memory });
  } catch (error) {
    throw startError(error);
  }
  const runtime: Runtime = {
    module: glue satisfies EngineModule,
    memory,
    alive: true,
    // Safe after a trap too: it sets a flag. Each thread then ends by itself.
    close: () => glue.stopThreads(),
  };
  const info = startPool({ count: count - 1, start: { module, memory }, onCrash }).then(
    ({ size, problem }): RuntimeInfo => {
      // Between two calls into the engine, never within one: nothing here runs then.
      if (size > 0) glue.setThreads(1 + size);
      return { simd: "relaxed", threads: 1 + size, threadsOff: size > 0 ? null : `threads did not start: ${problem}` };
    },
  );
  return { runtime, info };
}

function bundledUrl(): string {
  // Written out so that bundlers see the file and carry it along.
  return new URL("../wasm/cacher_wasm_threads_bg.wasm", import.meta.url).href;
}

/** While it is being downloaded, where the server names its type; else afterwards. */
async function compile(response: Response): Promise<WebAssembly.Module> {
  const streams = /^application\/wasm\b/.test(response.headers.get("content-type") ?? "");
  return streams ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

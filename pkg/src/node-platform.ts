/**
 * Node's side of `Platform`: the working directory as base, and files on disk
 * read as streams through the same interface as downloads.
 */

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Fetch } from "./models/http.js";
import type { Platform } from "./platform.js";

/** `fetch` that also answers for `file:` URLs. */
const nodeFetch: Fetch = async (url, init) => {
  if (!url.startsWith("file:")) return fetch(url, init);
  const path = fileURLToPath(url);
  const info = await stat(path).catch(() => undefined);
  if (info === undefined || !info.isFile()) return new Response(null, { status: 404 });
  const type = path.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
  const headers = { "content-type": type, "content-length": String(info.size) };
  if (init?.method === "HEAD") return new Response(null, { headers });
  const stream = createReadStream(path, { signal: init?.signal ?? undefined });
  return new Response(Readable.toWeb(stream) as ReadableStream<Uint8Array<ArrayBuffer>>, { headers });
};

export const nodePlatform: Platform = {
  base: () => pathToFileURL(`${process.cwd()}/`).href,
  defaultWorker: () => false,
  fetch: nodeFetch,
  defaultLayers: () => [],
  async environment() {
    const { wasmRuntime } = await import("./runtime.js");
    const { FileLayer } = await import("./cache-layers/file.js");
    return {
      fetch: nodeFetch,
      runtime: (fetch, wanted) => wasmRuntime(fetch, wanted, "there are no threads in Node"),
      openFileLayer: (folder, limits) => new FileLayer({ folder, ...limits }),
    };
  },
};

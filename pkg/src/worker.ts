/**
 * The worker's script: an engine host that speaks over `postMessage`.
 */

import { EngineHost } from "./engine-host.js";
import type { FromHost, ToHost } from "./protocol.js";
import { wasmRuntime } from "./runtime.js";

/** The DOM library types the page's global scope, not the worker's. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ToHost>) => void) | null;
  postMessage(message: FromHost, transfer: Transferable[]): void;
};

const host = new EngineHost(
  { fetch: (url, init) => fetch(url, init), runtime: wasmRuntime },
  (message, transfer = []) => scope.postMessage(message, transfer),
);
scope.onmessage = ({ data }) => host.receive(data);

/**
 * The worker's script: an engine host that speaks over `postMessage`, or, in a
 * worker that such a one has started, one of its threads.
 */

import { EngineHost } from "./engine-host.js";
import type { FromHost, ToHost } from "./protocol.js";
import type { ThreadStart } from "./threads/messages.js";
import { threadedRuntime } from "./threads/runtime.js";
import { becomeThread, type ThreadScope } from "./threads/thread.js";

/** The DOM library types the page's global scope, not the worker's. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ToHost | ThreadStart>) => void) | null;
  postMessage(message: FromHost, transfer: Transferable[]): void;
};

const host = new EngineHost(
  { fetch: (url, init) => fetch(url, init), runtime: threadedRuntime },
  (message, transfer = []) => scope.postMessage(message, transfer),
);
scope.onmessage = ({ data }) => {
  if (data.type === "thread") void becomeThread(data, scope as unknown as ThreadScope);
  else host.receive(data);
};

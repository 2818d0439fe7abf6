/**
 * Layers that live on the page while the host is in a worker: localStorage,
 * which workers do not have, and the caller's own objects.
 *
 * The host calls their methods by message; what they iterate over comes whole.
 */

import { type Limits, toRow } from "../cache-layers/facts.js";
import { LOCAL_TIMEOUT_MS } from "../cache-layers/time-limit.js";
import type { CleanUpRow, LocalLayer } from "../cache-layers/layer.js";
import { CacherError, messageOf } from "../errors.js";
import type { LayerCall } from "./requests.js";
import type { CacheLayer } from "./types.js";

/** The host's side: asks the page. */
export class PageCalls {
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #send: ((call: LayerCall) => void) | undefined;
  #queue: LayerCall[] = [];
  #last = 0;

  /** `send` goes to the page, until `signal` fires. */
  serve(send: (call: LayerCall) => void, signal: AbortSignal): Promise<null> {
    this.#send = send;
    for (const call of this.#queue.splice(0)) send(call);
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        this.#send = undefined;
        resolve(null);
      });
    });
  }

  answered({ call, value, error }: { call: number; value?: unknown; error?: string }): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new CacherError("storage-error", error));
  }

  async call(layer: number, method: string, args: unknown[], signal?: AbortSignal): Promise<unknown> {
    const call = { call: ++this.#last, layer, method, args };
    return new Promise((resolve, reject) => {
      this.#waiting.set(call.call, { resolve, reject });
      signal?.addEventListener("abort", () => this.answered({ call: call.call, error: "no answer in time" }), { once: true });
      if (this.#send === undefined) this.#queue.push(call);
      else this.#send(call);
    });
  }

  /** A layer on the page as one of the host's. */
  layer(index: number): CacheLayer {
    return {
      get: async (key, signal) => (await this.call(index, "get", [key], signal)) as Uint8Array | undefined,
      set: async (key, record, entry, signal) => void (await this.call(index, "set", [key, record, entry], signal)),
      delete: async (keys, signal) => void (await this.call(index, "delete", [keys], signal)),
      keys: (signal) => this.#batches(index, "keys", signal) as AsyncIterable<readonly string[]>,
      clear: async (signal) => void (await this.call(index, "clear", [], signal)),
    };
  }

  /** One that keeps facts, with these limits. */
  localLayer(index: number, limits: Limits): LocalLayer {
    const entries = (signal: AbortSignal) => this.#batches(index, "entries", signal) as ReturnType<LocalLayer["entries"]>;
    const layer = this.layer(index);
    return {
      ...layer,
      entries,
      used: async (uses) => void (await this.call(index, "used", [uses])),
      setPinned: async (key, pinned) => (await this.call(index, "setPinned", [key, pinned])) as boolean,
      usage: async () => (await this.call(index, "usage", [])) as { entries: number; bytes: number },
      cleanUp: async (choose) => {
        const { signal } = new AbortController();
        const rows: CleanUpRow[] = [];
        for await (const batch of entries(signal)) rows.push(...batch.map(toRow));
        const plan = choose(rows, limits);
        await layer.delete([...plan.expired, ...plan.evicted], signal);
        return plan;
      },
      close: () => undefined,
    };
  }

  async *#batches(index: number, method: string, signal: AbortSignal): AsyncIterable<readonly unknown[]> {
    yield (await this.call(index, method, [], signal)) as unknown[];
  }
}

/** Methods that the host waits for no longer than that; a large layer may take its time for the others. */
const LIMITED: readonly string[] = ["get", "set", "delete"];

/** The page's side: answers a call. */
export async function callLayer(layers: readonly (CacheLayer | undefined)[], { layer, method, args }: LayerCall): Promise<{ value?: unknown; error?: string }> {
  try {
    const target = layers[layer] as unknown as Record<string, (...args: unknown[]) => unknown>;
    const signal = LIMITED.includes(method) ? AbortSignal.timeout(LOCAL_TIMEOUT_MS) : new AbortController().signal;
    const returned = target[method]!(...args, signal);
    if (method !== "keys" && method !== "entries") return { value: await returned };
    const all: unknown[] = [];
    for await (const batch of returned as AsyncIterable<readonly unknown[]>) all.push(...batch);
    return { value: all };
  } catch (error) {
    return { error: messageOf(error) };
  }
}

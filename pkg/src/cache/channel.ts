/**
 * What the tabs that share a cache tell each other: answers that have come,
 * entries that are gone, and that whoever computes something still lives.
 *
 * Any script of the origin may post on the channel, so messages are checked.
 * A record in one is looked at like one from storage.
 */

export type CacheMessage =
  /** An answer has come; with it where it is not too large to be handed about. */
  | { kind: "set"; key: string; record: Uint8Array | null }
  /** The computing of it failed. */
  | { kind: "failed"; key: string; code: string; message: string }
  /** Entries were deleted; `null`: all. */
  | { kind: "deleted"; keys: string[] | null }
  /** Does whoever computes it still live? */
  | { kind: "waiting"; key: string }
  | { kind: "alive"; key: string };

export class CacheChannel {
  #channel: BroadcastChannel | undefined;
  readonly #listeners = new Set<(message: CacheMessage) => void>();

  /** Opens the channel of a cache; where there are none, nobody is told. */
  constructor(name: string) {
    if (typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel(`cacher-cache:${name}`);
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (isMessage(data)) for (const listener of [...this.#listeners]) listener(data);
    };
    // In Node an open channel would keep the process alive.
    if ("unref" in this.#channel) (this.#channel.unref as () => void)();
  }

  /** After `close`, nothing. */
  post(message: CacheMessage): void {
    this.#channel?.postMessage(message);
  }

  /** Calls `listener` with what other tabs say; returns the way out. */
  listen(listener: (message: CacheMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#listeners.clear();
    this.#channel?.close();
    this.#channel = undefined;
  }
}

const KEY = /^[0-9a-f]{64}$/;

export function isKey(value: unknown): value is string {
  return typeof value === "string" && KEY.test(value);
}

function isMessage(data: unknown): data is CacheMessage {
  if (typeof data !== "object" || data === null || !("kind" in data)) return false;
  const { kind, key, keys, record, code, message } = data as Record<string, unknown>;
  switch (kind) {
    case "set":
      return isKey(key) && (record === null || record instanceof Uint8Array);
    case "failed":
      return isKey(key) && typeof code === "string" && typeof message === "string";
    case "deleted":
      return keys === null || (Array.isArray(keys) && keys.every(isKey));
    case "waiting":
    case "alive":
      return isKey(key);
    default:
      return false;
  }
}

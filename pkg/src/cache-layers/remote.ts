/**
 * Records in Redis, which is reached over HTTP: shared by all who know the
 * server. Records are kept as base64, because both kinds of server speak JSON,
 * which holds text alone.
 */

import type { CacheEntry, CacheLayer } from "../cache/types.js";
import { CacherError } from "../errors.js";
import { fromBase64, toBase64 } from "./base64.js";

export type Command = readonly [name: string, ...values: (string | number)[]];

/** A way to Redis. */
export interface RedisHttp {
  /** Runs commands in order; what each answered. Rejects where one fails, which others may follow or not. */
  pipeline(commands: readonly Command[], signal: AbortSignal): Promise<unknown[]>;
}

/** Keys in one command. */
const BATCH = 1_000;
/** A record that would not come back through the limit on answers. */
const MAX_RECORD_BYTES = 47 << 20;

export class RemoteLayer implements CacheLayer {
  readonly #redis: RedisHttp;
  readonly #prefix: string;
  readonly #now: () => number;

  constructor(redis: RedisHttp, prefix: string, now: () => number = Date.now) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#now = now;
  }

  async get(key: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const [record] = await this.#redis.pipeline([["GET", this.#prefix + key]], signal);
    if (record === null) return undefined;
    if (typeof record !== "string") throw new CacherError("invalid-cache-record", "what was found is no text");
    return fromBase64(record);
  }

  /** Redis deletes it when it expires; one that has expired is not written. */
  async set(key: string, record: Uint8Array, entry: CacheEntry, signal: AbortSignal): Promise<void> {
    if (record.length > MAX_RECORD_BYTES) throw new CacherError("storage-full", "the record is too large for a remote layer");
    const ttl = entry.expires === null ? Infinity : Math.ceil(entry.expires - this.#now());
    if (ttl <= 0) return;
    const command = ["SET", this.#prefix + key, toBase64(record)] as const;
    await this.#redis.pipeline([ttl === Infinity ? command : [...command, "PX", ttl]], signal);
  }

  async delete(keys: readonly string[], signal: AbortSignal): Promise<void> {
    for (let at = 0; at < keys.length; at += BATCH) {
      const batch = keys.slice(at, at + BATCH).map((key) => this.#prefix + key);
      await this.#redis.pipeline([["UNLINK", ...batch]], signal);
    }
  }

  /** Some may come twice: Redis does so while its table of keys grows or shrinks. */
  async *keys(signal: AbortSignal): AsyncGenerator<string[]> {
    const pattern = `${this.#prefix.replace(/[\\*?[\]]/g, "\\$&")}*`;
    let cursor = "0";
    do {
      const [answer] = await this.#redis.pipeline([["SCAN", cursor, "MATCH", pattern, "COUNT", BATCH]], signal);
      const [next, names] = Array.isArray(answer) ? answer : [];
      if (!/^\d+$/.test(String(next)) || !Array.isArray(names)) {
        throw new CacherError("http-error", "the answer to SCAN is not that of Redis");
      }
      cursor = String(next);
      const ours = names.filter((name): name is string => typeof name === "string" && name.startsWith(this.#prefix));
      if (ours.length > 0) yield ours.map((name) => name.slice(this.#prefix.length));
    } while (cursor !== "0");
  }

  async clear(signal: AbortSignal): Promise<void> {
    for await (const keys of this.keys(signal)) await this.delete(keys, signal);
  }
}

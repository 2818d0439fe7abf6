/**
 * Records in `localStorage`: a page's own few, for where there is no IndexedDB.
 *
 * One item an entry, so that it is written as a whole: its facts as JSON, a
 * line feed (which JSON writes as `\n`), and the record in base64.
 */

import type { CacheEntry } from "../cache/types.js";
import { CacherError } from "../errors.js";
import { storageError } from "../store/store.js";
import { fromBase64, toBase64 } from "./base64.js";
import { afterUse, readFacts, requireFits, toRow, type LayerNotices, type Limits } from "./facts.js";
import type { CleanUpPlan, CleanUpRow, LocalLayer, Use } from "./layer.js";

export class LocalStorageLayer implements LocalLayer {
  readonly #prefix: string;
  readonly #limits: Limits;
  readonly #notices: LayerNotices;

  /** `name`: of the cache; its items' names begin so. */
  constructor(name: string, limits: Limits, notices: LayerNotices) {
    this.#prefix = `${name}/`;
    this.#limits = limits;
    this.#notices = notices;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const item = this.#storage().getItem(this.#prefix + key);
    if (item === null) return undefined;
    try {
      return fromBase64(item.slice(split(item) + 1));
    } catch {
      this.#reject([key]);
      return undefined;
    }
  }

  async set(key: string, record: Uint8Array, entry: CacheEntry): Promise<void> {
    requireFits(record, this.#limits);
    const text = toBase64(record);
    const pinned = entry.pinned || this.#facts(key)?.pinned === true;
    const put = () => this.#put({ ...entry, key, layers: [], pinned }, text);
    try {
      put();
    } catch (error) {
      if (!(error instanceof CacherError) || error.code !== "storage-full") throw error;
      const keys = surplus(this.#entries(), Date.now());
      await this.delete(keys);
      this.#notices.onevicted(keys);
      put();
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    const storage = this.#storage();
    for (const key of keys) storage.removeItem(this.#prefix + key);
  }

  async *keys(): AsyncGenerator<string[]> {
    yield this.#keys();
  }

  async clear(): Promise<void> {
    await this.delete(this.#keys());
  }

  async *entries(): AsyncGenerator<CacheEntry[]> {
    yield this.#entries();
  }

  async used(uses: readonly Use[]): Promise<void> {
    for (const use of uses) this.#change(use.key, (facts) => afterUse(facts, use));
  }

  async setPinned(key: string, pinned: boolean): Promise<boolean> {
    return this.#change(key, (facts) => ({ ...facts, pinned }));
  }

  async cleanUp(choose: (rows: CleanUpRow[], limits: Limits) => CleanUpPlan): Promise<CleanUpPlan> {
    const plan = choose(this.#entries().map(toRow), this.#limits);
    await this.delete([...plan.expired, ...plan.evicted]);
    return plan;
  }

  async usage(): Promise<{ entries: number; bytes: number }> {
    const entries = this.#entries();
    return { entries: entries.length, bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  close(): void {
    // There is nothing that is held open.
  }

  #storage(): Storage {
    try {
      // Where the user has forbidden it, this throws; where an app shows pages, it may be null.
      if (localStorage) return localStorage;
      throw new Error("localStorage is not available here");
    } catch (error) {
      throw storageError(error);
    }
  }

  #keys(): string[] {
    const { length } = this.#prefix;
    return Object.keys(this.#storage())
      .filter((name) => name.startsWith(this.#prefix))
      .map((name) => name.slice(length));
  }

  /** All of them; what is not right is deleted. */
  #entries(): CacheEntry[] {
    const found = this.#keys().map((key) => ({ key, facts: this.#facts(key) }));
    const wrong = found.filter(({ facts }) => facts === undefined);
    if (wrong.length > 0) this.#reject(wrong.map(({ key }) => key));
    return found.flatMap(({ facts }) => facts ?? []);
  }

  #facts(key: string): CacheEntry | undefined {
    const item = this.#storage().getItem(this.#prefix + key) ?? "";
    try {
      const facts = readFacts(JSON.parse(item.slice(0, split(item))));
      return facts?.key === key ? facts : undefined;
    } catch {
      return undefined;
    }
  }

  #put(facts: CacheEntry, record: string): void {
    try {
      this.#storage().setItem(this.#prefix + facts.key, `${JSON.stringify(facts)}\n${record}`);
    } catch (error) {
      throw storageError(error);
    }
  }

  /** False where there is no such entry. */
  #change(key: string, edit: (facts: CacheEntry) => CacheEntry): boolean {
    const facts = this.#facts(key);
    if (facts === undefined) return false;
    const item = this.#storage().getItem(this.#prefix + key)!;
    this.#put(edit(facts), item.slice(split(item) + 1));
    return true;
  }

  #reject(keys: string[]): void {
    for (const key of keys) this.#storage().removeItem(this.#prefix + key);
    this.#notices.onrejected(keys.length);
  }
}

/** Where the facts end. */
function split(item: string): number {
  const end = item.indexOf("\n");
  return end < 0 ? item.length : end;
}

/**
 * Which entries go where the browser has no room: the expired, and of the
 * others the tenth that was used least recently. Pinned ones stay.
 */
function surplus(entries: readonly CacheEntry[], now: number): string[] {
  const loose = entries.filter(({ pinned }) => !pinned).sort((a, b) => a.lastUsed - b.lastUsed);
  const expired = loose.filter(({ expires }) => expires !== null && expires <= now);
  const rest = loose.filter((entry) => !expired.includes(entry));
  return [...expired, ...rest.slice(0, Math.ceil(rest.length / 10))].map(({ key }) => key);
}

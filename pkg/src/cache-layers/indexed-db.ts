/**
 * Records in IndexedDB: they survive a reload, and all tabs share them.
 *
 * | store     | key   | value                                             |
 * | --------- | ----- | ------------------------------------------------- |
 * | `entries` | `key` | the facts: `CacheEntry`, its `layers` empty       |
 * | `records` | key   | bytes                                             |
 * | `vectors` | `key` | `StoredVector`                                    |
 *
 * The facts lie apart so that they can be listed, and old entries found,
 * without reading the records. Both are written in one transaction. It is not
 * waited for until they are on the disk: a lost answer is computed again.
 */

import type { CacheEntry } from "../cache/types.js";
import { CacherError, throwIfAborted } from "../errors.js";
import { Connection, done } from "../store/connection.js";
import { openDatabase } from "../store/database.js";
import { afterUse, readFacts, requireFits, toRow, type LayerNotices, type Limits } from "./facts.js";
import type { CleanUpPlan, CleanUpRow, LocalLayer, StoredVector, Use } from "./layer.js";

const VERSION = 1;
const [FACTS, RECORDS, VECTORS] = ["entries", "records", "vectors"] as const;
/** Rows that are read or deleted in one transaction, so that no other has to wait for long. */
const BATCH = 500;

export class IndexedDbLayer implements LocalLayer {
  readonly #connection: Connection;
  readonly #limits: Limits;
  readonly #notices: LayerNotices;

  /** `name`: of the database, which is opened with the first call. */
  constructor(name: string, limits: Limits, notices: LayerNotices) {
    const schema = { name, version: VERSION, contents: "the stored answers", upgrade };
    this.#connection = new Connection(() => openDatabase(schema), "relaxed");
    this.#limits = limits;
    this.#notices = notices;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const record = await this.#connection.run([RECORDS], "readonly", (transaction) =>
      done<unknown>(transaction.objectStore(RECORDS).get(key)),
    );
    if (record === undefined || record instanceof Uint8Array) return record;
    await this.#reject([key]);
    return undefined;
  }

  async set(key: string, record: Uint8Array, entry: CacheEntry): Promise<void> {
    requireFits(record, this.#limits);
    // A copy: of a view, all the memory below it would be stored, as it is by then.
    const bytes = record.slice();
    const put = () =>
      this.#connection.run([FACTS, RECORDS], "readwrite", async (transaction) => {
        const facts = transaction.objectStore(FACTS);
        const before = readFacts(await done<unknown>(facts.get(key)));
        facts.put({ ...entry, key, layers: [], pinned: entry.pinned || before?.pinned === true });
        transaction.objectStore(RECORDS).put(bytes, key);
      });
    try {
      await put();
    } catch (error) {
      if (!(error instanceof CacherError) || error.code !== "storage-full") throw error;
      await this.#makeRoom();
      await put();
    }
  }

  async delete(keys: readonly IDBValidKey[]): Promise<void> {
    for (let at = 0; at < keys.length; at += BATCH) {
      await this.#connection.run([FACTS, RECORDS, VECTORS], "readwrite", async (transaction) => {
        for (const store of [FACTS, RECORDS, VECTORS]) {
          for (const key of keys.slice(at, at + BATCH)) transaction.objectStore(store).delete(key);
        }
      });
    }
  }

  async *keys(signal: AbortSignal): AsyncGenerator<string[]> {
    for await (const entries of this.entries(signal)) yield entries.map(({ key }) => key);
  }

  async clear(): Promise<void> {
    await this.#connection.run([FACTS, RECORDS, VECTORS], "readwrite", async (transaction) => {
      for (const store of [FACTS, RECORDS, VECTORS]) transaction.objectStore(store).clear();
    });
  }

  entries(signal?: AbortSignal): AsyncGenerator<CacheEntry[]> {
    return this.#read(FACTS, readFacts, signal);
  }

  async used(uses: readonly Use[]): Promise<void> {
    await this.#connection.run([FACTS], "readwrite", async (transaction) => {
      for (const use of uses) await change(transaction, use.key, (facts) => afterUse(facts, use));
    });
  }

  async setPinned(key: string, pinned: boolean): Promise<boolean> {
    return this.#connection.run([FACTS], "readwrite", (transaction) => change(transaction, key, (facts) => ({ ...facts, pinned })));
  }

  async cleanUp(choose: (rows: CleanUpRow[], limits: Limits) => CleanUpPlan): Promise<CleanUpPlan> {
    const rows: CleanUpRow[] = [];
    for await (const entries of this.entries()) rows.push(...entries.map(toRow));
    const plan = choose(rows, this.#limits);
    await this.delete([...plan.expired, ...plan.evicted]);
    return plan;
  }

  async usage(): Promise<{ entries: number; bytes: number }> {
    const usage = { entries: 0, bytes: 0 };
    for await (const entries of this.entries()) {
      usage.entries += entries.length;
      for (const { bytes } of entries) usage.bytes += bytes;
    }
    return usage;
  }

  async setVector({ key, family, prompt, vector }: StoredVector): Promise<void> {
    const row = { key, family, prompt, vector: vector.slice() };
    await this.#connection.run([FACTS, VECTORS], "readwrite", async (transaction) => {
      const there = await done(transaction.objectStore(FACTS).getKey(key));
      if (there !== undefined) transaction.objectStore(VECTORS).put(row);
    });
  }

  vectors(signal: AbortSignal): AsyncGenerator<StoredVector[]> {
    return this.#read(VECTORS, readVector, signal);
  }

  close(): void {
    this.#connection.close();
  }

  /** All rows of a store; what `check` does not take is deleted. */
  async *#read<Row>(store: string, check: (value: unknown) => Row | undefined, signal?: AbortSignal): AsyncGenerator<Row[]> {
    let rest: IDBKeyRange | undefined;
    for (;;) {
      throwIfAborted(signal);
      const [keys, values] = await this.#connection.run([store], "readonly", (transaction) => {
        const rows = transaction.objectStore(store);
        return Promise.all([done(rows.getAllKeys(rest, BATCH)), done<unknown[]>(rows.getAll(rest, BATCH))]);
      });
      const last = keys.at(-1);
      if (last === undefined) return;
      rest = IDBKeyRange.lowerBound(last, true);
      const checked = values.map(check);
      const wrong = keys.filter((_, index) => checked[index] === undefined);
      if (wrong.length > 0) await this.#reject(wrong);
      yield checked.filter((row) => row !== undefined);
    }
  }

  async #reject(keys: readonly IDBValidKey[]): Promise<void> {
    await this.delete(keys);
    this.#notices.onrejected(keys.length);
  }

  /** Deletes the expired entries and, of the others, the tenth that was used least recently; no pinned ones. */
  async #makeRoom(): Promise<void> {
    const keys = await this.#connection.run([FACTS], "readonly", async (transaction) => {
      const facts = transaction.objectStore(FACTS);
      const wanted = Math.ceil((await done(facts.count())) / 10);
      const found = [
        ...(await first(facts.index("expires").openCursor(IDBKeyRange.upperBound(Date.now())), Infinity)),
        ...(await first(facts.index("lastUsed").openCursor(), wanted)),
      ];
      return [...new Set(found)];
    });
    await this.delete(keys);
    this.#notices.onevicted(keys);
  }
}

async function upgrade(database: IDBDatabase, _: IDBTransaction, from: number): Promise<void> {
  if (from < 1) {
    const facts = database.createObjectStore(FACTS, { keyPath: "key" });
    // An entry that never expires is not in the index.
    facts.createIndex("expires", "expires");
    facts.createIndex("lastUsed", "lastUsed");
    database.createObjectStore(RECORDS);
    database.createObjectStore(VECTORS, { keyPath: "key" });
  }
}

/** False where there are no such facts. */
async function change(transaction: IDBTransaction, key: string, edit: (facts: CacheEntry) => CacheEntry): Promise<boolean> {
  const store = transaction.objectStore(FACTS);
  const facts = readFacts(await done<unknown>(store.get(key)));
  if (facts !== undefined) store.put(edit(facts));
  return facts !== undefined;
}

/** The keys of the first entries that a cursor comes by, without the pinned ones. */
async function first(request: IDBRequest<IDBCursorWithValue | null>, limit: number): Promise<string[]> {
  const keys: string[] = [];
  for (let cursor = await done(request); cursor !== null && keys.length < limit; cursor = await done(request)) {
    const { key, pinned } = cursor.value as CacheEntry;
    if (pinned !== true) keys.push(key);
    cursor.continue();
  }
  return keys;
}

function readVector(value: unknown): StoredVector | undefined {
  const { key, family, prompt, vector } = (value ?? {}) as StoredVector;
  const valid =
    [key, family, prompt].every((text) => typeof text === "string") &&
    vector instanceof Float32Array &&
    vector.length > 0 &&
    vector.every(Number.isFinite);
  return valid ? { key, family, prompt, vector } : undefined;
}

/**
 * The model store in IndexedDB, for where OPFS is missing or read-only.
 *
 * Files are kept as pieces of a few megabytes: one large value would have to be
 * in memory as a whole, and some browsers refuse it. The dozen lines of promise
 * wrapping are here, not from a library, so that the worker also starts where
 * no bundler resolves bare imports.
 */

import { sliceReader, type FileReader } from "./reader.js";
import {
  parseRecord,
  storageError,
  type FileWriter,
  type ModelRecord,
  type ModelStore,
} from "./store.js";

const NAME = "cacher-models";
const VERSION = 1;
const RECORDS = "records";
/** Key: `[id, file name, offset]`; value: the bytes from there on. */
const PIECES = "pieces";
const PIECE_BYTES = 4 << 20;

/** Opens the database, whose failure in some private windows shows only then. */
export async function openIndexedDbStore(): Promise<ModelStore> {
  const store = new IndexedDbStore();
  await store.list();
  return store;
}

class IndexedDbStore implements ModelStore {
  readonly backend = "indexeddb";
  #database: Promise<IDBDatabase> | undefined;

  async list(): Promise<ModelRecord[]> {
    const records = await this.#run("readonly", (records) => done<unknown[]>(records.getAll()));
    return records.flatMap((value) => parseRecord(value) ?? []);
  }

  async get(id: string): Promise<ModelRecord | undefined> {
    return parseRecord(await this.#run("readonly", (records) => done<unknown>(records.get(id))));
  }

  async put(record: ModelRecord): Promise<void> {
    await this.#run("readwrite", (records) => done(records.put(record)));
  }

  async delete(id: string): Promise<void> {
    await this.#run("readwrite", async (records, pieces) => {
      pieces.delete(IDBKeyRange.bound([id], [id, []]));
      await done(records.delete(id));
    });
  }

  async size(id: string, name: string): Promise<number> {
    return this.#run("readonly", async (_, pieces) => {
      const cursor = await done(pieces.openCursor(rangeOf(id, name), "prev"));
      return cursor === null ? 0 : offsetOf(cursor.key) + (cursor.value as Uint8Array).length;
    });
  }

  async append(id: string, name: string, from: "start" | "end"): Promise<FileWriter> {
    if (from === "start") {
      await this.#run("readwrite", (_, pieces) => done(pieces.delete(rangeOf(id, name))));
    }
    let at = await this.size(id, name);
    let buffer = new Uint8Array(PIECE_BYTES);
    let used = 0;
    const flush = async () => {
      if (used === 0) return;
      const piece = buffer.slice(0, used);
      await this.#run("readwrite", (_, pieces) => done(pieces.put(piece, [id, name, at])));
      at += used;
      used = 0;
    };
    return {
      write: async (bytes) => {
        for (let from = 0; from < bytes.length; ) {
          const part = bytes.subarray(from, from + PIECE_BYTES - used);
          buffer.set(part, used);
          used += part.length;
          from += part.length;
          if (used === PIECE_BYTES) await flush();
        }
      },
      close: async () => {
        await flush();
        buffer = new Uint8Array(0);
      },
    };
  }

  async *read(id: string, name: string): AsyncGenerator<Uint8Array> {
    for (let at = 0; ; ) {
      const piece = await this.#run("readonly", (_, pieces) => done<unknown>(pieces.get([id, name, at])));
      if (!(piece instanceof Uint8Array) || piece.length === 0) return;
      yield piece;
      at += piece.length;
    }
  }

  async open(id: string, name: string): Promise<FileReader> {
    return sliceReader(this.read(id, name));
  }

  async remove(id: string, name: string): Promise<void> {
    await this.#run("readwrite", (_, pieces) => done(pieces.delete(rangeOf(id, name))));
  }

  /**
   * Runs one transaction and waits until it is durable. WebKit sometimes loses
   * the connection under a page; the handle is then dead for good, so a new
   * one is opened and the work repeated, once.
   */
  async #run<T>(
    mode: IDBTransactionMode,
    work: (records: IDBObjectStore, pieces: IDBObjectStore) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        this.#database ??= this.#open();
        const transaction = (await this.#database).transaction([RECORDS, PIECES], mode, { durability: "strict" });
        const committed = finished(transaction);
        committed.catch(() => undefined);
        const value = await work(transaction.objectStore(RECORDS), transaction.objectStore(PIECES)).catch(
          // Why the transaction was aborted (the quota, say) tells more than its request's error.
          (error: unknown) => committed.then(() => Promise.reject(error)),
        );
        await committed;
        return value;
      } catch (error) {
        const lost = error instanceof Error && ["InvalidStateError", "UnknownError"].includes(error.name);
        if (!lost || attempt > 0) throw storageError(error);
        this.#database = undefined;
      }
    }
  }

  async #open(): Promise<IDBDatabase> {
    if (typeof indexedDB === "undefined") throw new Error("not available here");
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(RECORDS, { keyPath: "id" });
      request.result.createObjectStore(PIECES);
    };
    const database = await done(request);
    const forget = () => {
      this.#database = undefined;
    };
    // Another tab wants to upgrade or delete the database: do not stand in its way.
    database.onversionchange = () => {
      database.close();
      forget();
    };
    database.onclose = forget;
    return database;
  }
}

function rangeOf(id: string, name: string): IDBKeyRange {
  return IDBKeyRange.bound([id, name], [id, name, []]);
}

function offsetOf(key: IDBValidKey): number {
  return Number((key as IDBValidKey[])[2]);
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException("the transaction was aborted", "AbortError"));
  });
}

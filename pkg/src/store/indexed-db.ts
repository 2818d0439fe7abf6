/**
 * The model store in IndexedDB, for where OPFS is missing or read-only.
 *
 * Files are kept as pieces of a few megabytes: one large value would have to be
 * in memory as a whole, and some browsers refuse it.
 */

import { Connection, done } from "./connection.js";
import { sliceReader, type FileReader } from "./reader.js";
import { parseRecord, type FileWriter, type ModelRecord, type ModelStore } from "./store.js";

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
  readonly #connection = new Connection(openDatabase);

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

  #run<T>(
    mode: IDBTransactionMode,
    work: (records: IDBObjectStore, pieces: IDBObjectStore) => Promise<T>,
  ): Promise<T> {
    return this.#connection.run([RECORDS, PIECES], mode, (transaction) =>
      work(transaction.objectStore(RECORDS), transaction.objectStore(PIECES)),
    );
  }
}

async function openDatabase(): Promise<IDBDatabase> {
  if (typeof indexedDB === "undefined") throw new Error("not available here");
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(RECORDS, { keyPath: "id" });
    request.result.createObjectStore(PIECES);
  };
  return done(request);
}

function rangeOf(id: string, name: string): IDBKeyRange {
  return IDBKeyRange.bound([id, name], [id, name, []]);
}

function offsetOf(key: IDBValidKey): number {
  return Number((key as IDBValidKey[])[2]);
}

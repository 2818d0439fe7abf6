/**
 * The model store in the origin private file system.
 *
 * Each model has a directory of a random name with its files, numbered, and a
 * record. A new record goes to a new name and the old ones are removed after
 * it is flushed, so there is always a whole one.
 *
 * In a worker, files are written through `createSyncAccessHandle`, the only
 * way that Safari has; elsewhere through `createWritable`. Reading works the
 * same everywhere and takes no lock.
 */

import { sliceReader, type FileReader } from "./reader.js";
import {
  isPackedName,
  parseRecord,
  SLICE_BYTES,
  storageError,
  type FileWriter,
  type ModelRecord,
  type ModelStore,
} from "./store.js";

const ROOT = "cacher-models";
const RECORD = /^record\.(\d+)\.json$/;

/** The part of the interface used here; the DOM library has it for workers only. */
interface SyncAccessHandle {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

type OpfsFileHandle = FileSystemFileHandle & {
  createSyncAccessHandle?(options?: { mode: "read-only" }): Promise<SyncAccessHandle>;
};
type OpfsDirectory = FileSystemDirectoryHandle & { keys(): AsyncIterable<string> };

/** Opens the store and proves by a file of a few bytes, then removed, that it can write. */
export async function openOpfsStore(): Promise<ModelStore> {
  const root = await opfsRoot(true);
  const probe = `probe-${crypto.randomUUID()}`;
  try {
    await writeWhole(await root.getFileHandle(probe, { create: true }), new Uint8Array(1));
  } finally {
    await root.removeEntry(probe).catch(() => undefined);
  }
  return new OpfsStore(root);
}

/** Opens the store for listing and deleting; `undefined` where nothing was ever stored. */
export async function openExistingOpfsStore(): Promise<ModelStore | undefined> {
  try {
    return new OpfsStore(await opfsRoot(false));
  } catch {
    return undefined;
  }
}

async function opfsRoot(create: boolean): Promise<OpfsDirectory> {
  if (typeof navigator === "undefined" || typeof navigator.storage?.getDirectory !== "function") {
    throw new Error("not available here");
  }
  const top = await navigator.storage.getDirectory();
  return (await top.getDirectoryHandle(ROOT, { create })) as OpfsDirectory;
}

class OpfsStore implements ModelStore {
  readonly backend = "opfs";
  readonly #root: OpfsDirectory;

  constructor(root: OpfsDirectory) {
    this.#root = root;
  }

  async list(): Promise<ModelRecord[]> {
    return (await this.#entries()).map(({ record }) => record);
  }

  async get(id: string): Promise<ModelRecord | undefined> {
    return (await this.#find(id))?.record;
  }

  async put(record: ModelRecord): Promise<void> {
    try {
      const name = (await this.#find(record.id))?.name ?? crypto.randomUUID();
      const directory = (await this.#root.getDirectoryHandle(name, { create: true })) as OpfsDirectory;
      const older = await recordNames(directory);
      const next = older.length === 0 ? 0 : numberOf(older[0] as string) + 1;
      const handle = await directory.getFileHandle(`record.${next}.json`, { create: true });
      await writeWhole(handle, new TextEncoder().encode(JSON.stringify(record)));
      for (const old of older) await directory.removeEntry(old);
    } catch (error) {
      throw storageError(error);
    }
  }

  async delete(id: string): Promise<void> {
    try {
      for (const { name, record } of await this.#entries()) {
        if (record.id === id) await this.#root.removeEntry(name, { recursive: true });
      }
    } catch (error) {
      throw storageError(error);
    }
  }

  async size(id: string, name: string): Promise<number> {
    const handle = await this.#file(id, name, false).catch(() => undefined);
    return handle === undefined ? 0 : (await handle.getFile()).size;
  }

  async append(id: string, name: string, from: "start" | "end"): Promise<FileWriter> {
    try {
      return await openWriter(await this.#file(id, name, true), from);
    } catch (error) {
      throw storageError(error);
    }
  }

  async *read(id: string, name: string): AsyncGenerator<Uint8Array> {
    try {
      const file = await (await this.#file(id, name, false)).getFile();
      for (let at = 0; at < file.size; at += SLICE_BYTES) {
        yield new Uint8Array(await file.slice(at, at + SLICE_BYTES).arrayBuffer());
      }
    } catch (error) {
      // A file that the browser has lost reads as an empty one, and is then fetched again.
      if (!isMissing(error)) throw storageError(error);
    }
  }

  async open(id: string, name: string): Promise<FileReader> {
    try {
      return (await openSyncReader(await this.#file(id, name, false))) ?? sliceReader(this.read(id, name));
    } catch (error) {
      throw storageError(error);
    }
  }

  async remove(id: string, name: string): Promise<void> {
    try {
      const entry = await this.#find(id);
      if (entry === undefined) return;
      const directory = await this.#root.getDirectoryHandle(entry.name);
      await directory.removeEntry(fileName(entry.record, name));
    } catch (error) {
      if (!isMissing(error)) throw storageError(error);
    }
  }

  async #file(id: string, name: string, create: boolean): Promise<FileSystemFileHandle> {
    const entry = await this.#find(id);
    if (entry === undefined) throw new Error(`no record of ${id}`);
    const directory = await this.#root.getDirectoryHandle(entry.name);
    return directory.getFileHandle(fileName(entry.record, name), { create });
  }

  async #find(id: string): Promise<{ name: string; record: ModelRecord } | undefined> {
    return (await this.#entries()).find(({ record }) => record.id === id);
  }

  async #entries(): Promise<{ name: string; record: ModelRecord }[]> {
    const entries = [];
    for (const name of await keysOf(this.#root)) {
      // What is no directory, or vanishes meanwhile, is not a model.
      const record = await this.#root
        .getDirectoryHandle(name)
        .then((directory) => readRecord(directory as OpfsDirectory))
        .catch(() => undefined);
      if (record !== undefined) entries.push({ name, record });
    }
    return entries;
  }
}

/** Files are named by their place in the record, since their own names come from the network. */
function fileName(record: ModelRecord, name: string): string {
  if (isPackedName(name)) return name;
  const index = record.files.findIndex((file) => file.name === name);
  if (index < 0) throw new Error(`no record of ${name} of ${record.id}`);
  return `file.${index}`;
}

/** The newest record that is whole. */
async function readRecord(directory: OpfsDirectory): Promise<ModelRecord | undefined> {
  for (const name of await recordNames(directory)) {
    const file = await (await directory.getFileHandle(name)).getFile();
    try {
      const record = parseRecord(JSON.parse(await file.text()));
      if (record !== undefined) return record;
    } catch {
      // Half-written at a crash: the one before it counts.
    }
  }
  return undefined;
}

/** Names of the records, newest first. */
async function recordNames(directory: OpfsDirectory): Promise<string[]> {
  return (await keysOf(directory)).filter((name) => RECORD.test(name)).sort((a, b) => numberOf(b) - numberOf(a));
}

function numberOf(name: string): number {
  return Number(RECORD.exec(name)?.[1] ?? 0);
}

async function keysOf(directory: OpfsDirectory): Promise<string[]> {
  const keys = [];
  for await (const key of directory.keys()) keys.push(key);
  return keys;
}

/** A writer left open would lock its file, and so keep the model from being deleted. */
async function writeWhole(handle: OpfsFileHandle, bytes: Uint8Array): Promise<void> {
  const writer = await openWriter(handle, "start");
  try {
    await writer.write(bytes);
  } catch (error) {
    await writer.close().catch(() => undefined);
    throw error;
  }
  await writer.close();
}

async function openWriter(handle: OpfsFileHandle, from: "start" | "end"): Promise<FileWriter> {
  return handle.createSyncAccessHandle === undefined
    ? openStreamWriter(handle, from)
    : openSyncWriter(await handle.createSyncAccessHandle(), from);
}

/** Safari before 16.4 has these methods as asynchronous ones, so they are awaited. */
async function openSyncWriter(access: SyncAccessHandle, from: "start" | "end"): Promise<FileWriter> {
  if (from === "start") await access.truncate(0);
  let at = from === "start" ? 0 : await access.getSize();
  return {
    async write(bytes) {
      try {
        for (let done = 0; done < bytes.length; ) {
          const written = await access.write(done === 0 ? bytes : bytes.subarray(done), { at });
          if (written === 0) throw new DOMException("nothing more can be written", "QuotaExceededError");
          done += written;
          at += written;
        }
      } catch (error) {
        throw storageError(error);
      }
    },
    async close() {
      try {
        await access.flush();
      } catch (error) {
        throw storageError(error);
      } finally {
        await access.close();
      }
    },
  };
}

/**
 * Reads straight into the caller's memory. `undefined` where that is impossible
 * on this thread, or just now: most browsers let only one such reader in.
 */
async function openSyncReader(handle: OpfsFileHandle): Promise<FileReader | undefined> {
  const access = await handle.createSyncAccessHandle?.({ mode: "read-only" }).catch(() => undefined);
  if (access === undefined) return undefined;
  let at = 0;
  return {
    async read(length, into) {
      try {
        let done = 0;
        while (done < length) {
          const got = await readInto(access, into(length).subarray(done), at);
          if (got === 0) break;
          done += got;
          at += got;
        }
        return done;
      } catch (error) {
        throw storageError(error);
      }
    },
    async close() {
      await access.close();
    },
  };
}

/** Through a copy, where a browser does not read into memory that is shared between threads. */
async function readInto(access: SyncAccessHandle, target: Uint8Array, at: number): Promise<number> {
  try {
    return await access.read(target, { at });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const copy = new Uint8Array(target.length);
    const got = await access.read(copy, { at });
    target.set(copy.subarray(0, got));
    return got;
  }
}

async function openStreamWriter(handle: FileSystemFileHandle, from: "start" | "end"): Promise<FileWriter> {
  if (typeof handle.createWritable !== "function") throw new Error("files cannot be written on this thread");
  const stream = await handle.createWritable({ keepExistingData: from === "end" });
  if (from === "end") await stream.seek((await handle.getFile()).size);
  return {
    write: (bytes) =>
      stream.write(bytes as Uint8Array<ArrayBuffer>).catch((error: unknown) => Promise.reject(storageError(error))),
    close: () => stream.close().catch((error: unknown) => Promise.reject(storageError(error))),
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && error.name === "NotFoundError";
}

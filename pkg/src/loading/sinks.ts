/**
 * The three places a download goes to: the store, the engine, or a small
 * buffer.
 */

import type { EngineModule, Hasher, ModelLoader } from "../engine.js";
import { CacherError, isTrap } from "../errors.js";
import type { FileRecord, FileWriter, ModelRecord, ModelStore } from "../store/store.js";
import type { Sink } from "./download.js";

/** Writes into the store, hashing what passes, and commits at the end. */
export class StoreSink implements Sink {
  readonly #module: EngineModule;
  readonly #store: ModelStore;
  readonly #record: ModelRecord;
  readonly #file: FileRecord;
  #hasher: Hasher;
  #writer: FileWriter | undefined;
  size = 0;

  private constructor(module: EngineModule, store: ModelStore, record: ModelRecord, file: FileRecord) {
    this.#module = module;
    this.#store = store;
    this.#record = record;
    this.#file = file;
    this.#hasher = new module.Sha256();
  }

  /** Takes up what an earlier download left. */
  static async open(module: EngineModule, store: ModelStore, record: ModelRecord, file: FileRecord): Promise<StoreSink> {
    const sink = new StoreSink(module, store, record, file);
    if ((await store.size(record.id, file.name)) > 0) {
      for await (const slice of store.read(record.id, file.name)) {
        sink.#hasher.update(slice);
        sink.size += slice.length;
      }
    }
    return sink;
  }

  get validator(): string | null {
    return this.#file.validator;
  }

  async begin(mode: "append" | "restart", validator: string | null): Promise<void> {
    await this.close();
    if (mode === "restart") {
      this.#file.validator = validator;
      await this.#store.put(this.#record);
      this.#hasher.free();
      this.#hasher = new this.#module.Sha256();
      this.size = 0;
    }
    this.#writer = await this.#store.append(this.#record.id, this.#file.name, mode === "restart" ? "start" : "end");
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#writer?.write(bytes);
    this.#hasher.update(bytes);
    this.size += bytes.length;
  }

  /** Makes what was written durable; whatever ends the download, this is called. */
  async close(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.close();
  }

  /** Declares the file complete, if it is what it should be; the record goes last. */
  async commit(): Promise<void> {
    await this.close();
    const sha256 = this.#hasher.digest();
    this.#hasher = new this.#module.Sha256();
    requireHash(this.#file.sha256, sha256, this.#file.url);
    Object.assign(this.#file, { bytes: this.size, sha256, complete: true });
    await this.#store.put(this.#record);
  }

  /** Drops bytes that proved to be wrong. */
  async discard(): Promise<void> {
    await this.close();
    const writer = await this.#store.append(this.#record.id, this.#file.name, "start");
    await writer.close();
    this.size = 0;
  }

  /** Ends the sink; where the download failed, that error counts and not a second one here. */
  async free(): Promise<void> {
    await this.close().catch(() => undefined);
    this.#hasher.free();
  }
}

/**
 * Pushes weights into the engine as they come. The loader is made at once, so
 * that small files the engine refuses spare the download.
 */
export class EngineSink implements Sink {
  readonly #newLoader: () => ModelLoader;
  #loader: ModelLoader;
  size = 0;
  validator: string | null = null;

  constructor(newLoader: () => ModelLoader) {
    this.#newLoader = newLoader;
    this.#loader = newLoader();
  }

  /** The loader with all that was pushed; the sink is then done. */
  take(): ModelLoader {
    return this.#loader;
  }

  /** Gives the loader up after `error`; after a trap not even freeing is allowed. */
  free(error: unknown): void {
    if (!isTrap(error)) this.#loader.free();
  }

  async begin(mode: "append" | "restart", validator: string | null): Promise<void> {
    if (mode === "append") return;
    if (this.size > 0) {
      this.#loader.free();
      this.#loader = this.#newLoader();
    }
    this.size = 0;
    this.validator = validator;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#loader.push(bytes);
    this.size += bytes.length;
  }
}

/** Collects a small file, a config or a tokenizer. */
export class BufferSink implements Sink {
  #chunks: Uint8Array[] = [];
  size = 0;
  validator: string | null = null;

  async begin(mode: "append" | "restart", validator: string | null): Promise<void> {
    if (mode === "append") return;
    this.#chunks = [];
    this.size = 0;
    this.validator = validator;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#chunks.push(bytes);
    this.size += bytes.length;
  }

  get chunks(): readonly Uint8Array[] {
    return this.#chunks;
  }
}

/** Throws `checksum-mismatch` where a hash is expected and it is another. */
export function requireHash(expected: string | null, actual: string, where: string): void {
  if (expected === null || expected === actual) return;
  throw new CacherError("checksum-mismatch", `${where}: the content is not what its SHA-256 says`, { expected, actual });
}

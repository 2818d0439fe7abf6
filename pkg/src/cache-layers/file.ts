/**
 * The layer for Node: a folder with one file an entry.
 *
 * A file is written beside its place and then renamed into it, so processes
 * that run at once see whole files only and need no lock. Nothing but entries
 * is touched in the folder, and nothing is reached through links in it: it may
 * have been named by mistake, and others may have written there.
 */

import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm, unlink, writeFile, type FileHandle } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { CacheEntry, LayerOptions } from "../cache/types.js";
import { abortError, CacherError, messageOf, throwIfAborted } from "../errors.js";
import {
  decodeFacts,
  decodeHead,
  encode,
  encodePinned,
  encodeUsed,
  HEAD_BYTES,
  MAX_FACTS_BYTES,
  PINNED,
  USED,
  type Head,
} from "./file-format.js";
import { toRow } from "./facts.js";
import type { CleanUpPlan, CleanUpRow, LocalLayer, Use } from "./layer.js";

export type FileLayerOptions = Omit<Extract<LayerOptions, { kind: "file" }>, "kind">;

const DEFAULT_MAX_ENTRIES = 10_000;
const DEFAULT_MAX_BYTES = 268_435_456;
const KEY = /^[0-9a-f]{64}$/;
/** A folder with a thousand files is slow to list for people and tools: they lie in 256, by the key's beginning. */
const SHARD = /^[0-9a-f]{2}$/;
/** So that the folder of another tool with files named by hashes, named by mistake, is left alone. */
const ENDING = ".answer";
const UNFINISHED = "unfinished";
/** A file that is being written for so long was left by a process that ended. */
const ABANDONED_MS = 3_600_000;
/** Files that are open at a time. */
const AT_ONCE = 32;
/** With most entries that is the head and all facts, in one read. */
const FIRST_READ = 2048;
/** Windows has no such flag; there `lstat` alone tells. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0;

export class FileLayer implements LocalLayer {
  readonly #folder: string;
  readonly #limits: { maxEntries: number; maxBytes: number };

  constructor({ folder, maxEntries = DEFAULT_MAX_ENTRIES, maxBytes = DEFAULT_MAX_BYTES }: FileLayerOptions) {
    const isUrl = folder instanceof URL || folder.startsWith("file:");
    this.#folder = isUrl ? fileURLToPath(folder) : resolve(folder);
    this.#limits = { maxEntries, maxBytes };
  }

  async get(key: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    throwIfAborted(signal);
    return this.#withFile(key, constants.O_RDONLY, async (file, fileBytes) => {
      // Asked before all of it is taken into memory.
      if (fileBytes > this.#limits.maxBytes) return undefined;
      const bytes = await file.readFile({ signal });
      const head = decodeHead(bytes, bytes.length);
      // Of its own: the file's bytes need not stay for as long as the record.
      return head && new Uint8Array(bytes.subarray(HEAD_BYTES + head.factsLength));
    });
  }

  async set(key: string, record: Uint8Array, entry: CacheEntry, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const path = this.#path(key);
    const before = await this.#readFacts(key);
    const begin = encode({ ...entry, key, pinned: entry.pinned || before.entry?.pinned === true });
    if (begin.length > HEAD_BYTES + MAX_FACTS_BYTES) {
      throw new CacherError("invalid-argument", "the cache's file layer: the facts of an entry are too long");
    }
    // What is larger than all of the layer would be deleted by the next clean-up.
    if (begin.length + record.length > this.#limits.maxBytes) return this.delete([key], signal);
    const unfinished = join(this.#folder, UNFINISHED, `${randomUUID()}.tmp`);
    await told(async () => {
      await this.#makeFolder(join(this.#folder, UNFINISHED));
      await this.#makeFolder(this.#shard(key));
      try {
        await writeFile(unfinished, [begin, record], { flag: "wx", mode: 0o600, signal });
        await rename(unfinished, path);
      } catch (error) {
        await rm(unfinished, { force: true }).catch(() => undefined);
        throw error;
      }
    });
  }

  async delete(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < keys.length; at += AT_ONCE) {
      throwIfAborted(signal);
      await Promise.all(keys.slice(at, at + AT_ONCE).map((key) => this.#unlink(key)));
    }
  }

  async *keys(signal?: AbortSignal): AsyncIterable<readonly string[]> {
    for (const shard of await this.#shards()) {
      throwIfAborted(signal);
      const keys = await this.#keysOf(shard);
      if (keys.length > 0) yield keys;
    }
  }

  /** The folders stay: a process that writes at this moment needs them. */
  async clear(signal: AbortSignal): Promise<void> {
    for await (const keys of this.keys(signal)) await this.delete(keys, signal);
    await this.#deleteUnfinished(0);
  }

  async *entries(signal: AbortSignal): AsyncIterable<readonly CacheEntry[]> {
    for await (const found of this.#facts(signal)) {
      const entries = found.flatMap(({ entry }) => (entry === undefined ? [] : [entry]));
      if (entries.length > 0) yield entries;
    }
  }

  async used(uses: readonly Use[]): Promise<void> {
    for (const { key, lastUsed, hits } of uses) {
      await this.#change(key, USED, (head) =>
        encodeUsed({ lastUsed: Math.max(lastUsed, head.lastUsed), hits: head.hits + hits }),
      );
    }
  }

  setPinned(key: string, pinned: boolean): Promise<boolean> {
    return this.#change(key, PINNED, () => encodePinned(pinned));
  }

  async cleanUp(
    choose: (rows: CleanUpRow[], limits: { maxEntries: number; maxBytes: number }) => CleanUpPlan,
  ): Promise<CleanUpPlan> {
    const rows: CleanUpRow[] = [];
    for await (const found of this.#facts()) {
      for (const { key, entry, bytes } of found) {
        // It has an entry's name and is none, or none that can be read; where it cannot be deleted either, it stays.
        if (entry === undefined) await this.#unlink(key).catch(() => undefined);
        else rows.push({ ...toRow(entry), key, bytes });
      }
    }
    const plan = choose(rows, this.#limits);
    await this.delete([...plan.expired, ...plan.evicted]);
    await this.#deleteUnfinished(ABANDONED_MS);
    return plan;
  }

  async usage(): Promise<{ entries: number; bytes: number }> {
    const usage = { entries: 0, bytes: 0 };
    for await (const keys of this.keys()) {
      for (let at = 0; at < keys.length; at += AT_ONCE) {
        const sizes = keys.slice(at, at + AT_ONCE).map((key) => lstat(this.#path(key)).catch(() => undefined));
        for (const info of await Promise.all(sizes)) {
          if (!info?.isFile()) continue;
          usage.entries += 1;
          usage.bytes += info.size;
        }
      }
    }
    return usage;
  }

  close(): void {
    // No file stays open between calls.
  }

  /** The facts of all files that have an entry's name, shard by shard; without `entry` where they cannot be read. */
  async *#facts(signal?: AbortSignal): AsyncIterable<{ key: string; entry: CacheEntry | undefined; bytes: number }[]> {
    for (const shard of await this.#shards()) {
      const keys = await this.#keysOf(shard);
      for (let at = 0; at < keys.length; at += AT_ONCE) {
        throwIfAborted(signal);
        yield await Promise.all(keys.slice(at, at + AT_ONCE).map((key) => this.#readFacts(key)));
      }
    }
  }

  async #readFacts(key: string): Promise<{ key: string; entry: CacheEntry | undefined; bytes: number }> {
    const found = await this.#withFile(key, constants.O_RDONLY, async (file, bytes) => {
      let begin = await readBegin(file, FIRST_READ);
      const head = decodeHead(begin, bytes);
      if (head === undefined) return undefined;
      const end = HEAD_BYTES + head.factsLength;
      if (end > begin.length) begin = await readBegin(file, end);
      return { key, entry: decodeFacts(key, head, begin.subarray(HEAD_BYTES, end)), bytes };
    }).catch(() => undefined);
    return found ?? { key, entry: undefined, bytes: 0 };
  }

  /** Writes over a part of a head; false where there is no such entry. */
  async #change(key: string, position: number, bytesOf: (head: Head) => Uint8Array): Promise<boolean> {
    const changed = await this.#withFile(key, constants.O_RDWR, async (file, fileBytes) => {
      const head = decodeHead(await readBegin(file, HEAD_BYTES), fileBytes);
      if (head === undefined) return false;
      const bytes = bytesOf(head);
      await file.write(bytes, 0, bytes.length, position);
      return true;
    });
    return changed ?? false;
  }

  /** `undefined` where there is no such file, or something that is not one. */
  async #withFile<T>(
    key: string,
    flags: number,
    use: (file: FileHandle, fileBytes: number) => Promise<T>,
  ): Promise<T | undefined> {
    const path = this.#path(key);
    return ifThere(async () => {
      // Opening anything else, a pipe for example, may wait for ever.
      if (!(await isFolder(this.#shard(key))) || !(await lstat(path)).isFile()) return undefined;
      const file = await open(path, flags | NO_FOLLOW);
      try {
        return await use(file, (await file.stat()).size);
      } finally {
        await file.close();
      }
    });
  }

  async #unlink(key: string): Promise<void> {
    const path = this.#path(key);
    await ifThere(async () => {
      if ((await isFolder(this.#shard(key))) && !(await lstat(path)).isDirectory()) await unlink(path);
    });
  }

  async #deleteUnfinished(olderThanMs: number): Promise<void> {
    const folder = join(this.#folder, UNFINISHED);
    if (!(await isFolder(folder))) return;
    for (const name of await readdir(folder).catch(() => [])) {
      const path = join(folder, name);
      await ifThere(async () => {
        if (!name.endsWith(".tmp") || Date.now() - (await lstat(path)).mtimeMs < olderThanMs) return;
        await unlink(path);
      });
    }
  }

  async #shards(): Promise<string[]> {
    const found = await ifThere(() => readdir(this.#folder, { withFileTypes: true }));
    return (found ?? []).filter((item) => item.isDirectory() && SHARD.test(item.name)).map(({ name }) => name);
  }

  async #keysOf(shard: string): Promise<string[]> {
    const names = (await ifThere(() => readdir(join(this.#folder, shard)))) ?? [];
    const keys = names.filter((name) => name.endsWith(ENDING)).map((name) => name.slice(0, -ENDING.length));
    return keys.filter((key) => KEY.test(key) && key.startsWith(shard));
  }

  /** Refuses a link in its place. */
  async #makeFolder(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (!(await isFolder(folder))) throw new CacherError("storage-error", `${folder}: is not a folder`);
  }

  #shard(key: string): string {
    return join(this.#folder, key.slice(0, 2));
  }

  #path(key: string): string {
    if (!KEY.test(key)) throw new CacherError("invalid-argument", `"${String(key).slice(0, 80)}" is not a key of the cache`);
    return join(this.#shard(key), `${key}${ENDING}`);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function readBegin(file: FileHandle, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const { bytesRead } = await file.read(bytes, 0, length, 0);
  return bytes.subarray(0, bytesRead);
}

/** `undefined` where it is not there, or no longer: another process may have deleted it just now. */
async function ifThere<T>(work: () => Promise<T>): Promise<T | undefined> {
  return told(async () => {
    try {
      return await work();
    } catch (error) {
      if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error))) return undefined;
      throw error;
    }
  });
}

/** Gives the system's faults a code of this package. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CacherError) throw error;
    if (error instanceof Error && error.name === "AbortError") throw abortError();
    const code = ["ENOSPC", "EDQUOT"].includes(codeOf(error)) ? "storage-full" : "storage-error";
    throw new CacherError(code, `the cache's folder: ${messageOf(error)}`, {}, { cause: error });
  }
}

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException | undefined)?.code);
}

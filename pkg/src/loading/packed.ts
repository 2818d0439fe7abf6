/**
 * Weights as the engine computes with them, kept beside the files they were
 * made from: the next start reads them straight into the engine's memory.
 *
 * They can always be made again, so nothing that goes wrong with them is worse
 * than a slower start: what cannot be saved is not, and what is damaged is
 * dropped.
 *
 * The file: the header's length (u32, little endian), the engine's header,
 * zeros up to a multiple of 64, the packed bytes. It counts once the model's
 * record names it, which is written last. What it must be is in its name: the
 * number format, the engine's format version, and the weights it is made from.
 */

import type { Engine } from "../engine.js";
import { CacherError, isTrap, messageOf, throwIfAborted, toCacherError } from "../errors.js";
import { yieldToEventLoop } from "../event-loop.js";
import { withFreeLock } from "../store/lock.js";
import type { FileReader } from "../store/reader.js";
import type { FileRecord, ModelRecord, ModelStore } from "../store/store.js";
import type { LoadContext } from "./context.js";
import { CONTENT_ERRORS } from "./check.js";
import { finish, newLoader, readSmallFiles, type Part } from "./feed.js";
import type { Progress } from "./progress.js";

const ALIGNMENT = 64;
/** Read or written at a time, between which aborts get in. */
const PIECE_BYTES = 8 << 20;
/** With config and tokenizer it has a few megabytes. */
const MAX_HEADER_BYTES = 64 << 20;

/** The engine from packed weights; `undefined` where there are none that can be used. */
export async function restorePacked(
  record: ModelRecord,
  store: ModelStore,
  parts: readonly Part[],
  progress: Progress,
  context: LoadContext,
): Promise<Engine | undefined> {
  const name = packedName(record, context);
  const packed = record.packed?.find((each) => each.name === name);
  if (packed === undefined) return undefined;
  let reader: FileReader | undefined;
  try {
    progress.begin("load", [...parts.filter(({ role }) => role !== "weights"), packed]);
    reader = await store.open(record.id, name);
    return await read(reader, record, parts, packed, progress, context);
  } catch (error) {
    if (isTrap(error)) throw error;
    const { code } = toCacherError(error);
    if (!CONTENT_ERRORS.has(code) && !code.startsWith("storage-")) throw error;
    await reader?.close().catch(() => undefined);
    reader = undefined;
    await drop(record, store, (each) => each === name);
    return undefined;
  } finally {
    await reader?.close().catch(() => undefined);
  }
}

async function read(
  reader: FileReader,
  record: ModelRecord,
  parts: readonly Part[],
  packed: { name: string; bytes: number },
  progress: Progress,
  { module, memory, dtype, signal }: LoadContext,
): Promise<Engine> {
  const small = await readSmallFiles(module, parts, progress, signal);
  const prefix = await readWhole(reader, 4);
  const headerBytes = new DataView(prefix.buffer).getUint32(0, true);
  if (headerBytes > MAX_HEADER_BYTES) throw damaged(packed.name);
  const header = await readWhole(reader, headerBytes);
  await readWhole(reader, paddingAfter(4 + headerBytes));

  const loader = newLoader(module, dtype, small);
  try {
    loader.beginPacked(header);
    const total = loader.packedBytes();
    if (packed.bytes !== fileBytes(headerBytes, total)) throw damaged(packed.name);
    for (let at = 0; at < total; ) {
      throwIfAborted(signal);
      const length = Math.min(PIECE_BYTES, total - at);
      const got = await reader.read(length, () => new Uint8Array(memory.buffer, loader.packedAddress() + at, length));
      if (got < length) throw damaged(packed.name);
      at += length;
      progress.update(packed.name, packed.bytes - total + at, packed.bytes);
      await yieldToEventLoop();
    }
    throwIfAborted(signal);
  } catch (error) {
    if (!isTrap(error)) loader.free();
    throw error;
  }
  return finish(loader, weightsOf(record).sha256, packed.name);
}

/** Saves the engine's packed weights, unless they are; gives why that failed, where it did. */
export async function savePacked(
  engine: Engine,
  { id }: ModelRecord,
  store: ModelStore,
  context: LoadContext,
): Promise<string | null> {
  const header = engine.packedHeader();
  if (header === undefined) return null;
  try {
    // Whoever holds the lock is likely to save the very same.
    await withFreeLock(id, async () => {
      // As it is by now: another tab may have changed it.
      const record = await store.get(id);
      if (record === undefined || weightsOf(record).sha256 !== engine.info().sha256) return;
      const name = packedName(record, context);
      if (record.packed?.some((each) => each.name === name)) return;
      await remove(record, store, (each) => !each.endsWith(versionOf(record, context)));
      try {
        await write(engine, header, record, name, store, context);
      } catch (error) {
        await store.remove(id, name).catch(() => undefined);
        throw error;
      }
      const packed = { name, bytes: fileBytes(header.length, engine.packedBytes()) };
      await store.put({ ...record, packed: [...(record.packed ?? []), packed] });
    });
    return null;
  } catch (error) {
    if (isTrap(error) || context.signal.aborted) throw error;
    return `the packed weights are not stored: ${messageOf(error)}`;
  }
}

async function write(
  engine: Engine,
  header: Uint8Array,
  { id }: ModelRecord,
  name: string,
  store: ModelStore,
  { memory, signal }: LoadContext,
): Promise<void> {
  const total = engine.packedBytes();
  const writer = await store.append(id, name, "start");
  try {
    const start = new Uint8Array(fileBytes(header.length, 0));
    new DataView(start.buffer).setUint32(0, header.length, true);
    start.set(header, 4);
    await writer.write(start);
    for (let at = 0; at < total; at += PIECE_BYTES) {
      throwIfAborted(signal);
      const length = Math.min(PIECE_BYTES, total - at);
      // A copy: not every way of writing takes memory that is shared between threads.
      await writer.write(new Uint8Array(memory.buffer, engine.packedAddress() + at, length).slice());
      await yieldToEventLoop();
    }
  } catch (error) {
    await writer.close().catch(() => undefined);
    throw error;
  }
  await writer.close();
}

/** Drops packed files from a model, unless another tab works on it. */
async function drop({ id }: ModelRecord, store: ModelStore, which: (name: string) => boolean): Promise<void> {
  await withFreeLock(id, async () => {
    const record = await store.get(id);
    if (record !== undefined) await remove(record, store, which);
  }).catch(() => undefined);
}

/** The record first: it never names a file that is not there. */
async function remove(record: ModelRecord, store: ModelStore, which: (name: string) => boolean): Promise<void> {
  const names = (record.packed ?? []).map(({ name }) => name).filter(which);
  if (names.length === 0) return;
  record.packed = record.packed?.filter(({ name }) => !names.includes(name)) ?? [];
  await store.put(record);
  for (const name of names) await store.remove(record.id, name);
}

function packedName(record: ModelRecord, context: LoadContext): string {
  return `packed-${context.dtype}${versionOf(record, context)}`;
}

/** The end of the names of all that is made from these weights in today's format. */
function versionOf(record: ModelRecord, { module }: LoadContext): string {
  return `-v${module.packedVersion()}-${weightsOf(record).sha256?.slice(0, 16)}`;
}

function weightsOf(record: ModelRecord): FileRecord {
  return record.files.find((file) => file.role === "weights") as FileRecord;
}

function fileBytes(headerBytes: number, packedBytes: number): number {
  return 4 + headerBytes + paddingAfter(4 + headerBytes) + packedBytes;
}

function paddingAfter(length: number): number {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
}

async function readWhole(reader: FileReader, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  if ((await reader.read(length, () => bytes)) < length) throw damaged("packed weights");
  return bytes;
}

function damaged(name: string): CacherError {
  return new CacherError("truncated-file", `${name}: not as long as it should be`);
}

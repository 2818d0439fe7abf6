/**
 * Loads a model from the store, after downloading what the store lacks.
 */

import type { Engine, EngineModule } from "../engine.js";
import { CacherError, isTrap, toCacherError } from "../errors.js";
import { builtinFiles, modelId, resolveFiles, sourceName, type RemoteFile, type RemoteSpec } from "../models/resolve.js";
import { withLock } from "../store/lock.js";
import { freeBytes } from "../store/open.js";
import { RECORD_VERSION, type FileRecord, type ModelRecord, type ModelStore } from "../store/store.js";
import { CONTENT_ERRORS } from "./check.js";
import type { LoadContext, LoadedEngine } from "./context.js";
import { download, type DownloadContext } from "./download.js";
import { feed, newLoader, readSmallFiles, type Part } from "./feed.js";
import { restorePacked, savePacked } from "./packed.js";
import type { Progress } from "./progress.js";
import { StoreSink } from "./sinks.js";

export async function loadStored(
  source: RemoteSpec,
  store: ModelStore,
  progress: Progress,
  context: LoadContext,
): Promise<LoadedEngine> {
  for (let refetched = false; ; refetched = true) {
    const record =
      (await completeRecord(source, store)) ?? (await downloadInto(store, source, progress, context));
    const parts = partsOf(record, store);
    const storage = { backend: store.backend, reason: null };
    const restored = await restorePacked(record, store, parts, progress, context);
    if (restored !== undefined) return { engine: restored, storage };
    let engine: Engine;
    try {
      engine = await feed(parts, progress, context);
    } catch (error) {
      const { code } = toCacherError(error);
      if (!CONTENT_ERRORS.has(code)) throw error;
      const damaged = code === "checksum-mismatch" || !(await isIntact(record, store, context.module));
      await store.delete(record.id);
      // What the storage has damaged is fetched again; what came so is refused.
      if (!damaged || refetched) throw error;
      continue;
    }
    try {
      return { engine, storage: { ...storage, reason: await savePacked(engine, record, store, context) } };
    } catch (error) {
      if (!isTrap(error)) engine.free();
      throw error;
    }
  }
}

/** The record of a model that needs no network: complete, and what this package asks for. */
async function completeRecord(source: RemoteSpec, store: ModelStore): Promise<ModelRecord | undefined> {
  const record = await store.get(modelId(source));
  if (record === undefined || record.files.length === 0) return undefined;
  if (!record.files.every((file) => file.complete)) return undefined;
  if (!record.files.some((file) => file.role === "weights")) return undefined;
  if (source.kind !== "builtin") return record;
  const expected = builtinFiles(source);
  const current = expected.every(({ name, sha256 }) => record.files.some((f) => f.name === name && f.sha256 === sha256));
  return current ? record : undefined;
}

async function downloadInto(
  store: ModelStore,
  source: RemoteSpec,
  progress: Progress,
  context: LoadContext,
): Promise<ModelRecord> {
  const { module, fetch, signal } = context;
  const id = modelId(source);
  const files = await resolveFiles(source, fetch, signal);
  const heldBytes = () => Promise.all(files.map((file) => store.size(id, file.name)));
  return withLock({ name: id, signal, measure: async () => sum(await heldBytes()) }, async () => {
    // Another tab may have stored it while this one waited.
    const stored = await completeRecord(source, store);
    if (stored !== undefined) return stored;

    const record: ModelRecord = {
      version: RECORD_VERSION,
      id,
      source: sourceName(source),
      files: await continueFiles(files, store, id),
    };
    const held = await heldBytes();
    await requireRoom(files, held);
    await store.put(record);
    progress.begin("download", files.map((file, index) => ({ ...file, loaded: held[index] ?? 0 })));
    for (const [index, file] of files.entries()) {
      const fileRecord = record.files[index] as FileRecord;
      if (fileRecord.complete) continue;
      if (file.role === "weights") await checkSmallFiles(record, store, progress, context);
      await downloadFile(file, fileRecord, record, store, module, {
        fetch,
        signal,
        onProgress: (held, total) => progress.update(file.name, held, total),
      });
    }
    return record;
  });
}

/** Shows the engine the small files before the weights are downloaded: it may not want this model. */
async function checkSmallFiles(
  record: ModelRecord,
  store: ModelStore,
  progress: Progress,
  { module, dtype, signal }: LoadContext,
): Promise<void> {
  try {
    newLoader(module, dtype, await readSmallFiles(module, partsOf(record, store), progress, signal)).free();
  } catch (error) {
    if (CONTENT_ERRORS.has(toCacherError(error).code)) await store.delete(record.id);
    throw error;
  }
}

/** Records for `files`, taking up what is stored where it is of the same file. */
async function continueFiles(files: readonly RemoteFile[], store: ModelStore, id: string): Promise<FileRecord[]> {
  const earlier = (await store.get(id))?.files ?? [];
  const isSame = (file: RemoteFile, old: FileRecord | undefined): boolean =>
    old?.name === file.name &&
    old.url === file.url &&
    (file.bytes === null || file.bytes === old.bytes) &&
    (file.sha256 === null || file.sha256 === old.sha256);
  if (earlier.length === files.length && files.every((file, index) => isSame(file, earlier[index]))) return earlier;
  // Another version of the model: none of the old bytes belong to it.
  if (earlier.length > 0) await store.delete(id);
  return files.map(({ name, role, url, bytes, sha256 }) => ({
    name,
    role,
    url,
    bytes,
    sha256,
    validator: null,
    complete: false,
  }));
}

async function downloadFile(
  file: RemoteFile,
  fileRecord: FileRecord,
  record: ModelRecord,
  store: ModelStore,
  module: EngineModule,
  context: DownloadContext,
): Promise<void> {
  const sink = await StoreSink.open(module, store, record, fileRecord);
  const resumed = sink.size > 0;
  try {
    for (let fresh = !resumed; ; fresh = true) {
      try {
        await download(file, sink, context);
        return await sink.commit();
      } catch (error) {
        const { code } = toCacherError(error);
        if (code !== "checksum-mismatch" && code !== "not-a-model-file") throw error;
        await sink.discard();
        // What was held from before may have been the fault: once more, from the start.
        if (fresh) throw error;
      }
    }
  } finally {
    await sink.free();
  }
}

/** Throws before the download begins where it cannot fit. */
async function requireRoom(files: readonly RemoteFile[], held: readonly number[]): Promise<void> {
  const needed = sum(files.map(({ bytes }, index) => Math.max(0, (bytes ?? 0) - (held[index] ?? 0))));
  const available = await freeBytes();
  if (available === null || needed <= available) return;
  throw new CacherError("storage-full", `the model needs ${needed} bytes of storage, this page has ${available}`, {
    needed,
    available,
  });
}

function partsOf(record: ModelRecord, store: ModelStore): Part[] {
  return record.files.map((file) => ({ ...file, read: () => store.read(record.id, file.name) }));
}

async function isIntact(record: ModelRecord, store: ModelStore, module: EngineModule): Promise<boolean> {
  for (const { name, sha256 } of record.files) {
    const hasher = new module.Sha256();
    for await (const slice of store.read(record.id, name)) hasher.update(slice);
    if (hasher.digest() !== sha256) return false;
  }
  return true;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

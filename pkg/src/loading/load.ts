/**
 * From a source to a running engine.
 *
 * Where there is a store, a model is first downloaded into it and then read
 * from it, slice by slice: one path for the first visit and all later ones.
 * Where there is none, bytes go from the network straight into the engine.
 * Either way the only whole copy in memory is the engine's own.
 */

import type { Engine, EngineModule } from "../engine.js";
import { CacherError, toCacherError } from "../errors.js";
import type { Fetch } from "../models/http.js";
import { builtinFiles, modelId, resolveFiles, sourceName, type RemoteFile, type RemoteSpec } from "../models/resolve.js";
import { selectFiles, type Role } from "../models/select.js";
import type { SourceSpec } from "../models/source.js";
import { withLock } from "../store/lock.js";
import { freeBytes, openStore } from "../store/open.js";
import { RECORD_VERSION, SLICE_BYTES, type FileRecord, type ModelRecord, type ModelStore } from "../store/store.js";
import type { LoadOptions, LoadProgress, StorageInfo } from "../types.js";
import { isGguf, isSafetensors } from "./check.js";
import { download } from "./download.js";
import { feed, finish, newLoader, readSmallFiles, type Part } from "./feed.js";
import { Progress } from "./progress.js";
import { BufferSink, EngineSink, StoreSink } from "./sinks.js";

export interface LoadContext {
  module: EngineModule;
  fetch: Fetch;
  signal: AbortSignal;
  onProgress(progress: LoadProgress): void;
  openStore: typeof openStore;
}

export interface LoadedEngine {
  engine: Engine;
  storage: StorageInfo;
}

type StorePreference = NonNullable<LoadOptions["store"]>;

/** Errors that say a file's content is wrong: such a file is not worth keeping. */
const CONTENT_ERRORS = new Set<string>([
  "checksum-mismatch",
  "invalid-model-file",
  "invalid-tokenizer",
  "not-a-model-file",
  "truncated-file",
]);

export async function loadModel(
  source: SourceSpec,
  preference: StorePreference,
  context: LoadContext,
): Promise<LoadedEngine> {
  const progress = new Progress((report) => context.onProgress(report));
  progress.begin("resolve");
  const loaded =
    source.kind === "files"
      ? await loadFiles(source.files, progress, context)
      : await loadRemote(source, preference, progress, context);
  progress.begin("ready");
  return loaded;
}

async function loadFiles(
  files: readonly { name: string; data: Blob | Uint8Array }[],
  progress: Progress,
  { module, signal }: LoadContext,
): Promise<LoadedEngine> {
  const roles = await rolesOf(files);
  const parts = files.flatMap(({ name, data }): Part[] => {
    const role = roles.get(name);
    if (role === undefined) return [];
    const bytes = data instanceof Blob ? data.size : data.length;
    return [{ name, role, bytes, sha256: null, read: () => slicesOf(data) }];
  });
  const engine = await feed(module, parts, progress, signal);
  return { engine, storage: { backend: "memory", reason: "the caller's own files are not stored" } };
}

/** By name; a single file may be called anything, its first bytes tell what it is. */
async function rolesOf(files: readonly { name: string; data: Blob | Uint8Array }[]): Promise<Map<string, Role>> {
  const names: string[] = [];
  const byContent = new Map<string, string>();
  for (const { name, data } of files) {
    const head = data instanceof Blob ? new Uint8Array(await data.slice(0, 16).arrayBuffer()) : data.subarray(0, 16);
    const kind = isGguf(head) ? ".gguf" : isSafetensors(head) ? ".safetensors" : "";
    const known = name.endsWith(kind) ? name : `${name}${kind}`;
    names.push(known);
    byContent.set(known, name);
  }
  const roles = selectFiles(names, "the files given");
  return new Map([...roles].map(([known, role]) => [byContent.get(known) as string, role]));
}

async function* slicesOf(data: Blob | Uint8Array): AsyncGenerator<Uint8Array> {
  const size = data instanceof Blob ? data.size : data.length;
  for (let at = 0; at < size; at += SLICE_BYTES) {
    yield data instanceof Blob
      ? new Uint8Array(await data.slice(at, at + SLICE_BYTES).arrayBuffer())
      : data.subarray(at, at + SLICE_BYTES);
  }
}

async function loadRemote(
  source: RemoteSpec,
  preference: StorePreference,
  progress: Progress,
  context: LoadContext,
): Promise<LoadedEngine> {
  const store = await context.openStore(preference);
  if (typeof store === "string") return loadDirect(source, store, progress, context);
  try {
    return await loadStored(source, store, progress, context);
  } catch (error) {
    const { code, message } = toCacherError(error);
    if (preference !== "auto" || !code.startsWith("storage-")) throw error;
    // Better a model that is not kept than none. What this tab has stored of it is of no use then.
    if (code !== "storage-locked") await store.delete(modelId(source)).catch(() => undefined);
    return loadDirect(source, message, progress, context);
  }
}

/** From the network into the engine, with nothing kept. */
async function loadDirect(
  source: RemoteSpec,
  reason: string,
  progress: Progress,
  context: LoadContext,
): Promise<LoadedEngine> {
  const { module, fetch, signal } = context;
  const files = await resolveFiles(source, fetch, signal);
  progress.begin("download", files);
  const contextOf = (file: RemoteFile) => ({
    fetch,
    signal,
    onProgress: (held: number, total: number | null) => progress.update(file.name, held, total),
  });

  const parts: Part[] = [];
  for (const file of files) {
    if (file.role === "weights") continue;
    const sink = new BufferSink();
    await download(file, sink, contextOf(file));
    parts.push({ ...file, read: () => sink.chunks });
  }
  const small = await readSmallFiles(module, parts, progress, signal);

  const weights = weightsOf(files);
  const sink = new EngineSink(() => newLoader(module, small));
  try {
    await download(weights, sink, contextOf(weights));
  } catch (error) {
    sink.free(error);
    throw error;
  }
  const engine = finish(sink.take(), weights.sha256, weights.url);
  return { engine, storage: { backend: "memory", reason } };
}

/** From the store, after downloading what it lacks. */
async function loadStored(
  source: RemoteSpec,
  store: ModelStore,
  progress: Progress,
  context: LoadContext,
): Promise<LoadedEngine> {
  for (let refetched = false; ; refetched = true) {
    const record =
      (await completeRecord(source, store)) ?? (await downloadInto(store, source, progress, context));
    try {
      const engine = await feed(context.module, partsOf(record, store), progress, context.signal);
      return { engine, storage: { backend: store.backend, reason: null } };
    } catch (error) {
      const { code } = toCacherError(error);
      if (!CONTENT_ERRORS.has(code)) throw error;
      const damaged = code === "checksum-mismatch" || !(await isIntact(record, store, context.module));
      await store.delete(record.id);
      // What the storage has damaged is fetched again; what came so is refused.
      if (!damaged || refetched) throw error;
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
    await store.put(record);
    const held = await heldBytes();
    await requireRoom(files, held);
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
  { module, signal }: LoadContext,
): Promise<void> {
  try {
    newLoader(module, await readSmallFiles(module, partsOf(record, store), progress, signal)).free();
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
  context: Parameters<typeof download>[2],
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

function weightsOf<T extends { role: Role }>(files: readonly T[]): T {
  return files.find((file) => file.role === "weights") as T;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

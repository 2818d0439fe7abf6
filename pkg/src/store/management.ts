/**
 * Lists, describes and deletes models, on any thread and without an engine.
 */

import { CacherError } from "../errors.js";
import type { Fetch } from "../models/http.js";
import { modelId, resolveFiles } from "../models/resolve.js";
import type { SourceSpec } from "../models/source.js";
import type { ModelDescription, StoredModel } from "../types.js";
import { openIndexedDbStore } from "./indexed-db.js";
import { openExistingOpfsStore } from "./opfs.js";
import type { ModelStore } from "./store.js";

/** Every backend that works here: a model may be in one that today's load would not choose. */
async function openStores(): Promise<ModelStore[]> {
  const stores = await Promise.all([openExistingOpfsStore(), openIndexedDbStore().catch(() => undefined)]);
  return stores.filter((store) => store !== undefined);
}

export async function listModels(): Promise<StoredModel[]> {
  return (await storedModels()).map(({ model }) => model);
}

/** `fileBytes`: of the model's files alone, without what was made from them. */
async function storedModels(): Promise<{ model: StoredModel; fileBytes: number }[]> {
  const models = [];
  for (const store of await openStores()) {
    for (const { id, source, files, packed = [] } of await store.list()) {
      const bytesOf = async (names: { name: string }[]) => {
        const sizes = await Promise.all(names.map(({ name }) => store.size(id, name)));
        return sizes.reduce((sum, size) => sum + size, 0);
      };
      const fileBytes = await bytesOf(files);
      const model: StoredModel = {
        id,
        source,
        bytes: fileBytes + (await bytesOf(packed)),
        files: files.map(({ name, bytes, sha256, complete }) => ({ name, bytes, sha256, complete })),
        backend: store.backend,
      };
      models.push({ model, fileBytes });
    }
  }
  return models;
}

/** Deletes a model with its partial downloads. */
export async function deleteModel(id: string): Promise<void> {
  let found = false;
  for (const store of await openStores()) {
    if ((await store.get(id)) === undefined) continue;
    found = true;
    await store.delete(id);
  }
  if (!found) throw new CacherError("not-found", `no model "${id}" is stored`, { id });
}

/** From the store where the model is complete there, else from the network. */
export async function describeModel(source: SourceSpec, fetch: Fetch, signal?: AbortSignal): Promise<ModelDescription> {
  if (source.kind === "files") {
    const files = source.files.map(({ name, data }) => ({
      name,
      bytes: data instanceof Blob ? data.size : data.length,
      sha256: null,
    }));
    return describe("", files, 0);
  }
  const id = modelId(source);
  const stored = (await storedModels()).find(({ model }) => model.id === id);
  const complete = stored?.model.files.every((file) => file.complete) === true;
  const files = complete ? stored.model.files : await resolveFiles(source, fetch, signal);
  return describe(id, files, stored?.fileBytes ?? 0);
}

function describe(id: string, files: ModelDescription["files"], storedBytes: number): ModelDescription {
  const known = files.every((file) => file.bytes !== null);
  return {
    id,
    bytes: known ? files.reduce((sum, file) => sum + (file.bytes ?? 0), 0) : null,
    files: files.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
    storedBytes,
  };
}

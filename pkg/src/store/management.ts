/**
 * Lists and deletes stored models, on any thread and without an engine.
 */

import { CacherError } from "../errors.js";
import type { StoredModel } from "../types.js";
import { openIndexedDbStore } from "./indexed-db.js";
import { openExistingOpfsStore } from "./opfs.js";
import type { ModelStore } from "./store.js";

/** Every backend that works here: a model may be in one that today's load would not choose. */
async function openStores(): Promise<ModelStore[]> {
  const stores = await Promise.all([openExistingOpfsStore(), openIndexedDbStore().catch(() => undefined)]);
  return stores.filter((store) => store !== undefined);
}

export async function listModels(): Promise<StoredModel[]> {
  const models: StoredModel[] = [];
  for (const store of await openStores()) {
    for (const { id, source, files } of await store.list()) {
      const sizes = await Promise.all(files.map((file) => store.size(id, file.name)));
      models.push({
        id,
        source,
        bytes: sizes.reduce((sum, size) => sum + size, 0),
        files: files.map(({ name, bytes, sha256, complete }) => ({ name, bytes, sha256, complete })),
        backend: store.backend,
      });
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

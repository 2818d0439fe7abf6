/**
 * From a source to a running engine.
 *
 * Where there is a store, a model is first downloaded into it and then read
 * from it, slice by slice: one path for the first visit and all later ones.
 * Where there is none, bytes go from the network straight into the engine.
 * Either way the only whole copy in memory is the engine's own.
 */

import { toCacherError } from "../errors.js";
import { modelId, type RemoteSpec } from "../models/resolve.js";
import type { SourceSpec } from "../models/source.js";
import type { LoadOptions } from "../types.js";
import type { LoadContext, LoadedEngine } from "./context.js";
import { loadDirect } from "./direct.js";
import { loadFiles } from "./files.js";
import { Progress } from "./progress.js";
import { loadStored } from "./stored.js";

type StorePreference = NonNullable<LoadOptions["store"]>;

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

/**
 * Loads a model from the network straight into the engine, keeping nothing.
 */

import { resolveFiles, type RemoteFile, type RemoteSpec } from "../models/resolve.js";
import type { LoadContext, LoadedEngine } from "./context.js";
import { download } from "./download.js";
import { finish, newLoader, readSmallFiles, type Part } from "./feed.js";
import type { Progress } from "./progress.js";
import { BufferSink, EngineSink } from "./sinks.js";

/** `reason`: why nothing is kept. */
export async function loadDirect(
  source: RemoteSpec,
  reason: string,
  progress: Progress,
  context: LoadContext,
): Promise<LoadedEngine> {
  const { module, dtype, fetch, signal } = context;
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

  const weights = files.find((file) => file.role === "weights") as RemoteFile;
  const sink = new EngineSink(() => newLoader(module, dtype, small));
  try {
    await download(weights, sink, contextOf(weights));
  } catch (error) {
    sink.free(error);
    throw error;
  }
  const engine = finish(sink.take(), weights.sha256, weights.url);
  return { engine, storage: { backend: "memory", reason } };
}

/**
 * States to files and back, a piece at a time: with KV cache they can be larger
 * than memory.
 */

import type { Engine, EngineModule } from "../engine.js";
import { CacherError, throwIfAborted } from "../errors.js";
import { yieldToEventLoop } from "../event-loop.js";
import type { StateShelf } from "./shelf.js";

/** Pieces up to this are gathered before the browser may put them on disk. */
const PART_BYTES = 16 << 20;
const MAGIC = "CACHERST";

export interface ExportRequest {
  ids: string[];
  format: "binary" | "json";
  kv: boolean;
}

export async function exportStates(
  engine: () => Engine,
  shelf: StateShelf,
  { ids, format, kv }: ExportRequest,
  signal: AbortSignal,
): Promise<Blob> {
  if (format === "json") {
    return new Blob([engine().exportJson(ids) as Uint8Array<ArrayBuffer>], { type: "application/json" });
  }
  const file = engine().beginExport(ids, kv);
  const parts: Blob[] = [];
  let pieces = [file.head()];
  let bytes = 0;
  for (const name of file.blocks()) {
    throwIfAborted(signal);
    const piece =
      engine().exportBlock(file, name, undefined) ?? engine().exportBlock(file, name, await shelf.storedBlock(name));
    if (piece === undefined) continue;
    pieces.push(piece);
    bytes += piece.length;
    if (bytes >= PART_BYTES) {
      parts.push(new Blob(pieces as Uint8Array<ArrayBuffer>[]));
      pieces = [];
      bytes = 0;
      await yieldToEventLoop();
    }
  }
  pieces.push(file.finish());
  return new Blob([...parts, ...(pieces as Uint8Array<ArrayBuffer>[])], { type: "application/octet-stream" });
}

export interface ImportRequest {
  module: EngineModule;
  engine: () => Engine;
  file: Blob;
  persist: boolean;
  signal: AbortSignal;
  onProgress(progress: { loaded: number; total: number }): void;
}

/** Takes the states of a file in; their ids. */
export async function importStates({ module, engine, file, persist, signal, onProgress }: ImportRequest): Promise<string[]> {
  const begin = await file.slice(0, MAGIC.length).text();
  if (begin !== MAGIC) {
    // So that a large file of another kind is not read as a whole.
    if (!/^\s*[{]/.test(begin)) throw new CacherError("invalid-state-file", "the file is no export of states");
    const bytes = new Uint8Array(await file.arrayBuffer());
    throwIfAborted(signal);
    return engine().importJson(bytes, persist);
  }
  // Read once to check it, and once more to take it in.
  const total = 2 * file.size;
  let loaded = 0;
  let origin: string | undefined;
  for (;;) {
    const reading = new module.StateImport(origin);
    const reader = file.stream().getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      throwIfAborted(signal);
      engine().importPush(reading, value);
      loaded += value.length;
      onProgress({ loaded, total });
    }
    if (origin !== undefined) return engine().importFinish(reading, persist);
    origin = engine().importChecked(reading);
  }
}

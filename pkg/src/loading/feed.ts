/**
 * Feeds a model's files into the engine, slice by slice, checking each
 * against its hash. The engine itself hashes the weights, so they are read
 * once.
 */

import type { Engine, EngineModule, ModelLoader } from "../engine.js";
import { isTrap, throwIfAborted } from "../errors.js";
import { yieldToEventLoop } from "../event-loop.js";
import type { Role } from "../models/select.js";
import type { Dtype } from "../types.js";
import type { LoadContext } from "./context.js";
import type { Progress } from "./progress.js";
import { requireHash } from "./sinks.js";

/** A file that can be read from its start. */
export interface Part {
  name: string;
  role: Role;
  bytes: number | null;
  sha256: string | null;
  read(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** The small files of a model, read and checked. */
export type SmallFiles = Partial<Record<Exclude<Role, "weights">, Uint8Array>>;

export async function feed(
  parts: readonly Part[],
  progress: Progress,
  { module, dtype, signal }: LoadContext,
): Promise<Engine> {
  progress.begin("load", parts);
  const loader = newLoader(module, dtype, await readSmallFiles(module, parts, progress, signal));
  const weights = parts.find((part) => part.role === "weights") as Part;
  try {
    let loaded = 0;
    for await (const slice of weights.read()) {
      throwIfAborted(signal);
      loader.push(slice);
      loaded += slice.length;
      progress.update(weights.name, loaded, weights.bytes);
      await yieldToEventLoop();
    }
    throwIfAborted(signal);
  } catch (error) {
    // After a trap nothing in the instance may be touched, not even to free it.
    if (!isTrap(error)) loader.free();
    throw error;
  }
  return finish(loader, weights.sha256, weights.name);
}

/** Ends the loading; the engine must have seen the bytes that `sha256` names. */
export function finish(loader: ModelLoader, sha256: string | null, name: string): Engine {
  const engine = loader.finish();
  try {
    requireHash(sha256, engine.info().sha256, name);
    return engine;
  } catch (error) {
    engine.free();
    throw error;
  }
}

export function newLoader(
  module: EngineModule,
  dtype: Dtype,
  { config, tokenizer, vocab, merges }: SmallFiles,
): ModelLoader {
  const loader = new module.ModelLoader(dtype);
  try {
    if (config !== undefined) loader.setConfig(config);
    if (tokenizer !== undefined) loader.setTokenizerJson(tokenizer);
    else if (vocab !== undefined && merges !== undefined) loader.setVocabAndMerges(vocab, merges);
    return loader;
  } catch (error) {
    if (!isTrap(error)) loader.free();
    throw error;
  }
}

export async function readSmallFiles(
  module: EngineModule,
  parts: readonly Part[],
  progress: Progress,
  signal: AbortSignal,
): Promise<SmallFiles> {
  const files: SmallFiles = {};
  for (const { name, role, sha256, read } of parts) {
    if (role === "weights") continue;
    const slices: Uint8Array<ArrayBuffer>[] = [];
    for await (const slice of read()) slices.push(slice as Uint8Array<ArrayBuffer>);
    throwIfAborted(signal);
    const bytes = new Uint8Array(await new Blob(slices).arrayBuffer());
    if (sha256 !== null) requireHash(sha256, hashOf(module, [bytes]), name);
    files[role] = bytes;
    progress.update(name, bytes.length, bytes.length);
  }
  return files;
}

/** SHA-256 of the bytes, hex. */
export function hashOf(module: EngineModule, slices: Iterable<Uint8Array>): string {
  const hasher = new module.Sha256();
  for (const slice of slices) hasher.update(slice);
  return hasher.digest();
}

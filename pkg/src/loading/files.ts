/**
 * Loads the caller's own files, from a file input or memory.
 */

import { CacherError } from "../errors.js";
import { selectFiles, type Role } from "../models/select.js";
import { SLICE_BYTES } from "../store/store.js";
import { HEAD_BYTES, isGguf, isSafetensors } from "./check.js";
import type { LoadContext, LoadedEngine } from "./context.js";
import { feed, type Part } from "./feed.js";
import type { Progress } from "./progress.js";

export async function loadFiles(
  files: readonly { name: string; data: Blob | Uint8Array }[],
  progress: Progress,
  context: LoadContext,
): Promise<LoadedEngine> {
  const roles = await rolesOf(files);
  const parts = files.flatMap(({ name, data }): Part[] => {
    const role = roles.get(name);
    if (role === undefined) return [];
    const bytes = data instanceof Blob ? data.size : data.length;
    return [{ name, role, bytes, sha256: null, read: () => slicesOf(data) }];
  });
  const engine = await feed(parts, progress, context);
  return { engine, storage: { backend: "memory", reason: "the caller's own files are not stored" } };
}

/** By name; a single file may be called anything, its first bytes tell what it is. */
async function rolesOf(files: readonly { name: string; data: Blob | Uint8Array }[]): Promise<Map<string, Role>> {
  const names: string[] = [];
  const byContent = new Map<string, string>();
  for (const { name, data } of files) {
    const head = data instanceof Blob ? new Uint8Array(await data.slice(0, HEAD_BYTES).arrayBuffer()) : data.subarray(0, HEAD_BYTES);
    const kind = isGguf(head) ? ".gguf" : isSafetensors(head) ? ".safetensors" : "";
    const known = name.endsWith(kind) ? name : `${name}${kind}`;
    names.push(known);
    byContent.set(known, name);
  }
  if (!names.some((name) => /\.(gguf|safetensors|bin|pt|pth|ckpt)$/.test(name))) {
    throw new CacherError("not-a-model-file", `${names.join(", ")}: neither GGUF nor safetensors`);
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

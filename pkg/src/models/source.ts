/**
 * Reads the `model` option into one of four plain descriptions.
 *
 * This runs on the caller's side, since only there are relative URLs relative
 * to the page; what it gives can be posted to a worker.
 */

import { CacherError } from "../errors.js";
import type { FileData, LoadOptions } from "../types.js";
import { BUILTIN_MODELS } from "./builtin.js";

export type SourceSpec =
  | { kind: "builtin"; name: string; base: string }
  | { kind: "url"; url: string }
  | { kind: "hub"; repo: string; revision: string; hub: string }
  | { kind: "files"; files: { name: string; data: Blob | Uint8Array }[] };

const DEFAULT_HUB = "https://huggingface.co";
const REPOSITORY = /^[\w.-]+(\/[\w.-]+)?$/;
const SCHEME = /^[a-z][a-z0-9+.-]*:/i;

export type SourceOptions = Pick<LoadOptions, "model" | "modelsUrl" | "hubUrl">;

/** `base` is the address that relative URLs are relative to. */
export function parseSource({ model, modelsUrl, hubUrl }: SourceOptions, base: string): SourceSpec {
  const hub = folder(hubUrl ?? DEFAULT_HUB, base, "hubUrl");
  if (model instanceof URL) return { kind: "url", url: model.href };
  if (typeof model === "string") {
    if (BUILTIN_MODELS.has(model)) {
      return { kind: "builtin", name: model, base: folder(modelsUrl ?? "models/", base, "modelsUrl") };
    }
    if (SCHEME.test(model) || /^\.{0,2}\//.test(model)) {
      return { kind: "url", url: absolute(model, base, "model") };
    }
    const [repo = "", ...revision] = model.split("@");
    return hubSource(repo, revision.length > 0 ? revision.join("@") : undefined, hub);
  }
  if (typeof model !== "object" || model === null) {
    throw new CacherError("invalid-argument", "model: a name, a URL, a hub repository or files are needed");
  }
  if (Symbol.iterator in model) {
    return filesSource(Array.from(model, (file) => [file.name, file]));
  }
  if ("repo" in model && typeof model.repo === "string") {
    return hubSource(model.repo, (model as { revision?: string }).revision, hub);
  }
  return filesSource(Object.entries(model as Readonly<Record<string, FileData>>));
}

function hubSource(repo: string, revision = "main", hub: string): SourceSpec {
  if (!REPOSITORY.test(repo) || /(^|\/)\.+($|\/)/.test(repo)) {
    throw new CacherError(
      "invalid-argument",
      `model: "${repo}" is neither a hub repository (owner/name) nor a URL; begin a path with "/" or "./"`,
    );
  }
  if (typeof revision !== "string" || revision === "") {
    throw new CacherError("invalid-argument", `model: the revision of "${repo}" is empty`);
  }
  return { kind: "hub", repo, revision, hub };
}

function filesSource(entries: (readonly [string, FileData])[]): SourceSpec {
  if (entries.length === 0) throw new CacherError("invalid-argument", "model: no files were given");
  const files = entries.map(([name, data]) => {
    if (data instanceof Blob || data instanceof Uint8Array) return { name, data };
    if (data instanceof ArrayBuffer) return { name, data: new Uint8Array(data) };
    throw new CacherError("invalid-argument", `model: "${name}" must be a Blob, an ArrayBuffer or a Uint8Array`);
  });
  return { kind: "files", files };
}

function absolute(url: string | URL, base: string, option: string): string {
  try {
    return new URL(url, base).href;
  } catch {
    throw new CacherError("invalid-argument", `${option}: "${String(url)}" is not a URL`);
  }
}

function folder(url: string | URL, base: string, option: string): string {
  const href = absolute(url, base, option);
  return href.endsWith("/") ? href : `${href}/`;
}

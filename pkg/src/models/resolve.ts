/**
 * Finds out which files a model has, where they are and how long they are,
 * before any of them is downloaded.
 */

import { CacherError } from "../errors.js";
import { BUILTIN_MODELS } from "./builtin.js";
import { contentLength, isHtml, request, statusError, type Fetch } from "./http.js";
import { resolveHub } from "./hub.js";
import { parseManifest } from "./manifest.js";
import { selectFiles, type Role } from "./select.js";
import type { SourceSpec } from "./source.js";

export interface RemoteFile {
  name: string;
  role: Role;
  url: string;
  bytes: number | null;
  /** `bytes` is a manifest's word; a server's may be that of a compressed body. */
  exact: boolean;
  /** From a manifest or the hub; `null`: nobody vouches for the content. */
  sha256: string | null;
}

/** A source that is downloaded, in contrast to the caller's own files. */
export type RemoteSpec = Exclude<SourceSpec, { kind: "files" }>;

/** The name of the model in the store: the same source has the same one. */
export function modelId(spec: RemoteSpec): string {
  switch (spec.kind) {
    case "builtin":
      return spec.name;
    case "url":
      return spec.url;
    case "hub":
      return `${spec.repo}@${spec.revision}`;
  }
}

/** Where the model comes from, for people. */
export function sourceName(spec: RemoteSpec): string {
  switch (spec.kind) {
    case "builtin":
      return `${spec.base}${spec.name}/`;
    case "url":
      return spec.url;
    case "hub":
      return `${spec.hub}${spec.repo}`;
  }
}

export async function resolveFiles(spec: RemoteSpec, fetch: Fetch, signal?: AbortSignal): Promise<RemoteFile[]> {
  switch (spec.kind) {
    case "builtin":
      return builtinFiles(spec);
    case "hub":
      return resolveHub(spec, fetch, signal);
    case "url":
      return new URL(spec.url).pathname.endsWith(".gguf")
        ? [await singleFile(spec.url, fetch, signal)]
        : resolveFolder(spec.url, fetch, signal);
  }
}

/** The files of a built-in model; needs no network. */
export function builtinFiles({ name, base }: { name: string; base: string }): RemoteFile[] {
  return (BUILTIN_MODELS.get(name) ?? []).map((file) => ({
    ...file,
    exact: true,
    role: "weights",
    url: new URL(`${name}/${file.name}`, base).href,
  }));
}

async function singleFile(url: string, fetch: Fetch, signal?: AbortSignal): Promise<RemoteFile> {
  const answer = await head(url, fetch, signal);
  if (answer === "html") {
    throw new CacherError("not-a-model-file", `${url}: the server answered with a web page`, { url });
  }
  if (answer === null) throw statusError(url, 404);
  const { pathname } = new URL(url);
  const name = pathname.slice(pathname.lastIndexOf("/") + 1);
  return { name, role: "weights", url, bytes: answer.bytes, exact: false, sha256: null };
}

async function resolveFolder(url: string, fetch: Fetch, signal?: AbortSignal): Promise<RemoteFile[]> {
  const folder = new URL(url);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  const urlOf = (name: string) => {
    const file = new URL(name, folder);
    file.search = folder.search;
    return file.href;
  };

  const manifest = await request(fetch, urlOf("manifest.json"), { signal: signal ?? null });
  if (manifest.ok && !isHtml(manifest)) {
    const files = parseManifest(await manifest.text(), manifest.url || urlOf("manifest.json"));
    const roles = selectFiles(files.map((file) => file.name), folder.href);
    return files.flatMap((file) => {
      const role = roles.get(file.name);
      return role === undefined ? [] : [{ ...file, exact: true, role, url: urlOf(file.name) }];
    });
  }
  await manifest.body?.cancel();

  const found = new Map<string, { bytes: number | null }>();
  let page = false;
  const probe = async (names: string[]) => {
    const answers = await Promise.all(names.map((name) => head(urlOf(name), fetch, signal)));
    answers.forEach((answer, index) => {
      if (answer === "html") page = true;
      else if (answer !== null) found.set(names[index] as string, answer);
    });
  };
  await probe(["config.json", "model.safetensors", "tokenizer.json"]);
  if (!found.has("model.safetensors")) await probe(["model.gguf", "model.q8_0.gguf", "pytorch_model.bin"]);
  else if (!found.has("tokenizer.json")) await probe(["vocab.json", "merges.txt"]);
  if (page && ![...found.keys()].some((name) => name.startsWith("model."))) {
    throw new CacherError("not-a-model-file", `${folder.href}: the server answers with web pages, not model files`, {
      url: folder.href,
    });
  }
  return [...selectFiles([...found.keys()], folder.href)].map(([name, role]) => ({
    name,
    role,
    url: urlOf(name),
    bytes: found.get(name)?.bytes ?? null,
    exact: false,
    sha256: null,
  }));
}

/** Asks for a file's length without its content; `null` where there is no such file. */
async function head(url: string, fetch: Fetch, signal?: AbortSignal): Promise<{ bytes: number | null } | "html" | null> {
  const init = { signal: signal ?? null };
  let response = await request(fetch, url, { ...init, method: "HEAD" });
  if (response.status === 405 || response.status === 501) {
    // A server without HEAD: its GET tells as much, and the body is not read.
    response = await request(fetch, url, init);
    await response.body?.cancel();
  }
  if (response.status === 404 || response.status === 410) return null;
  if (!response.ok) throw statusError(url, response.status);
  return isHtml(response) ? "html" : { bytes: contentLength(response) };
}

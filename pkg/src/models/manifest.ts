/**
 * Reads `manifest.json`: the names, lengths and hashes of a folder's files.
 */

import { CacherError } from "../errors.js";

const MAX_FILES = 64;
/** A plain relative path: no scheme, no absolute path, no way upwards. */
const FILE_NAME = /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/;
const SHA256 = /^[0-9a-f]{64}$/;

export interface ManifestFile {
  name: string;
  bytes: number;
  sha256: string | null;
}

export function parseManifest(text: string, url: string): ManifestFile[] {
  const invalid = (reason: string) => new CacherError("invalid-model-file", `${url}: ${reason}`, { url });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw invalid("the manifest is not JSON");
  }
  const list = (json as { files?: unknown } | null)?.files;
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_FILES) {
    throw invalid(`the manifest must have "files", a list of 1 to ${MAX_FILES}`);
  }
  return list.map((entry: Record<string, unknown> | null, index) => {
    const { name, bytes, sha256 } = entry ?? {};
    if (typeof name !== "string" || !FILE_NAME.test(name)) {
      throw invalid(`files[${index}].name must be a relative path of letters, digits, ".", "_" and "-"`);
    }
    if (!isByteCount(bytes)) throw invalid(`files[${index}].bytes must be a whole number`);
    if (sha256 !== undefined && !isSha256(sha256)) throw invalid(`files[${index}].sha256 must be 64 hex digits`);
    return { name, bytes, sha256: sha256 ?? null };
  });
}

export function isSha256(value: unknown): value is string {
  return typeof value === "string" && SHA256.test(value);
}

export function isByteCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

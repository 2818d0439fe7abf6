/**
 * Tells from a file's first bytes whether it can be what it should be.
 *
 * Servers of single-page apps answer any path with a page and status 200; a
 * download is looked at before the first byte is stored.
 */

import { CacherError } from "../errors.js";
import type { Role } from "../models/select.js";

/** Errors that say a file's content is wrong: such a file is not worth keeping. */
export const CONTENT_ERRORS: ReadonlySet<string> = new Set([
  "checksum-mismatch",
  "invalid-model-file",
  "invalid-tokenizer",
  "not-a-model-file",
  "truncated-file",
]);

/** How many bytes `checkHead` wants to see, unless the file is shorter. */
export const HEAD_BYTES = 16;

/** Longest header the safetensors format allows. */
const MAX_SAFETENSORS_HEADER = 100_000_000;

/** Throws `not-a-model-file` unless `head` can begin a file of this role. */
export function checkHead(role: Role, head: Uint8Array, where: string): void {
  if (role === "weights" ? isGguf(head) || isSafetensors(head) : isText(role, head)) return;
  const looks = /^\s*</.test(latin1(head)) ? "it looks like a web page" : "its first bytes are wrong";
  throw new CacherError("not-a-model-file", `${where}: not a ${nameOf(role)} file, ${looks}`);
}

export function isGguf(head: Uint8Array): boolean {
  return latin1(head.subarray(0, 4)) === "GGUF";
}

export function isSafetensors(head: Uint8Array): boolean {
  if (head.length < 9 || head[8] !== 0x7b) return false;
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  return length >= 2n && length <= BigInt(MAX_SAFETENSORS_HEADER);
}

function isText(role: Role, head: Uint8Array): boolean {
  const text = latin1(head).replace(/^\u00ef\u00bb\u00bf/, "").trimStart();
  return role === "merges" ? text !== "" && !text.startsWith("<") : text.startsWith("{");
}

function nameOf(role: Role): string {
  return role === "weights" ? "GGUF or safetensors" : role;
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/**
 * Bytes as text, for places that keep text alone.
 */

import { CacherError } from "../errors.js";

/** Bytes at a time; a multiple of 3, so that the parts' texts join to that of the whole. */
const PART = 0x6000;

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PART) {
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + PART)));
  }
  return text;
}

/** Rejects what is no base64 as a record that is not right: it is one. */
export function fromBase64(text: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    throw new CacherError("invalid-cache-record", "what was found is not a record in base64");
  }
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

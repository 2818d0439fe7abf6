/**
 * Files that are there whole or not at all.
 */
import { closeSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Writes byte arrays one after another; the file has its name once all are written. */
export function writeChunks(path, chunks) {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(`${path}.part`, "w");
  try {
    for (const chunk of chunks) {
      const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
    }
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.part`, path);
}

/**
 * A cache as a file: eight bytes that name the format, then each record with
 * its length before it (32 bits, little-endian), then a length of 0 and the
 * number of records.
 *
 * Records have checksums of their own; the end tells a file that was cut off.
 */

import { CacherError } from "../errors.js";

const MAGIC = new TextEncoder().encode("CACHERC1");
/** More than any record may have: 64 MiB of value and what goes with it. */
const MAX_RECORD_BYTES = 66 << 20;

export async function writeCacheFile(records: AsyncIterable<Uint8Array>): Promise<Blob> {
  const parts: BlobPart[] = [MAGIC];
  let count = 0;
  for await (const record of records) {
    parts.push(uint32(record.length), record as Uint8Array<ArrayBuffer>);
    count++;
  }
  parts.push(uint32(0), uint32(count));
  return new Blob(parts, { type: "application/octet-stream" });
}

/** The records of a file, one at a time. Error: `invalid-cache-record`. */
export async function* readCacheFile(file: Blob): AsyncGenerator<Uint8Array> {
  let at = 0;
  const take = async (length: number) => {
    if (at + length > file.size) throw invalid("it ends before its end");
    const bytes = new Uint8Array(await file.slice(at, at + length).arrayBuffer());
    at += length;
    return bytes;
  };
  const magic = file.size < MAGIC.length ? undefined : await take(MAGIC.length);
  if (magic === undefined || magic.some((byte, index) => byte !== MAGIC[index])) throw invalid("it is no export of a cache");
  for (let count = 0; ; count++) {
    const length = toNumber(await take(4));
    if (length > MAX_RECORD_BYTES) throw invalid(`a record of ${length} bytes is too large`);
    if (length > 0) {
      yield await take(length);
      continue;
    }
    if (toNumber(await take(4)) !== count || at !== file.size) throw invalid("its end does not fit its content");
    return;
  }
}

function uint32(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function toNumber(bytes: Uint8Array): number {
  return new DataView(bytes.buffer).getUint32(0, true);
}

function invalid(why: string): CacherError {
  return new CacherError("invalid-cache-record", `file: ${why}`);
}

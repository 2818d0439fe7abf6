/**
 * The model store: what a backend keeps and what it must do.
 *
 * A model is a record and the bytes of its files. The record says which files
 * there are and which are complete; it is written, durably, after the bytes it
 * speaks of. So whatever a crash leaves behind is either complete or known to
 * be partial, and a partial file can be resumed.
 */

import { CacherError, messageOf } from "../errors.js";
import { isByteCount, isSha256 } from "../models/manifest.js";
import type { Role } from "../models/select.js";
import type { FileReader } from "./reader.js";

export const RECORD_VERSION = 1;

export interface FileRecord {
  name: string;
  role: Role;
  url: string;
  /** Declared length; the real one once complete. */
  bytes: number | null;
  /** Declared hash; the real one once complete. */
  sha256: string | null;
  /** ETag or date of the file that the bytes so far belong to. */
  validator: string | null;
  complete: boolean;
}

/** Weights as the engine computes with them, made from the model's files. */
export interface PackedRecord {
  /** Chosen by this package; see `isPackedName`. */
  name: string;
  bytes: number;
}

export interface ModelRecord {
  version: typeof RECORD_VERSION;
  id: string;
  source: string;
  files: FileRecord[];
  /** Absent in records of earlier versions, which ignore it in later ones. */
  packed?: PackedRecord[];
}

/** Appends to one file. Bytes may be lost at a crash until `close` resolved. */
export interface FileWriter {
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export interface ModelStore {
  readonly backend: "opfs" | "indexeddb";
  list(): Promise<ModelRecord[]>;
  get(id: string): Promise<ModelRecord | undefined>;
  /** Durable once resolved; replaces the record of this id as a whole. */
  put(record: ModelRecord): Promise<void>;
  delete(id: string): Promise<void>;
  /** Bytes held of a file; 0 where there is none. */
  size(id: string, name: string): Promise<number>;
  /** A writer at the file's end, or at its start with all it held dropped. Files are those of the record, and packed ones. */
  append(id: string, name: string, from: "start" | "end"): Promise<FileWriter>;
  /** The file in order, in slices. */
  read(id: string, name: string): AsyncIterable<Uint8Array>;
  /** The file for reading it piece by piece into given memory; closed by the caller. */
  open(id: string, name: string): Promise<FileReader>;
  /** Removes a packed file, if it is there. */
  remove(id: string, name: string): Promise<void>;
}

/** Bytes read from storage, and handed to the engine, at a time. */
export const SLICE_BYTES = 1 << 20;

/** Whether a file of this name holds packed weights; it is then safe as a file name everywhere. */
export function isPackedName(name: string): boolean {
  return /^packed-[a-z0-9]+-v\d+-[0-9a-f]{16}$/.test(name);
}

/** Checks a record that was read back: other code, or another version, may have written it. */
export function parseRecord(value: unknown): ModelRecord | undefined {
  const record = value as Partial<ModelRecord> | null | undefined;
  const valid =
    record?.version === RECORD_VERSION &&
    typeof record.id === "string" &&
    typeof record.source === "string" &&
    Array.isArray(record.files) &&
    record.files.every(
      (file) =>
        typeof file?.name === "string" &&
        typeof file.url === "string" &&
        ["weights", "config", "tokenizer", "vocab", "merges"].includes(file.role) &&
        (file.bytes === null || isByteCount(file.bytes)) &&
        (file.sha256 === null || isSha256(file.sha256)) &&
        (file.validator === null || typeof file.validator === "string") &&
        (!file.complete || (file.complete === true && file.bytes !== null && file.sha256 !== null)),
    ) &&
    (record.packed === undefined ||
      (Array.isArray(record.packed) &&
        record.packed.every((each) => typeof each?.name === "string" && isPackedName(each.name) && isByteCount(each.bytes))));
  return valid ? (record as ModelRecord) : undefined;
}

/** A failure of the browser's storage as a typed error. */
export function storageError(error: unknown): CacherError {
  if (error instanceof CacherError) return error;
  return error instanceof Error && error.name === "QuotaExceededError"
    ? new CacherError("storage-full", "the storage that this browser gives the page is full", {}, { cause: error })
    : new CacherError("storage-error", `the browser's storage failed: ${messageOf(error)}`, {}, { cause: error });
}

/**
 * Records as they lie in the database of states, read with care: another
 * version of this package, or another script of the origin, may have written
 * them. A record that is not what it should be is given without its bytes; who
 * reads it then finds it damaged, as one whose bytes have changed.
 */

export interface StoredState {
  id: string;
  /** Grows by one with every commit that writes the state; the first is 1. */
  version: number;
  /** Who does not know it may not write; see `StateDatabase.takeOver`. */
  fence: number;
  bytes: Uint8Array;
}

export interface StoredRecord {
  id: string;
  bytes: Uint8Array;
}

export function readState(value: unknown): StoredState {
  const { version, fence } = value as Partial<StoredState>;
  const record = readRecord(value);
  return Number.isSafeInteger(version) && Number.isSafeInteger(fence)
    ? { ...record, version: version as number, fence: fence as number }
    : { id: record.id, version: 0, fence: 0, bytes: new Uint8Array() };
}

export function readRecord(value: unknown): StoredRecord {
  const { id, bytes } = value as StoredRecord;
  return { id, bytes: readBytes(bytes) };
}

export function readBytes(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array();
}

/** Records that are none of ours are passed over: all ids are strings. */
export function hasTextId(value: unknown): boolean {
  return typeof (value as StoredRecord).id === "string";
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

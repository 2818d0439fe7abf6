/**
 * The database of states: its object stores, and how older ones become it.
 *
 * | store        | key    | value                                                     |
 * | ------------ | ------ | --------------------------------------------------------- |
 * | `states`     | `id`   | `{id, version, fence, bytes}`                             |
 * | `revisions`  | `id`   | `{id, bytes}`                                             |
 * | `drafts`     | `id`   | `{id, bytes}`, by the state's id                          |
 * | `blocks`     | name   | bytes                                                     |
 * | `sizes`      | name   | the block's length, to be known without reading the block |
 * | `quarantine` | number | `{store, id, value, time}`, see `StateDatabase`           |
 *
 * Version 1 had states without `version` and `fence`, revisions and blocks.
 */

import { CacherError } from "../errors.js";
import { abort, done } from "../store/connection.js";
import { readBytes } from "./records.js";

export const VERSION = 2;

/** Another tab closes its connection at once when it is asked to, unless it is frozen or runs foreign code. */
const BLOCKED_LIMIT_MS = 5_000;
/** An open that waits behind that of another tab is told nothing. */
const SILENCE_LIMIT_MS = 20_000;

/** Opens the database, made or brought to this version where it is not; one of a newer version is left as it is. */
export async function openDatabase(name: string): Promise<IDBDatabase> {
  if (typeof indexedDB === "undefined") throw new Error("IndexedDB is not available here");
  try {
    return await openWithin(indexedDB.open(name, VERSION));
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "VersionError") throw error;
    const found = await versionOf(name);
    throw new CacherError(
      "storage-newer",
      `a newer version of this library has written the stored states (schema ${found}, supported up to ${VERSION})`,
      { found, supported: VERSION },
      { cause: error },
    );
  }
}

function openWithin(request: IDBOpenDBRequest): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    let givenUp = false;
    let failedUpgrade: unknown;
    const giveUp = (reason: string) => {
      givenUp = true;
      reject(new CacherError("storage-error", `the stored states cannot be opened: ${reason}`));
    };
    let limit = setTimeout(giveUp, SILENCE_LIMIT_MS, "the browser does not answer");
    request.onblocked = () => {
      clearTimeout(limit);
      limit = setTimeout(giveUp, BLOCKED_LIMIT_MS, "another tab holds an older version of them open; close it and try again");
    };
    request.onupgradeneeded = ({ oldVersion }) => {
      clearTimeout(limit);
      const transaction = request.transaction!;
      upgrade(request.result, transaction, oldVersion).catch((error: unknown) => {
        // The old version stays.
        failedUpgrade = transaction.error ?? error;
        abort(transaction);
      });
    };
    request.onsuccess = () => {
      clearTimeout(limit);
      if (givenUp) request.result.close();
      else resolve(request.result);
    };
    request.onerror = () => {
      clearTimeout(limit);
      reject(failedUpgrade ?? request.error);
    };
  });
}

async function upgrade(database: IDBDatabase, transaction: IDBTransaction, from: number): Promise<void> {
  if (from < 1) {
    database.createObjectStore("states", { keyPath: "id" });
    database.createObjectStore("revisions", { keyPath: "id" });
    database.createObjectStore("blocks");
  }
  if (from < 2) {
    database.createObjectStore("drafts", { keyPath: "id" });
    database.createObjectStore("quarantine", { autoIncrement: true });
    const sizes = database.createObjectStore("sizes");
    await forEach(transaction.objectStore("states"), (cursor) => {
      cursor.update({ ...cursor.value, version: 1, fence: 0 });
    });
    await forEach(transaction.objectStore("blocks"), ({ key, value }) => {
      sizes.put(readBytes(value).length, key);
    });
  }
}

/** One record after the other: the blocks together may not fit into memory. */
async function forEach(store: IDBObjectStore, visit: (cursor: IDBCursorWithValue) => void): Promise<void> {
  const request = store.openCursor();
  for (let cursor = await done(request); cursor !== null; cursor = await done(request)) {
    visit(cursor);
    cursor.continue();
  }
}

/** The version of a database that there is. */
async function versionOf(name: string): Promise<number> {
  const request = indexedDB.open(name);
  // Deleted in this moment: do not make it anew.
  request.onupgradeneeded = () => request.transaction!.abort();
  const database = await done(request);
  const { version } = database;
  database.close();
  return version;
}

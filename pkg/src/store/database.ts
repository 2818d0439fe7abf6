/**
 * Opens an IndexedDB database of a known schema: makes it or brings it to this
 * version where it is not, and leaves one of a newer version as it is.
 */

import { CacherError } from "../errors.js";
import { abort, done } from "./connection.js";

export interface Schema {
  name: string;
  version: number;
  /** What it holds, for messages: `"the stored states"`. */
  contents: string;
  /** From version `from`, 0 where there was no database. Where it rejects, the old version stays. */
  upgrade(database: IDBDatabase, transaction: IDBTransaction, from: number): Promise<void>;
}

/** Another tab closes its connection at once when it is asked to, unless it is frozen or runs foreign code. */
const BLOCKED_LIMIT_MS = 5_000;
/** An open that waits behind that of another tab is told nothing. */
const SILENCE_LIMIT_MS = 20_000;

/** Rejects with `storage-newer` where a newer version of this library has written the database. */
export async function openDatabase(schema: Schema): Promise<IDBDatabase> {
  if (typeof indexedDB === "undefined") throw new Error("IndexedDB is not available here");
  const { name, version, contents } = schema;
  try {
    return await openWithin(indexedDB.open(name, version), schema);
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "VersionError") throw error;
    const found = await versionOf(name);
    throw new CacherError(
      "storage-newer",
      `a newer version of this library has written ${contents} (schema ${found}, supported up to ${version})`,
      { found, supported: version },
      { cause: error },
    );
  }
}

function openWithin(request: IDBOpenDBRequest, { contents, upgrade }: Schema): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    let givenUp = false;
    let failedUpgrade: unknown;
    const giveUp = (reason: string) => {
      givenUp = true;
      reject(new CacherError("storage-error", `${contents} cannot be opened: ${reason}`));
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

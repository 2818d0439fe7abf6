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

import { done } from "../store/connection.js";
import { openDatabase } from "../store/database.js";
import { readBytes } from "./records.js";

const VERSION = 2;

export function openStates(name: string): Promise<IDBDatabase> {
  return openDatabase({ name, version: VERSION, contents: "the stored states", upgrade });
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

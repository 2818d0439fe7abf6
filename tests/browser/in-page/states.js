/**
 * The storage of states as tests call it inside the page: bytes are texts,
 * which can cross to the test, or `{ length, byte }` where they must be many.
 */
import { StateChannel } from "/pkg/states/channel.js";
import { openStateDatabase } from "/pkg/states/database.js";
import { StateLocks } from "/pkg/states/locks.js";

export { openStateDatabase, StateChannel, StateLocks };

export const NAME = "test";

let database;

export async function open() {
  database = await openStateDatabase(NAME);
}

export const opened = () => database;

const toBytes = (content) => {
  if (content === null) return null;
  return typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content.length).fill(content.byte);
};

const toText = (bytes) => new TextDecoder().decode(bytes);
const plain = ({ bytes, ...rest }) => ({ ...rest, text: toText(bytes) });

/** A commit of `parts`, with what they leave out empty. */
export function toCommit(parts) {
  const converted = (items = []) => items.map((item) => ({ ...item, bytes: toBytes(item.bytes) }));
  return {
    states: converted(parts.states?.map((state) => ({ version: 0, fence: 0, ...state }))),
    revisions: converted(parts.revisions),
    requires: parts.requires ?? [],
    blocks: converted(parts.blocks),
    drafts: converted(parts.drafts?.map((draft) => ({ fence: 0, ...draft }))),
    expects: parts.expects ?? null,
  };
}

export const commit = (parts) => database.commit(toCommit(parts));

/** Everything in the database, contents of the blocks included. */
export async function readAll() {
  const { states, revisions, drafts, blocks, quarantined } = await database.readAll();
  return {
    states: states.map(plain),
    revisions: revisions.map(plain),
    drafts: drafts.map(plain),
    blocks: (await database.readBlocks(blocks)).map(plain),
    quarantined,
  };
}

/** As `readAll`, with the bytes in base64. */
export async function readAllBytes() {
  const { states, revisions, drafts, blocks, quarantined } = await database.readAll();
  const base64 = ({ bytes, ...rest }) => ({ ...rest, bytes: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) });
  return {
    states: states.map(base64),
    revisions: revisions.map(base64),
    drafts: drafts.map(base64),
    blocks: (await database.readBlocks(blocks)).map(base64),
    quarantined,
  };
}

export const readStates = async (ids) => (await database.readStates(ids)).map(plain);
export const readRevisions = async (ids) => (await database.readRevisions(ids)).map(plain);

/** A connection of our own, of which the package knows nothing. */
export function rawOpen(version, upgrade) {
  const request = indexedDB.open(NAME, version);
  request.onupgradeneeded = () => upgrade?.(request.result);
  return settled(request);
}

/** All keys and values of an object store, as they lie there. */
export async function rawEntries(store) {
  const raw = await rawOpen();
  const objects = raw.transaction(store).objectStore(store);
  const [keys, values] = await Promise.all([settled(objects.getAllKeys()), settled(objects.getAll())]);
  raw.close();
  return keys.map((key, index) => [key, values[index]]);
}

/** Puts a value as it is, past the package. */
export async function rawPut(store, value, key) {
  const raw = await rawOpen();
  await settled(raw.transaction(store, "readwrite").objectStore(store).put(value, key));
  raw.close();
}

export function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Makes a database of version 1 from `{states, revisions, blocks}`, whose bytes are in base64. */
export async function buildVersion1({ states, revisions, blocks }) {
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const raw = await rawOpen(1, (upgraded) => {
    upgraded.createObjectStore("states", { keyPath: "id" });
    upgraded.createObjectStore("revisions", { keyPath: "id" });
    upgraded.createObjectStore("blocks");
  });
  const transaction = raw.transaction(["states", "revisions", "blocks"], "readwrite");
  for (const { id, bytes } of states) transaction.objectStore("states").put({ id, bytes: bytesOf(bytes) });
  for (const { id, bytes } of revisions) transaction.objectStore("revisions").put({ id, bytes: bytesOf(bytes) });
  for (const { name, bytes } of blocks) transaction.objectStore("blocks").put(bytesOf(bytes), name);
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
  raw.close();
}

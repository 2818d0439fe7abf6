/**
 * The cache's layers in the browser's storage, as tests call them inside the
 * page: records are texts, which can cross to the test.
 */
import { IndexedDbLayer } from "/pkg/cache-layers/indexed-db.js";
import { LocalStorageLayer } from "/pkg/cache-layers/local-storage.js";
import { NAME } from "./states.js";

export { rawEntries, rawOpen, rawPut, settled } from "./states.js";

const KINDS = { indexeddb: IndexedDbLayer, localstorage: LocalStorageLayer };
const never = new AbortController().signal;

let layer;
/** What the layer has told. */
export const told = [];

export function open(kind, limits = { maxEntries: 10_000, maxBytes: 1 << 28 }) {
  layer = new KINDS[kind](NAME, limits, {
    onrejected: (count) => told.push(`rejected ${count}`),
    onevicted: (keys) => told.push(`evicted ${keys.sort().join(" ")}`),
  });
}

export const opened = () => layer;

/** Bytes that the browser cannot store in less room. */
function noise(length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 0x10000) crypto.getRandomValues(bytes.subarray(at, at + 0x10000));
  return bytes;
}

/** The facts of an entry, as the core would give them. */
export function entry(key, changes = {}) {
  return {
    ...{ key, title: `about ${key}`, kind: "value", model: null, created: 1_000, expires: null, lastUsed: 1_000, hits: 0, bytes: 1 },
    ...{ rawBytes: 2, costMs: 1.5, tokens: 0, tags: ["tag"], pinned: false, source: "test", layers: [], ...changes },
  };
}

/** Puts `content`, a text or how many bytes, under `key`. */
export async function put(key, content, changes = {}) {
  const record = typeof content === "string" ? new TextEncoder().encode(content) : noise(content);
  await layer.set(key, record, entry(key, { bytes: record.length, ...changes }), never);
}

export async function get(key) {
  const record = await layer.get(key, never);
  return record === undefined ? null : new TextDecoder().decode(record);
}

async function collect(batches) {
  const all = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}

export const entries = () => collect(layer.entries(never));
export const keys = async () => (await collect(layer.keys(never))).sort();
export const vectors = async () => (await collect(layer.vectors(never))).map((row) => ({ ...row, vector: [...row.vector] }));
export const setVector = (row) => layer.setVector({ ...row, vector: Float32Array.from(row.vector) });

/** Cleans up `plan`; which rows and limits there were to choose from. */
export async function cleanUp(plan) {
  let choice;
  const result = await layer.cleanUp((rows, limits) => {
    choice = { rows, limits };
    return plan;
  });
  return { ...choice, result };
}

/** The object stores that `work` reads or writes rows of. */
export async function storesTouched(work) {
  const touched = new Set();
  const methods = ["get", "getAll", "openCursor", "put"];
  const originals = methods.map((method) => IDBObjectStore.prototype[method]);
  methods.forEach((method, index) => {
    IDBObjectStore.prototype[method] = function (...values) {
      touched.add(this.name);
      return originals[index].apply(this, values);
    };
  });
  await work();
  methods.forEach((method, index) => (IDBObjectStore.prototype[method] = originals[index]));
  return [...touched];
}

/**
 * A model with its states as tests use them inside the page, and the database
 * of states as it lies there, past the package.
 */
import { Cacher } from "/pkg/index.js";

export { Cacher };

export const DATABASE = "cacher-states";

/** Loads tiny-gpt2, as `cacher` and `states`. */
export async function load(options = {}) {
  globalThis.cacher = await Cacher.load({ model: "tiny-gpt2", threads: 1, ...options });
  globalThis.states = cacher.states;
}

const SENTENCES = [
  "Once upon a time there was a little girl who lived in a house near the sea. ",
  "Every morning she went to the beach to look for shells and stones. ",
  "One day she found a small green bottle with a letter in it. ",
  "She ran home to show it to her mother, who could read the old words. ",
];

/** A text of more than 300 tokens; another `start` is another text. */
export function longText(start = "") {
  return start + Array.from({ length: 20 }, (_, index) => SENTENCES[(index * 7 + (index >> 2)) % SENTENCES.length]).join("");
}

/** Never ends by itself before `maxTokens`. */
export const endless = (maxTokens, options = {}) => ({ maxTokens, eosTokenIds: [], ...options });

/** Goes on with a state: what was made, and how many tokens the model was run for to begin. */
export async function goOn(state, maxTokens = 24, options = {}) {
  const { text, tokens, state: info, usage } = await state.generate(endless(maxTokens, options)).result;
  return { text, tokens, saved: info.saved, evaluated: usage.tokensEvaluated };
}

/** The first chunks of a generation, which goes on. */
export async function chunks(generation, count) {
  const iterator = generation[Symbol.asyncIterator]();
  let text = "";
  for (let read = 0; read < count; read++) text += (await iterator.next()).value.text;
  return text;
}

/** A connection of our own, of which the package knows nothing. */
export function rawOpen(version, upgrade, name = DATABASE) {
  const request = indexedDB.open(name, version);
  request.onupgradeneeded = () => upgrade?.(request.result);
  return settled(request);
}

/** What `work` gives of a transaction on the database. */
export async function raw(store, work, mode = "readwrite") {
  const database = await rawOpen();
  try {
    const transaction = database.transaction(store, mode);
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    const value = await work(transaction.objectStore(store));
    await ended;
    return value;
  } finally {
    database.close();
  }
}

export async function rawKeys(store) {
  return raw(store, (objects) => settled(objects.getAllKeys()), "readonly");
}

export async function rawGet(store, key) {
  return raw(store, (objects) => settled(objects.get(key)), "readonly");
}

export async function rawPut(store, value, key) {
  return raw(store, (objects) => settled(objects.put(value, key)));
}

/** Flips a bit near the end of a record. */
export async function flipBit(store, key) {
  const value = await rawGet(store, key);
  const bytes = value.bytes ?? value;
  bytes[bytes.length - 5] ^= 4;
  // The records of states and revisions have their keys in them.
  await rawPut(store, value, value.bytes === undefined ? key : undefined);
}

/** Everything in the database, as text to compare. */
export async function dump() {
  const database = await rawOpen();
  const contents = { version: database.version };
  for (const store of database.objectStoreNames) {
    const objects = database.transaction(store).objectStore(store);
    const [keys, values] = await Promise.all([settled(objects.getAllKeys()), settled(objects.getAll())]);
    contents[store] = keys.map((key, index) => [key, values[index]]);
  }
  database.close();
  return JSON.stringify(contents, (_, value) => (value instanceof Uint8Array ? hexOf(value) : value));
}

function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

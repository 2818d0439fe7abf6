/**
 * What tests call inside the page. Everything it gives can cross to the test
 * as JSON: arrays in place of typed arrays, errors as data.
 */
import { Cacher } from "/pkg/index.js";

export { Cacher };

/** The error that `promise` rejects with, as data; `null` where it does not. */
export async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const { name, code, message, details } = error;
    return { name, code, message, details, cause: error.cause === undefined ? null : String(error.cause) };
  }
}

/** The chunks of a generation and its result. */
export async function collect(generation) {
  const chunks = [];
  for await (const chunk of generation) chunks.push(chunk);
  return { chunks, result: await plainResult(generation) };
}

/** The result without its timings, which differ from run to run. */
export async function plainResult(generation) {
  const { timings: _, ...result } = await generation.result;
  return result;
}

/** Logits with a plain array. */
export async function plainLogits(promise) {
  const { data, shape, tokens } = await promise;
  return { data: [...data], shape, tokens };
}

/** Every file under the package's directory in OPFS, by path. */
export async function opfsFiles() {
  const files = {};
  const walk = async (directory, path) => {
    for await (const [name, handle] of directory.entries()) {
      if (handle.kind === "directory") await walk(handle, `${path}${name}/`);
      else files[`${path}${name}`] = handle;
    }
  };
  await walk(await navigator.storage.getDirectory(), "");
  return files;
}

/** The store's records as they lie in OPFS and IndexedDB, not as the package reads them. */
export async function rawRecords() {
  const records = [];
  for (const [path, handle] of Object.entries(await opfsFiles())) {
    if (/record\.\d+\.json$/.test(path)) records.push(JSON.parse(await (await handle.getFile()).text()));
  }
  return [...records, ...(await rawIndexedDb("records"))];
}

/** All values of an object store of the package's database. */
export async function rawIndexedDb(objectStore) {
  const database = await openDatabase();
  try {
    if (!database.objectStoreNames.contains(objectStore)) return [];
    return await settled(database.transaction(objectStore).objectStore(objectStore).getAll());
  } finally {
    database.close();
  }
}

async function openDatabase() {
  return settled(indexedDB.open("cacher-models"));
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Flips one bit in the middle of the largest stored file, in place; `part` must be in its name. */
export async function flipStoredBit(backend, part = "") {
  if (backend === "opfs") {
    const entries = Object.entries(await opfsFiles()).filter(([path]) => path.includes(part));
    const files = await Promise.all(entries.map(async ([, handle]) => ({ handle, file: await handle.getFile() })));
    const { handle, file } = files.sort((a, b) => b.file.size - a.file.size)[0];
    const at = file.size >> 1;
    const [byte] = new Uint8Array(await file.slice(at, at + 1).arrayBuffer());
    const writable = await handle.createWritable({ keepExistingData: true });
    await writable.write({ type: "write", position: at, data: Uint8Array.of(byte ^ 1) });
    await writable.close();
    return;
  }
  const database = await openDatabase();
  const pieces = database.transaction("pieces", "readwrite").objectStore("pieces");
  const keys = (await settled(pieces.getAllKeys())).filter(([, name]) => name.includes(part));
  const values = await Promise.all(keys.map((key) => settled(pieces.get(key))));
  const largest = values.reduce((best, value, index) => (value.length > values[best].length ? index : best), 0);
  values[largest][values[largest].length >> 1] ^= 1;
  await settled(pieces.put(values[largest], keys[largest]));
  database.close();
}

/** Takes the bytes of the one stored model's weights file away, and leaves the record that it is there. */
export async function removeStoredWeights(backend) {
  const [{ files }] = await rawRecords();
  const index = files.findIndex(({ role }) => role === "weights");
  if (backend === "opfs") {
    // Files are named by their places in the record.
    const [path] = Object.keys(await opfsFiles()).filter((each) => each.endsWith(`/file.${index}`));
    const names = path.split("/");
    let directory = await navigator.storage.getDirectory();
    for (const name of names.slice(0, -1)) directory = await directory.getDirectoryHandle(name);
    return directory.removeEntry(names.at(-1));
  }
  const database = await openDatabase();
  const pieces = database.transaction("pieces", "readwrite").objectStore("pieces");
  for (const key of await settled(pieces.getAllKeys())) {
    if (key[1] === files[index].name) await settled(pieces.delete(key));
  }
  database.close();
}

let lastSource;

/** A `model` option: as it is, or files fetched here, since files cannot cross from the test. */
export async function source(model) {
  if (model.as === undefined) return model;
  const { as, base, names } = model;
  const entries = await Promise.all(
    names.map(async (name) => {
      const blob = await (await fetch(base + name)).blob();
      if (as === "Blob") return [name, blob];
      if (as === "File") return [name, new File([blob], name)];
      const buffer = await blob.arrayBuffer();
      return [name, as === "ArrayBuffer" ? buffer : new Uint8Array(buffer)];
    }),
  );
  lastSource = entries.map(([, data]) => data);
  return as === "File" ? lastSource : Object.fromEntries(entries);
}

/** Whether the files given last still have their bytes: a transfer would have taken them. */
export function sourceIsWhole() {
  return lastSource.every((data) => (data.size ?? data.byteLength) > 0);
}

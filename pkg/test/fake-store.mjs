/**
 * A model store in memory that keeps the contract of the real ones, and fails
 * on demand.
 */

import { CacherError } from "../dist/errors.js";
import { sliceReader } from "../dist/store/reader.js";

export function fakeStore() {
  const records = new Map();
  const data = new Map();
  const key = (id, name) => `${id}\n${name}`;
  const store = {
    backend: "opfs",
    failWrites: undefined,
    failsFor: () => true,
    data,
    async list() {
      return [...records.values()].map((json) => JSON.parse(json));
    },
    async get(id) {
      return records.has(id) ? JSON.parse(records.get(id)) : undefined;
    },
    async put(record) {
      records.set(record.id, JSON.stringify(record));
    },
    async delete(id) {
      records.delete(id);
      for (const each of [...data.keys()]) if (each.startsWith(`${id}\n`)) data.delete(each);
    },
    async size(id, name) {
      return data.get(key(id, name))?.length ?? 0;
    },
    async append(id, name, from) {
      if (from === "start") data.set(key(id, name), Buffer.alloc(0));
      return {
        async write(bytes) {
          if (store.failWrites && store.failsFor(name)) throw store.failWrites;
          data.set(key(id, name), Buffer.concat([data.get(key(id, name)) ?? Buffer.alloc(0), bytes]));
        },
        async close() {},
      };
    },
    async *read(id, name) {
      const bytes = data.get(key(id, name)) ?? Buffer.alloc(0);
      for (let at = 0; at < bytes.length; at += 1 << 14) yield new Uint8Array(bytes.subarray(at, at + (1 << 14)));
    },
    async open(id, name) {
      if (!data.has(key(id, name))) throw new CacherError("storage-error", `no file ${name}`);
      return sliceReader(store.read(id, name));
    },
    async remove(id, name) {
      data.delete(key(id, name));
    },
  };
  return store;
}

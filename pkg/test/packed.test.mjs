/** Packed weights: saved once, read at the next start, and never worse than not having them. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { CacherError } from "../dist/errors.js";
import { loadModel } from "../dist/loading/load.js";
import { parseSource } from "../dist/models/source.js";
import { isPackedName, parseRecord } from "../dist/store/store.js";
import { fakeModule, weights } from "./fake-engine.mjs";
import { fakeStore } from "./fake-store.mjs";
import { serve } from "./server.mjs";

const bytes = weights(300_000);
const sha256 = createHash("sha256").update(bytes).digest("hex");
const nameOf = (dtype, version = 1) => `packed-${dtype}-v${version}-${sha256.slice(0, 16)}`;
const PACKED = 100_000;

let server;
let model;
before(async () => {
  server = await serve({ "/m.gguf": bytes, "/m/config.json": "{}", "/m/model.safetensors": safetensors(), "/m/tokenizer.json": "{ }" });
  model = `${server.url}/m.gguf`;
});
after(() => server.close());

function safetensors() {
  const header = Buffer.from('{"a":{}}');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(5000)]);
}

async function load(store, { dtype = "q8", source = model, signal = new AbortController().signal, ...fake } = {}) {
  const { module, memory, log } = fakeModule(fake);
  const reports = [];
  const loaded = await loadModel(parseSource({ model: source }, "http://localhost/"), "auto", {
    module, memory, dtype, signal,
    fetch: (url, init) => fetch(url, init),
    onProgress: (report) => reports.push(report),
    openStore: async () => store,
  });
  return { ...loaded, log, reports, memory };
}

const file = (store, dtype, version) => store.data.get(`${model}\n${nameOf(dtype, version)}`);
const names = async (store) => ((await store.get(model)).packed ?? []).map(({ name }) => name);

test("the second start reads the packed weights in place of the model's", async () => {
  const store = fakeStore();
  const first = await load(store);
  assert.deepEqual(first.storage, { backend: "opfs", reason: null });
  assert.ok(first.log.includes(`weights ${bytes.length}`));
  assert.deepEqual(await names(store), [nameOf("q8")]);

  const second = await load(store);
  assert.deepEqual(second.log, ["new loader", `packed ${PACKED}`]);
  assert.equal(second.engine.info().sha256, sha256);
  assert.deepEqual(second.storage, { backend: "opfs", reason: null });
  const loading = second.reports.filter(({ phase }) => phase === "load");
  assert.deepEqual(new Set(loading.map(({ total }) => total)), new Set([file(store, "q8").length]));
  assert.equal(loading[0].loaded, 0);
  assert.equal(loading.at(-1).loaded, loading.at(-1).total);
});

test("the file is header and bytes, each where the format says", async () => {
  const store = fakeStore();
  const { engine, memory } = await load(store);
  const packed = file(store, "q8");
  const header = engine.packedHeader();
  assert.equal(packed.readUInt32LE(0), header.length);
  assert.deepEqual(new Uint8Array(packed.subarray(4, 4 + header.length)), header);
  const start = Math.ceil((4 + header.length) / 64) * 64;
  assert.ok(packed.subarray(4 + header.length, start).every((byte) => byte === 0));
  const inMemory = new Uint8Array(memory.buffer, engine.packedAddress(), engine.packedBytes());
  assert.ok(packed.subarray(start).equals(inMemory));
  assert.equal((await store.get(model)).packed[0].bytes, packed.length);
});

test("weights of many pieces come back whole", async () => {
  const store = fakeStore();
  const packedBytes = (17 << 20) + 5;
  await load(store, { packedBytes });
  assert.ok((await load(store, { packedBytes })).log.includes(`packed ${packedBytes}`));
});

test("config and tokenizer reach the engine before the packed weights", async () => {
  const store = fakeStore();
  const source = `${server.url}/m/`;
  await load(store, { source });
  const { log } = await load(store, { source });
  assert.deepEqual(log, ["new loader", "config 2", "tokenizer 3", `packed ${PACKED}`]);
});

test("each number format has its own, and f32 has none", async () => {
  const store = fakeStore();
  for (const dtype of ["q8", "q4", "f32"]) await load(store, { dtype });
  assert.deepEqual(await names(store), [nameOf("q8"), nameOf("q4")]);
  assert.ok((await load(store, { dtype: "q4" })).log.includes(`packed ${PACKED}`));
  assert.ok((await load(store, { dtype: "f32" })).log.includes(`weights ${bytes.length}`));
});

test("a damaged file is dropped, the model loaded from its own files and packed again", async () => {
  const damages = {
    "a flipped bit": (packed) => (packed[packed.length >> 1] ^= 1),
    "a short file": (packed, store) => store.data.set(`${model}\n${nameOf("q8")}`, packed.subarray(0, 50_000)),
    "an empty file": (_, store) => store.data.set(`${model}\n${nameOf("q8")}`, Buffer.alloc(0)),
    "no file": (_, store) => store.data.delete(`${model}\n${nameOf("q8")}`),
    "a header length out of range": (packed) => packed.writeUInt32LE(0xffff_ffff, 0),
    "a header that the engine refuses": (packed) => packed.write('{"refuse":1,"x":"', 4),
    "a header of other weights": (packed) => packed.write("0000", packed.indexOf(sha256)),
  };
  for (const [name, damage] of Object.entries(damages)) {
    const store = fakeStore();
    await load(store);
    const whole = Buffer.from(file(store, "q8"));
    damage(file(store, "q8"), store);
    const before = server.requests.length;
    const { log, engine, storage } = await load(store);
    assert.ok(log.includes(`weights ${bytes.length}`), name);
    assert.equal(engine.info().sha256, sha256);
    assert.deepEqual(storage, { backend: "opfs", reason: null });
    assert.equal(server.requests.length, before, `${name}: the stored files are used`);
    assert.ok(file(store, "q8").equals(whole), `${name}: packed again`);
    assert.ok((await load(store)).log.includes(`packed ${PACKED}`), name);
  }
});

test("files of another format version are removed", async () => {
  const store = fakeStore();
  await load(store);
  await load(store, { dtype: "q4" });
  await load(store, { packedVersion: 2 });
  assert.deepEqual(await names(store), [nameOf("q8", 2)]);
  assert.equal(file(store, "q8"), undefined);
  assert.equal(file(store, "q4"), undefined);
});

test("a full storage costs the packed weights, not the load nor the stored files", async () => {
  const store = fakeStore();
  store.failWrites = new CacherError("storage-full", "full");
  store.failsFor = isPackedName;
  const { engine, storage } = await load(store);
  assert.equal(engine.info().sha256, sha256);
  assert.deepEqual(storage, { backend: "opfs", reason: "the packed weights are not stored: full" });
  assert.deepEqual(await names(store), []);
  assert.equal(file(store, "q8"), undefined);
  assert.equal((await store.get(model)).files[0].complete, true);
  store.failWrites = undefined;
  await load(store);
  assert.deepEqual(await names(store), [nameOf("q8")]);
});

test("what a crash left of a file does not count", async () => {
  const store = fakeStore();
  await load(store, { dtype: "f32" });
  store.data.set(`${model}\n${nameOf("q8")}`, Buffer.alloc(70_000));
  assert.ok((await load(store)).log.includes(`weights ${bytes.length}`));
  assert.ok((await load(store)).log.includes(`packed ${PACKED}`));
});

test("an abort while packed weights are read ends the load and keeps them", async () => {
  const store = fakeStore();
  await load(store);
  await assert.rejects(load(store, { signal: AbortSignal.abort() }), { code: "aborted" });
  assert.deepEqual(await names(store), [nameOf("q8")]);
});

test("a model deleted in another tab meanwhile is not brought back", async () => {
  const store = fakeStore();
  await load(store, { dtype: "f32" });
  const { get } = store;
  let calls = 0;
  // The first look finds the model, the one before saving does not.
  store.get = async (id) => {
    if (++calls === 2) await store.delete(id);
    return get(id);
  };
  const { storage } = await load(store);
  assert.equal(storage.reason, null);
  assert.deepEqual(await store.list(), []);
  assert.equal(store.data.size, 0);
});

test("records without packed weights are read, and false ones refused", async () => {
  const store = fakeStore();
  await load(store);
  const record = await store.get(model);
  assert.ok(parseRecord(record));
  const { packed, ...old } = record;
  assert.ok(parseRecord(old));
  for (const bad of [{}, [null], [{ name: "../x", bytes: 1 }], [{ ...packed[0], bytes: -1 }]]) {
    assert.equal(parseRecord({ ...record, packed: bad }), undefined, JSON.stringify(bad));
  }
});

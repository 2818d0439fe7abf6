/** Downloads: what is stored, what is resumed, and what is refused. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, test } from "node:test";
import { loadModel } from "../dist/loading/load.js";
import { parseSource } from "../dist/models/source.js";
import { CacherError } from "../dist/errors.js";
import { fakeModule, weights } from "./fake-engine.mjs";
import { fakeStore } from "./fake-store.mjs";
import { serve } from "./server.mjs";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const bytes = weights(300_000);
let server;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function load(model, { store = fakeStore(), preference = "auto", signal = new AbortController().signal, onProgress = () => {}, ...options } = {}) {
  const { module, memory, log } = fakeModule();
  const source = parseSource({ model, ...options }, "http://localhost/");
  const loaded = await loadModel(source, preference, {
    module, memory, signal, onProgress,
    // What is packed for the others has a test of its own.
    dtype: "f32",
    fetch: (url, init) => fetch(url, init),
    openStore: async () => store,
  });
  return { ...loaded, log };
}

const manifest = (file = bytes, extra = {}) =>
  JSON.stringify({ files: [{ name: "m.gguf", bytes: file.length, sha256: sha256(file), ...extra }] });

test("a model is stored, and the second load needs no network", async () => {
  server = await serve({ "/m.gguf": bytes });
  const store = fakeStore();
  const first = await load(`${server.url}/m.gguf`, { store });
  assert.equal(first.engine.info().sha256, sha256(bytes));
  assert.deepEqual(first.storage, { backend: "opfs", reason: null });
  const [record] = await store.list();
  assert.equal(record.files[0].complete, true);
  assert.equal(record.files[0].sha256, sha256(bytes));
  const before = server.requests.length;
  await load(`${server.url}/m.gguf`, { store });
  assert.equal(server.requests.length, before);
});

test("each byte is fetched once", async () => {
  server = await serve({ "/m.gguf": bytes });
  await load(`${server.url}/m.gguf`);
  assert.deepEqual(server.requests.map(({ method, path }) => `${method} ${path}`), ["HEAD /m.gguf", "GET /m.gguf"]);
});

test("progress has the total from its first report on, and ends complete", async () => {
  server = await serve({ "/a/config.json": "{}", "/a/model.safetensors": safetensors(), "/a/tokenizer.json": "{ }" });
  const reports = [];
  await load(`${server.url}/a/`, { onProgress: (p) => reports.push(p) });
  const total = safetensors().length + 5;
  for (const phase of ["download", "load"]) {
    const of = reports.filter((p) => p.phase === phase);
    assert.ok(of.length > 0, phase);
    assert.ok(of.every((p) => p.total === total), phase);
    assert.equal(of[0].loaded, 0);
    assert.equal(of.at(-1).loaded, total);
  }
  assert.equal(reports[0].phase, "resolve");
  assert.equal(reports.at(-1).phase, "ready");
});

function safetensors() {
  const header = Buffer.from('{"a":{}}');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(5000)]);
}

test("config and tokenizer reach the engine before the weights", async () => {
  server = await serve({ "/a/config.json": "{}", "/a/model.safetensors": safetensors(), "/a/vocab.json": "{}", "/a/merges.txt": "#v" });
  for (const store of [fakeStore(), "no storage here"]) {
    const { log } = await load(`${server.url}/a`, { store });
    assert.deepEqual(log.slice(-4), ["new loader", "config 2", "vocab 2 merges 2", `weights ${safetensors().length}`]);
  }
});

test("a config that the engine refuses spares the download of the weights", async () => {
  for (const store of [fakeStore(), "no storage here"]) {
    server = await serve({ "/a/config.json": '{"model_type":"bert"}', "/a/model.safetensors": safetensors() });
    await assert.rejects(load(`${server.url}/a/`, { store }), { code: "unsupported-model" });
    assert.ok(!server.requests.some(({ method, path }) => method === "GET" && path.endsWith(".safetensors")));
    await server.close();
  }
});

test("a connection that breaks once is resumed within the load", async () => {
  for (const store of [fakeStore(), "no storage here"]) {
    server = await serve({ "/m.gguf": { body: bytes, etag: '"v1"', fault: { cutAt: 100_000 } } });
    const { engine } = await load(`${server.url}/m.gguf`, { store });
    assert.equal(engine.info().sha256, sha256(bytes));
    const resumed = server.requests.at(-1);
    assert.match(resumed.range, /^bytes=[1-9]\d*-$/);
    assert.equal(resumed.ifRange, '"v1"');
    await server.close();
  }
});

test("a load that failed is resumed by the next one", async () => {
  server = await serve({ "/m.gguf": { body: bytes, etag: '"v1"', fault: { cutAt: 50_000, times: 2 } } });
  const store = fakeStore();
  await assert.rejects(load(`${server.url}/m.gguf`, { store }), { code: "network-error" });
  const held = store.data.get(`${server.url}/m.gguf\nm.gguf`).length;
  assert.ok(held > 50_000 && held <= 100_000, `${held}`);
  const reports = [];
  const { engine } = await load(`${server.url}/m.gguf`, { store, onProgress: (p) => reports.push(p) });
  assert.equal(engine.info().sha256, sha256(bytes));
  assert.equal(server.requests.at(-1).range, `bytes=${held}-`);
  assert.equal(reports.find((p) => p.phase === "download").loaded, held);
});

test("a file that changed meanwhile is fetched anew, never mixed", async () => {
  server = await serve({ "/m.gguf": { body: bytes, etag: '"v1"', fault: { cutAt: 50_000, times: 2 } } });
  const store = fakeStore();
  await assert.rejects(load(`${server.url}/m.gguf`, { store }), { code: "network-error" });
  const changed = weights(300_000, "new");
  server.files["/m.gguf"] = { body: changed, etag: '"v2"' };
  assert.equal((await load(`${server.url}/m.gguf`, { store })).engine.info().sha256, sha256(changed));
});

test("servers that ignore ranges, or answer another one, cost a fresh download", async () => {
  for (const fault of [{ noRange: true }, { wrongRange: true }]) {
    server = await serve({ "/m.gguf": { body: bytes, etag: '"v1"', fault: { cutAt: 50_000, ...fault } } });
    assert.equal((await load(`${server.url}/m.gguf`)).engine.info().sha256, sha256(bytes));
    await server.close();
  }
});

test("a partial file with neither ETag nor hash is not continued", async () => {
  server = await serve({ "/m.gguf": { body: bytes, fault: { cutAt: 50_000 } } });
  assert.equal((await load(`${server.url}/m.gguf`)).engine.info().sha256, sha256(bytes));
  assert.equal(server.requests.at(-1).range, undefined);
});

test("a file that ends short is not committed", async () => {
  const short = bytes.subarray(0, 200_000);
  server = await serve({ "/a/manifest.json": manifest(), "/a/m.gguf": { body: short, fault: { chunked: true } } });
  const store = fakeStore();
  await assert.rejects(load(`${server.url}/a/`, { store }), {
    code: "truncated-file", details: { url: `${server.url}/a/m.gguf`, got: 200_000, expected: 300_000 },
  });
  assert.equal((await store.list())[0].files[0].complete, false);
  server.files["/a/m.gguf"] = bytes;
  assert.equal((await load(`${server.url}/a/`, { store })).engine.info().sha256, sha256(bytes));
});

test("one flipped bit is a checksum mismatch and nothing is kept", async () => {
  const flipped = Buffer.from(bytes);
  flipped[150_000] ^= 1;
  server = await serve({ "/a/manifest.json": manifest(), "/a/m.gguf": flipped });
  const store = fakeStore();
  await assert.rejects(load(`${server.url}/a/`, { store }), { code: "checksum-mismatch" });
  assert.equal(await store.size(`${server.url}/a/`, "m.gguf"), 0);
  await assert.rejects(load(`${server.url}/a/`, { store: "no storage here" }), { code: "checksum-mismatch" });
});

test("a file longer than its manifest says is refused", async () => {
  server = await serve({ "/a/manifest.json": manifest(), "/a/m.gguf": Buffer.concat([bytes, bytes]) });
  await assert.rejects(load(`${server.url}/a/`), { code: "checksum-mismatch" });
});

test("a web page in place of weights is refused before a byte is stored", async () => {
  const page = "<!doctype html><html><body>app</body></html>".padEnd(2000);
  for (const type of ["text/html; charset=utf-8", "application/octet-stream"]) {
    server = await serve({ "/m.gguf": { body: page, type } });
    const store = fakeStore();
    await assert.rejects(load(`${server.url}/m.gguf`, { store }), { code: "not-a-model-file" });
    assert.equal([...store.data.values()].reduce((sum, each) => sum + each.length, 0), 0);
    await assert.rejects(load(`${server.url}/m.gguf`, { store: "no storage here" }), { code: "not-a-model-file" });
    await server.close();
  }
});

test("statuses and dead servers are told apart, with the URL", async () => {
  server = await serve({ "/500.gguf": { body: "", status: 500 } });
  const { url } = server;
  await assert.rejects(load(`${url}/none.gguf`), { code: "not-found", message: new RegExp(`${url}/none.gguf`) });
  await assert.rejects(load(`${url}/500.gguf`), { code: "http-error", details: { url: `${url}/500.gguf`, status: 500 } });
  await server.close();
  server = undefined;
  await assert.rejects(load(`${url}/m.gguf`), { code: "network-error", message: new RegExp(`${url}/m.gguf`) });
});

test("a stored copy that was damaged is deleted and fetched again", async () => {
  server = await serve({ "/m.gguf": bytes });
  const store = fakeStore();
  await load(`${server.url}/m.gguf`, { store });
  for (const at of [150_000, 4]) {
    const copy = store.data.get(`${server.url}/m.gguf\nm.gguf`);
    if (at === 4) copy.write("BAD", 4);
    else copy[at] ^= 1;
    const before = server.requests.length;
    assert.equal((await load(`${server.url}/m.gguf`, { store })).engine.info().sha256, sha256(bytes));
    assert.ok(server.requests.length > before);
  }
  store.data.get(`${server.url}/m.gguf\nm.gguf`)[9] ^= 1;
  await server.close();
  server = undefined;
  await assert.rejects(load("http://127.0.0.1:9/m.gguf", { store }), { code: "network-error" });
});

test("a model that the engine refuses is not kept, and not fetched in a loop", async () => {
  const bad = weights(5000, "BAD");
  server = await serve({ "/m.gguf": bad });
  const store = fakeStore();
  await assert.rejects(load(`${server.url}/m.gguf`, { store }), { code: "invalid-model-file" });
  assert.deepEqual(await store.list(), []);
  assert.equal(server.requests.filter(({ method }) => method === "GET").length, 1);
});

test("a full storage falls back to memory and says so; a named store makes it an error", async () => {
  server = await serve({ "/m.gguf": bytes });
  const store = fakeStore();
  store.failWrites = new CacherError("storage-full", "full");
  const { engine, storage } = await load(`${server.url}/m.gguf`, { store });
  assert.equal(engine.info().sha256, sha256(bytes));
  assert.deepEqual(storage, { backend: "memory", reason: "full" });
  assert.deepEqual(await store.list(), []);
  await assert.rejects(load(`${server.url}/m.gguf`, { store, preference: "opfs" }), { code: "storage-full" });
});

test("a model that cannot fit is not begun to be stored", async () => {
  server = await serve({ "/m.gguf": bytes });
  const saved = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const storage = { estimate: async () => ({ quota: 250_000, usage: 50_000 }) };
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { storage } });
  try {
    const { storage } = await load(`${server.url}/m.gguf`);
    assert.equal(storage.backend, "memory");
    assert.match(storage.reason, /300000 bytes/);
    const full = { code: "storage-full", details: { needed: 300_000, available: 200_000 } };
    await assert.rejects(load(`${server.url}/m.gguf`, { preference: "opfs" }), full);
    assert.equal(server.requests.filter(({ method }) => method === "GET").length, 1);
  } finally {
    if (saved) Object.defineProperty(globalThis, "navigator", saved);
    else delete globalThis.navigator;
  }
});

test("an abort ends the load and keeps what came", async () => {
  server = await serve({ "/m.gguf": { body: bytes, etag: '"v1"', fault: { slow: true } } });
  const store = fakeStore();
  const controller = new AbortController();
  const loading = load(`${server.url}/m.gguf`, {
    store, signal: controller.signal,
    onProgress: ({ phase, loaded }) => phase === "download" && loaded > 20_000 && controller.abort(),
  });
  await assert.rejects(loading, { code: "aborted", name: "AbortError" });
  assert.ok((await store.size(`${server.url}/m.gguf`, "m.gguf")) > 20_000);
});

test("files are recognised by name or by their first bytes, and are not stored", async () => {
  for (const model of [
    [new File([bytes], "model.gguf")],
    [new File([bytes], "something")],
    { "m.bin": new Uint8Array(bytes) },
    { m: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) },
  ]) {
    const { engine, storage } = await load(model);
    assert.equal(engine.info().sha256, sha256(bytes));
    assert.equal(storage.backend, "memory");
  }
  const { log } = await load([new File([safetensors()], "model.safetensors"), new File(["{}"], "config.json")]);
  assert.ok(log.includes("config 2"));
  await assert.rejects(load([new File(["hello"], "notes.txt")]), { code: "not-a-model-file", message: /notes\.txt/ });
  await assert.rejects(load([new File(["x"], "pytorch_model.bin")]), { code: "unsupported-model" });
  await assert.rejects(load([new File([safetensors()], "model.safetensors")]), { code: "not-found", message: /config\.json/ });
  await assert.rejects(load([]), { code: "invalid-argument" });
});

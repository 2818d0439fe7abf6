/** Which files a `model` option means, and what is said where there are none. */

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { modelId, resolveFiles } from "../dist/models/resolve.js";
import { parseSource } from "../dist/models/source.js";
import { serve } from "./server.mjs";

const BASE = "https://page.example/app/index.html";
const parse = (model, options = {}) => parseSource({ model, ...options }, BASE);
let server;
afterEach(async () => {
  await server?.close();
  server = undefined;
});
const resolve = (source) => resolveFiles(source, (url, init) => fetch(url, init));

test("strings are read as a built-in name, a URL or a hub repository", () => {
  assert.deepEqual(parse("tiny-gpt2"), { kind: "builtin", name: "tiny-gpt2", base: "https://page.example/app/models/" });
  assert.equal(parse("tiny-gpt2", { modelsUrl: "/m" }).base, "https://page.example/m/");
  assert.equal(parse("./gpt/").url, "https://page.example/app/gpt/");
  assert.equal(parse("/gpt/m.gguf").url, "https://page.example/gpt/m.gguf");
  assert.equal(parse("https://x.example/m.gguf").url, "https://x.example/m.gguf");
  assert.equal(parse(new URL("https://x.example/m")).url, "https://x.example/m");
  assert.deepEqual(parse("gpt2"), { kind: "hub", repo: "gpt2", revision: "main", hub: "https://huggingface.co/" });
  assert.deepEqual(parse("o/n@v1.0", { hubUrl: "https://h.example" }), { kind: "hub", repo: "o/n", revision: "v1.0", hub: "https://h.example/" });
  assert.equal(parse({ repo: "o/n", revision: "refs/pr/1" }).revision, "refs/pr/1");
});

test("what is no source is refused by name", () => {
  for (const bad of ["", "a/b/c", "..", "o/..", "o n/x", 7, null, undefined, { "a.gguf": "text" }, "gpt2@"]) {
    assert.throws(() => parse(bad), { code: "invalid-argument" }, String(bad));
  }
});

test("the built-in model has its length and hash from the package", async () => {
  const source = parse("tiny-gpt2");
  const [file] = await resolve(source);
  assert.equal(file.url, "https://page.example/app/models/tiny-gpt2/model.q8_0.gguf");
  assert.match(file.sha256, /^[0-9a-f]{64}$/);
  assert.ok(file.bytes > 1e6);
  assert.equal(modelId(source), "tiny-gpt2");
});

test("a folder is probed: safetensors first, then GGUF", async () => {
  server = await serve({
    "/st/config.json": "{}", "/st/model.safetensors": "12345", "/st/tokenizer.json": "{}",
    "/gg/model.q8_0.gguf": "GGUF",
    "/spa/model.gguf": "GGUF", "/spa/config.json": { body: "<html>", type: "text/html" },
    "/pt/config.json": "{}", "/pt/pytorch_model.bin": "x",
    "/nc/model.safetensors": "12345",
  });
  const names = async (path) => (await resolve(parse(server.url + path))).map(({ name, role, bytes }) => [name, role, bytes]);
  assert.deepEqual(await names("/st"), [["config.json", "config", 2], ["tokenizer.json", "tokenizer", 2], ["model.safetensors", "weights", 5]]);
  assert.deepEqual(await names("/gg/"), [["model.q8_0.gguf", "weights", 4]]);
  assert.deepEqual(await names("/spa/"), [["model.gguf", "weights", 4]]);
  await assert.rejects(names("/pt/"), { code: "unsupported-model", message: /PyTorch/ });
  await assert.rejects(names("/nc/"), { code: "not-found", message: /config\.json/ });
  await assert.rejects(names("/none/"), { code: "not-found" });
});

test("a server that answers everything with a page has no model", async () => {
  const page = { body: "<html>", type: "text/html" };
  server = await serve(new Proxy({}, { get: () => page }));
  await assert.rejects(resolve(parse(`${server.url}/a/`)), { code: "not-a-model-file" });
  await assert.rejects(resolve(parse(`${server.url}/a.gguf`)), { code: "not-a-model-file" });
});

test("a manifest is believed only where it is well formed", async () => {
  const good = { name: "w.gguf", bytes: 4, sha256: "ab".repeat(32) };
  server = await serve({});
  const url = `${server.url}/a/`;
  const withManifest = (json) => {
    server.files["/a/manifest.json"] = { body: typeof json === "string" ? json : JSON.stringify(json), type: "application/json" };
    return resolve(parse(url));
  };
  const [file] = await withManifest({ files: [good] });
  assert.deepEqual(file, { ...good, role: "weights", exact: true, url: `${url}w.gguf` });
  for (const bad of [
    "{", "null", { files: [] }, { files: {} }, { files: [null] },
    ...["../w.gguf", "/w.gguf", "//evil.example/w.gguf", "https://evil.example/w.gguf", "a\\w.gguf", "a/../w.gguf", ""].map((name) => ({ files: [{ ...good, name }] })),
    { files: [{ ...good, bytes: -1 }] }, { files: [{ ...good, bytes: "4" }] }, { files: [{ ...good, sha256: "x" }] },
  ]) {
    await assert.rejects(withManifest(bad), { code: "invalid-model-file" }, JSON.stringify(bad));
  }
});

test("a hub repository is fetched at the commit that its API names", async () => {
  const commit = "c".repeat(40);
  const sha256 = "d".repeat(64);
  const answer = (siblings) => ({ type: "application/json", body: JSON.stringify({ sha: commit, siblings }) });
  server = await serve({
    "/api/models/o/n/revision/main": answer([
      { rfilename: "config.json", size: 10 },
      { rfilename: "model.safetensors", size: 500, lfs: { sha256, size: 500 } },
      { rfilename: "pytorch_model.bin", size: 500 },
      { rfilename: "onnx/model.onnx", size: 9 },
      { rfilename: "tokenizer.json", size: 20 },
    ]),
    "/api/models/o/gguf/revision/v1": answer([
      { rfilename: "x.Q4_K.gguf", size: 1 }, { rfilename: "x.Q8_0.gguf", size: 2, lfs: { sha256: "nonsense" } },
    ]),
    "/api/models/o/odd/revision/main": { type: "application/json", body: "[]" },
    "/api/models/o/private/revision/main": { body: "", status: 401 },
    "/api/models/o/busy/revision/main": { body: "", status: 503 },
  });
  const hub = { hubUrl: server.url };
  assert.deepEqual(await resolve(parse("o/n", hub)), [
    { name: "config.json", role: "config", bytes: 10, exact: true, sha256: null },
    { name: "tokenizer.json", role: "tokenizer", bytes: 20, exact: true, sha256: null },
    { name: "model.safetensors", role: "weights", bytes: 500, exact: true, sha256 },
  ].map((file) => ({ ...file, url: `${server.url}/o/n/resolve/${commit}/${file.name}` })));
  const [gguf] = await resolve(parse("o/gguf@v1", hub));
  assert.equal(gguf.name, "x.Q8_0.gguf");
  assert.equal(gguf.sha256, null);
  await assert.rejects(resolve(parse("o/odd", hub)), { code: "http-error" });
  await assert.rejects(resolve(parse("o/private", hub)), { code: "not-found", message: /o\/private/ });
  await assert.rejects(resolve(parse("o/busy", hub)), { code: "http-error" });
});

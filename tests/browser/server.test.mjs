/**
 * The server behind `npm start`: what a browser needs to be told, byte ranges,
 * and nothing from outside its folder.
 */

import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../../scripts/serve.mjs";

const FILES = {
  "index.html": "<!doctype html>",
  "sw.js": "/* */",
  "assets/engine-a1B2c3D4.wasm": "wasm",
  "models/m.gguf": "0123456789",
  "models/manifest.json": "{}",
};

let parent;
let server;

before(async () => {
  parent = mkdtempSync(join(tmpdir(), "cacher-server-"));
  for (const [name, content] of Object.entries(FILES)) {
    mkdirSync(join(parent, "site", name, ".."), { recursive: true });
    writeFileSync(join(parent, "site", name), content);
  }
  writeFileSync(join(parent, "secret.txt"), "secret");
  server = await serve(join(parent, "site"));
});

after(async () => {
  await server.close();
  rmSync(parent, { recursive: true });
});

/** Sends the path as it is; `fetch` would tidy it up first. */
function get(path, headers = {}) {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    request({ hostname, port, path, headers }, (response) => {
      let body = "";
      response.on("data", (data) => (body += data));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body }));
    })
      .on("error", reject)
      .end();
  });
}

test("every answer makes the page cross-origin isolated and forbids guessing types", async () => {
  for (const path of ["/", "/sw.js", "/models/m.gguf", "/nothing"]) {
    const { headers } = await get(path);
    assert.equal(headers["cross-origin-opener-policy"], "same-origin");
    assert.equal(headers["cross-origin-embedder-policy"], "require-corp");
    assert.equal(headers["x-content-type-options"], "nosniff");
  }
});

test("files have their types; only hashed names are kept without asking", async () => {
  for (const [path, type, cache] of [
    ["/", "text/html; charset=utf-8", "no-cache"],
    ["/sw.js", "text/javascript; charset=utf-8", "no-cache"],
    ["/assets/engine-a1B2c3D4.wasm", "application/wasm", "public, max-age=31536000, immutable"],
    ["/models/m.gguf", "application/octet-stream", "no-cache"],
    ["/models/manifest.json?x=1", "application/json; charset=utf-8", "no-cache"],
  ]) {
    const { status, headers } = await get(path);
    assert.deepEqual([status, headers["content-type"], headers["cache-control"]], [200, type, cache], path);
  }
});

test("ranges of every form give those bytes", async () => {
  const etag = (await get("/models/m.gguf")).headers.etag;
  for (const [range, status, body, more] of [
    ["bytes=0-0", 206, "0"],
    ["bytes=2-4", 206, "234"],
    ["bytes=7-", 206, "789"],
    ["bytes=-2", 206, "89"],
    ["bytes=8-99", 206, "89"],
    ["bytes=10-", 416, ""],
    ["bytes=7-", 200, "0123456789", { "if-range": '"another version"' }],
  ]) {
    const answer = await get("/models/m.gguf", { range, ...more });
    assert.deepEqual([answer.status, answer.body], [status, body], range);
  }
  assert.equal((await get("/models/m.gguf", { "if-none-match": etag })).status, 304);
});

test("nothing outside the folder is served, and no request ends the server", async () => {
  for (const path of ["/../secret.txt", "/..%2fsecret.txt", "/%00", "/%E0%A4%A", "//[", "/models", "/nothing"]) {
    assert.equal((await get(path)).status, 404, path);
  }
  assert.equal((await get("/")).status, 200);
});

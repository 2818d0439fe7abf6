/** The package as users meet it: its entries, its errors, its weight. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { CacherError, fromErrorData, toErrorData } from "../dist/errors.js";

test("importing either entry touches no browser global", async () => {
  const names = ["document", "window", "self", "navigator", "location", "indexedDB", "caches", "Worker", "WebAssembly", "fetch"];
  const saved = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const name of names) {
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get: () => assert.fail(`${name} was touched`),
    });
  }
  try {
    for (const entry of ["index.js", "node.js"]) {
      const { Cacher } = await import(`../dist/${entry}?${Date.now()}`);
      assert.equal(typeof Cacher.load, "function");
    }
  } finally {
    for (const [name, descriptor] of saved) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }
});

test("an error keeps code, message and details over the boundary", () => {
  const error = new CacherError("invalid-token", "no such token", { id: 9, index: 1 });
  const back = fromErrorData(structuredClone(toErrorData(error)));
  assert.ok(back instanceof CacherError);
  assert.deepEqual([back.code, back.message, back.details, back.name], [error.code, error.message, error.details, "CacherError"]);
  assert.equal(fromErrorData(toErrorData(new CacherError("aborted", "x"))).name, "AbortError");
});

test("errors of the engine keep their code, traps and surprises get one", () => {
  assert.equal(toErrorData(Object.assign(new Error("m"), { code: "no-tokenizer", details: undefined })).code, "no-tokenizer");
  assert.equal(toErrorData(new WebAssembly.RuntimeError("unreachable")).code, "engine-crashed");
  assert.equal(toErrorData(new TypeError("oops")).code, "internal");
  assert.equal(toErrorData("text").message, "text");
});

test("the Node entry has no store, reads relative paths, and says where a file is missing", async () => {
  const { Cacher } = await import("../dist/node.js");
  assert.deepEqual(await Cacher.models.list(), []);
  assert.equal(await Cacher.models.persist(), false);
  const folder = await mkdtemp(join(tmpdir(), "cacher-"));
  try {
    await writeFile(join(folder, "model.gguf"), "GGUF1234");
    for (const model of [folder, join(folder, "model.gguf"), pathToFileURL(folder)]) {
      const { bytes, files } = await Cacher.models.describe({ model });
      assert.equal(bytes, 8);
      assert.equal(files[0].name, "model.gguf");
    }
    await assert.rejects(Cacher.models.describe({ model: "./no-such.gguf" }), { code: "not-found", message: /no-such\.gguf/ });
  } finally {
    await rm(folder, { recursive: true });
  }
});

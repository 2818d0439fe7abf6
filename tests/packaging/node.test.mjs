/** Plain Node: ES modules and CommonJS. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { addModel, install, MODEL, node, textInNode } from "./lib/project.mjs";

describe("an ES module", () => {
  let project;
  before(async () => {
    project = await install("node-esm");
    await addModel(project, "model");
  });

  test("streams the text of the result, then lets the process end", async () => {
    const { stdout, stderr } = await node(["index.js"], project);
    assert.equal(stderr, "");
    assert.notEqual(stdout, "");
    assert.equal(stdout, await textInNode(project));
  });

  test("loads a model from bytes in memory and keeps them the caller's", async () => {
    const script = `
      import { readFile } from "node:fs/promises";
      import { Cacher } from "cacher-wasm";
      const bytes = await readFile(${JSON.stringify(join(MODEL, "model.q8_0.gguf"))});
      const length = bytes.length;
      const cacher = await Cacher.load({ model: { "model.q8_0.gguf": bytes } });
      const { text } = await cacher.generate("Once upon a time", { maxTokens: 20, seed: 7 }).result;
      await cacher.dispose();
      if (bytes.length !== length) throw new Error("the bytes were taken away");
      process.stdout.write(text);`;
    const { stdout } = await node(["--input-type=module", "--eval", script], project);
    assert.equal(stdout, await textInNode(project));
  });

  test("computes in q8 unless another number format is asked for", async () => {
    const script = `
      import { Cacher } from "cacher-wasm";
      const ran = [];
      for (const dtype of [undefined, "q8", "q5", "q4", "f32"]) {
        const cacher = await Cacher.load({ model: ${JSON.stringify(MODEL)}, dtype });
        const { text } = await cacher.generate("Once upon a time", { maxTokens: 20, seed: 7 }).result;
        ran.push({ dtype: cacher.model.dtype, bytes: cacher.model.weightBytes, text });
        await cacher.dispose();
      }
      process.stdout.write(JSON.stringify(ran));`;
    const ran = JSON.parse((await node(["--input-type=module", "--eval", script], project)).stdout);
    assert.deepEqual(ran.map(({ dtype }) => dtype), ["q8", "q8", "q5", "q4", "f32"]);
    assert.deepEqual(ran[0], ran[1]);
    const [q8, q5, q4, f32] = ran.slice(1).map(({ bytes }) => bytes);
    assert.ok(q4 < q5 && q5 < q8 && q8 < f32, JSON.stringify(ran));
  });

  test("touches no global of the web at import, by either entry", async () => {
    const script = `
      const names = [
        ...["window", "self", "document", "location", "navigator", "localStorage", "indexedDB", "caches"],
        ...["Worker", "MessageChannel", "WebAssembly", "fetch", "Response", "Blob", "File", "crypto", "performance"],
      ];
      const touched = [];
      for (const name of names) {
        Object.defineProperty(globalThis, name, { get: () => void touched.push(name) });
      }
      const entries = [
        import.meta.resolve("cacher-wasm"),
        new URL("index.js", import.meta.resolve("cacher-wasm")).href,
      ];
      for (const entry of entries) {
        const { Cacher } = await import(entry);
        if (typeof Cacher.load !== "function") throw new Error(entry);
      }
      process.stdout.write(JSON.stringify({ entries: new Set(entries).size, touched }));`;
    const { stdout } = await node(["--input-type=module", "--eval", script], project);
    assert.deepEqual(JSON.parse(stdout), { entries: 2, touched: [] });
  });
});

describe("CommonJS", () => {
  let project;
  let expected;
  before(async () => {
    project = await install("node-cjs");
    await addModel(project, "model");
    expected = await textInNode(project);
  });

  for (const script of ["require.js", "dynamic-import.js"]) {
    test(`generates the same text with ${script}, without a warning`, async () => {
      assert.deepEqual(await node([script], project), { stdout: expected, stderr: "" });
    });
  }
});

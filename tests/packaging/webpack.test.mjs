/** A fresh webpack project, without any configuration. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { assertGenerated, openFolder } from "./lib/browser.mjs";
import { addModel, install, npm, textInNode } from "./lib/project.mjs";

let project;
before(async () => {
  project = await install("webpack");
  await addModel(project, "dist", "models", "tiny-gpt2");
});

test("a webpack build generates in the browser the text that Node does, on threads", async () => {
  await npm(["run", "build"], project);
  const page = await openFolder(join(project, "dist"));
  assertGenerated(page, await textInNode(project));
  assert.equal(page.threads, 2);
});

test("a webpack build carries each wasm file along once", async () => {
  const files = await readdir(join(project, "dist"));
  assert.equal(files.filter((name) => name.endsWith(".wasm")).length, 3, files.join(", "));
});

/** A page without any bundler: the package's files served as they are. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { assertGenerated, openFolder } from "./lib/browser.mjs";
import { addModel, install, textInNode } from "./lib/project.mjs";

test("without a bundler a page generates the text that Node does, on threads", async () => {
  const project = await install("static");
  await addModel(project, "models", "tiny-gpt2");
  const page = await openFolder(project);
  assertGenerated(page, await textInNode(project));
  assert.equal(page.threads, 2);
});

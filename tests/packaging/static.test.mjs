/** A page without any bundler: the package's files served as they are. */
import { join } from "node:path";
import { test } from "node:test";
import { assertGenerated, openFolder } from "./lib/browser.mjs";
import { addModel, install, textInNode } from "./lib/project.mjs";

test("without a bundler a page generates the text that Node does", async () => {
  const project = await install("static");
  await addModel(project, "models", "tiny-gpt2");
  assertGenerated(await openFolder(project), await textInNode(project));
});

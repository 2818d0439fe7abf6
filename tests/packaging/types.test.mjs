/**
 * The packed types, as strict projects read them: a web page's, with the
 * package's own declarations checked too, and one for Node without the DOM's.
 */
import assert from "node:assert/strict";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { install, npm } from "./lib/project.mjs";

for (const version of ["7.0.2", "5.9.3"]) {
  test(`TypeScript ${version} accepts what the README shows, and finds mistakes`, async () => {
    const project = await install("typescript", `typescript@${version}`);
    await npm(["run", "check"], project);

    // That what passed was checked at all.
    const mistake = `Cacher.load({ model: "gpt2", sotre: "opfs" });\n`;
    await appendFile(join(project, "src", "index.ts"), mistake);
    await assert.rejects(
      npm(["run", "check"], project),
      /index\.ts.*error.*'sotre' does not exist in type 'LoadOptions'/,
    );
  });
}

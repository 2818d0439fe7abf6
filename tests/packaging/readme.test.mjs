/**
 * The README's example is the one in `examples/`, and it runs as printed.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path) => readFileSync(join(root, path), "utf8");

const [, printed] = /```js\n(.*?)```/s.exec(read("README.md"));

test("the README prints examples/hello.mjs", () => {
  const example = read("examples/hello.mjs").replace(/^\/\*\*.*?\*\/\n/s, "");
  assert.equal(printed, example);
});

test("the README's example writes a story", () => {
  const output = execFileSync(process.execPath, ["--input-type=module", "--eval", printed], {
    cwd: root,
    encoding: "utf8",
    timeout: 120_000,
  });
  const [story, end] = output.split("\n\n").slice(-2);
  assert.ok(story.length > 50, output);
  assert.match(end, /^(length|eos), \d+ tokens a second\n$/);
});

/** What is in the package, what it weighs, and whether tools can read it. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { before, test } from "node:test";
import { promisify } from "node:util";
import { brotliCompress } from "node:zlib";
import { root } from "../../scripts/lib/process.mjs";
import { npm, tarball } from "./lib/project.mjs";

/** One of them is downloaded. */
const WASM = ["", "_relaxed", "_threads"].map((suffix) => `dist/wasm/cacher_wasm${suffix}_bg.wasm`);
const MAX_WASM_BYTES = 1_500_000;

let path;
let files;
before(async () => {
  const packed = await tarball();
  path = packed.path;
  files = packed.files.map((file) => file.path);
});

const read = (file) => readFile(join(root, "pkg", file));
const compressedBytes = async (data) => (await promisify(brotliCompress)(data)).length;
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;

test("the package holds its scripts, their types and the wasm, and nothing else", async () => {
  const sources = await readdir(join(root, "pkg", "src"), { recursive: true });
  const modules = sources
    .filter((source) => source.endsWith(".ts"))
    .map((source) => source.replaceAll("\\", "/").replace(/\.ts$/, ""));
  const expected = [
    ...["LICENSE", "README.md", "package.json", ...WASM],
    ...[...modules, "wasm/cacher_wasm", "wasm/cacher_wasm_threads"].flatMap((name) => [`dist/${name}.js`, `dist/${name}.d.ts`]),
  ];
  assert.deepEqual(
    {
      missing: expected.filter((file) => !files.includes(file)),
      needless: files.filter((file) => !expected.includes(file)),
    },
    { missing: [], needless: [] },
  );
});

test("each build of the wasm is within its budget", async (t) => {
  for (const file of WASM) {
    const bytes = await compressedBytes(await read(file));
    t.diagnostic(`${file}: ${kilobytes(bytes)} compressed with Brotli`);
    assert.ok(bytes <= MAX_WASM_BYTES, `${file}: ${bytes} bytes`);
  }
});

test("publint finds nothing to say", async () => {
  await npm(["exec", "--offline", "--", "publint", "run", path, "--strict"], root);
});

test("every way of importing it finds the right types", async () => {
  // Nothing but a bundler's loader or `fetch` reads the wasm: it has no types.
  const excluded = ["--exclude-entrypoints", ...WASM.map((file) => basename(file))];
  const options = ["--profile", "esm-only", ...excluded];
  await npm(["exec", "--offline", "--", "attw", path, ...options], root);
});

/** Fresh Vite projects, without any configuration: the build, and the development server. */
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { brotliCompress } from "node:zlib";
import { assertGenerated, openFolder, openPage } from "./lib/browser.mjs";
import { addModel, install, npm, textInNode } from "./lib/project.mjs";

/** All of them, compressed; a worker of Vite's default configuration cannot be split. */
const MAX_SCRIPT_BYTES = 64_000;

async function installVite(...instead) {
  const project = await install("vite", ...instead);
  await addModel(project, "public", "models", "tiny-gpt2");
  return project;
}

/** Opens the page of a project's own Vite in development. */
async function openDevelopmentServer(project, config = {}) {
  const vite = createRequire(join(project, "package.json")).resolve("vite");
  const { createServer } = await import(pathToFileURL(vite));
  const server = await createServer({
    root: project,
    logLevel: "silent",
    server: { host: "127.0.0.1", port: 0 },
    ...config,
  });
  try {
    await server.listen();
    return await openPage(server.resolvedUrls.local[0]);
  } finally {
    await server.close();
  }
}

/** As the README says. */
const EXCLUDED = { optimizeDeps: { exclude: ["cacher-wasm"] } };

describe("Vite 8", () => {
  let project;
  let expected;
  before(async () => {
    project = await installVite();
    expected = await textInNode(project);
  });

  test("a build generates in the browser the text that Node does, on threads", async () => {
    await npm(["run", "build"], project);
    const page = await openFolder(join(project, "dist"));
    assertGenerated(page, expected);
    assert.equal(page.threads, 2);
  });

  test("a build carries each wasm file along once", async () => {
    const files = await readdir(join(project, "dist", "assets"));
    assert.equal(files.filter((name) => name.endsWith(".wasm")).length, 3, files.join(", "));
  });

  test("the scripts that a visitor downloads are within their budget", async (t) => {
    const dist = join(project, "dist");
    const { scripts } = await openFolder(dist);
    assert.ok(scripts.some((path) => path.includes("worker")), scripts.join(", "));
    let bytes = 0;
    for (const path of scripts) {
      bytes += (await promisify(brotliCompress)(await readFile(join(dist, path)))).length;
    }
    t.diagnostic(`${scripts.join(", ")}: ${(bytes / 1000).toFixed(1)} kB compressed with Brotli`);
    assert.ok(bytes <= MAX_SCRIPT_BYTES, `${bytes} bytes`);
  });

  test("a build can be told where the worker and the wasm are", async () => {
    const script = join(project, "src", "main.js");
    const original = await readFile(script, "utf8");
    const imports = `
      import workerUrl from "cacher-wasm/worker?worker&url";
      import wasmUrl from "cacher-wasm/cacher_wasm_bg.wasm?url";`;
    const load = `Cacher.load({ model: "tiny-gpt2"`;
    assert.ok(original.includes(load));
    await writeFile(script, imports + original.replace(load, `${load}, workerUrl, wasmUrl`));
    try {
      await npm(["run", "build"], project);
      assertGenerated(await openFolder(join(project, "dist")), expected);
    } finally {
      await writeFile(script, original);
    }
  });

  test("the development server needs no setting", async () => {
    assertGenerated(await openDevelopmentServer(project), expected);
  });

  test("the development server works with the setting of older versions too", async () => {
    assertGenerated(await openDevelopmentServer(project, EXCLUDED), expected);
  });
});

describe("Vite 7", () => {
  let project;
  let expected;
  before(async () => {
    project = await installVite("vite@7.3.8");
    expected = await textInNode(project);
  });

  test("a build generates in the browser the text that Node does, on threads", async () => {
    await npm(["run", "build"], project);
    const page = await openFolder(join(project, "dist"));
    assertGenerated(page, expected);
    assert.equal(page.threads, 2);
  });

  test("the development server works without pre-bundling the package", async () => {
    assertGenerated(await openDevelopmentServer(project, EXCLUDED), expected);
  });

  test("the development server's pre-bundling makes loading fail with a clear error", async () => {
    const { text, problems } = await openDevelopmentServer(project);
    assert.equal(text, "");
    assert.ok(
      problems.some((problem) => /^thrown: the worker did not start: /.test(problem)),
      problems.join("\n"),
    );
  });
});

/**
 * Every place a model can come from, in the browser.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { listedFolder, miniModel, sha256 } from "./lib/models.mjs";
import { fixture, fixtureJson } from "./lib/paths.mjs";

const NAMES = ["config.json", "tokenizer.json", "model.safetensors"];
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const { prompt: PROMPT, tokens: TOKENS } = fixtureJson("mini-a/greedy.json").cases[0];

/** A hub that has one repository, with the API's answer and the files at its commit. */
function hub(repo, revision) {
  const siblings = NAMES.map((name) => {
    const bytes = fixture(`mini-a/${name}`);
    const lfs = name.endsWith(".safetensors") ? { sha256: sha256(bytes), size: bytes.length } : undefined;
    return { rfilename: name, size: bytes.length, lfs };
  });
  siblings.push({ rfilename: "onnx/model.onnx", size: 5 }, { rfilename: "pytorch_model.bin", size: 5 });
  return {
    [`/hub/api/models/${repo}/revision/${revision}`]: JSON.stringify({ id: repo, sha: COMMIT, siblings }),
    ...Object.fromEntries(NAMES.map((name) => [`/hub/${repo}/resolve/${COMMIT}/${name}`, fixture(`mini-a/${name}`)])),
  };
}

const browser = await launch();
const server = await serveLibrary({
  files: { ...hub("someone/mini", "main"), ...hub("someone/mini", "v2"), ...listedFolder("/listed/", miniModel()) },
});
test.after(() => server.close());

for (const worker of [true, false]) {
  test(worker ? "in a worker" : "on the page's thread", { timeout: 2 * TIMEOUT_MS }, async (t) => {
    const { page } = await openLibrary(browser, server);
    /** Loads in the page and checks by a short text that it is the right model. */
    const assertLoads = async (model, options = {}) => {
      const { tokens, storage } = await page.evaluate(
        async ([prompt, model, options]) => {
          const cacher = await kit.Cacher.load({ model: await kit.source(model), ...options });
          const { tokens } = await cacher.generate(prompt, { temperature: 0, maxTokens: 5 }).result;
          const { storage } = cacher;
          await cacher.dispose();
          return { tokens, storage };
        },
        [PROMPT, model, { worker, ...options }],
      );
      assert.deepEqual(tokens, TOKENS);
      return storage;
    };

    await t.test("a folder without a manifest, by path and by URL", async () => {
      assert.equal((await assertLoads("/fixtures/mini-a")).backend, "opfs");
      assert.equal((await assertLoads(`${server.url}fixtures/mini-a/`)).backend, "opfs");
    });

    await t.test("a folder with a manifest", async () => {
      server.forget();
      assert.equal((await assertLoads("/listed/")).backend, "opfs");
      const asked = server.requests.map(({ path }) => path);
      for (const name of ["manifest.json", ...NAMES]) assert.ok(asked.includes(`/listed/${name}`), name);
    });

    await t.test("a hub repository, at its commit, by name and by revision", async () => {
      const hubUrl = "/hub/";
      server.forget();
      await assertLoads("someone/mini", { hubUrl });
      const files = server.requests.map(({ path }) => path).filter((path) => path.includes("/resolve/"));
      assert.deepEqual(files.sort(), NAMES.map((name) => `/hub/someone/mini/resolve/${COMMIT}/${name}`).sort());
      await assertLoads("someone/mini@v2", { hubUrl });
      await assertLoads({ repo: "someone/mini", revision: "v2" }, { hubUrl });
      const ids = await page.evaluate(async () => (await kit.Cacher.models.list()).map(({ id }) => id));
      assert.ok(ids.includes("someone/mini@main") && ids.includes("someone/mini@v2"), ids.join());
    });

    await t.test("files as Blob, ArrayBuffer, Uint8Array and File, which the caller keeps", async () => {
      for (const as of ["Blob", "ArrayBuffer", "Uint8Array", "File"]) {
        const storage = await assertLoads({ as, base: "/fixtures/mini-a/", names: NAMES });
        assert.equal(storage.backend, "memory");
        assert.ok(await page.evaluate(() => kit.sourceIsWhole()), `${as} is still usable`);
      }
    });

    await t.test("what is not there is said to be not found", async () => {
      const errors = await page.evaluate(
        (worker) =>
          Promise.all([
            kit.failure(kit.Cacher.load({ model: "/nothing/", worker })),
            kit.failure(kit.Cacher.load({ model: "/nothing.gguf", worker })),
            kit.failure(kit.Cacher.load({ model: "someone/else", hubUrl: "/hub/", worker })),
          ]),
        worker,
      );
      assert.deepEqual(errors.map((error) => error?.code), ["not-found", "not-found", "not-found"]);
    });
  });
}

test("what loading would take is told beforehand, and afterwards what is stored", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, server);
  const [before, after] = await page.evaluate(async () => {
    const model = "/listed/";
    const before = await kit.Cacher.models.describe({ model });
    await (await kit.Cacher.load({ model })).dispose();
    return [before, await kit.Cacher.models.describe({ model })];
  });
  const total = NAMES.reduce((sum, name) => sum + fixture(`mini-a/${name}`).length, 0);
  assert.deepEqual([before.bytes, before.storedBytes], [total, 0]);
  assert.deepEqual([after.bytes, after.storedBytes], [total, total]);
});

test("progress has its phases in order, and its total from the first byte on", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, server);
  const reports = await page.evaluate(async () => {
    const reports = [];
    const onProgress = (report) => reports.push(report);
    await kit.Cacher.load({ model: "/listed/", onProgress });
    return reports;
  });
  const phases = reports.map(({ phase }) => phase).filter((phase, index, all) => phase !== all[index - 1]);
  assert.deepEqual(phases, ["resolve", "download", "load", "ready"]);
  const total = NAMES.reduce((sum, name) => sum + fixture(`mini-a/${name}`).length, 0);
  const downloads = reports.filter(({ phase }) => phase === "download");
  assert.deepEqual(new Set(downloads.map((report) => report.total)), new Set([total]));
  assert.equal(downloads.at(-1).loaded, total);
  assert.ok(downloads.every(({ loaded }, index) => index === 0 || loaded >= downloads[index - 1].loaded));
});

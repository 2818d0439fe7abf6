/**
 * Model files that are not what they should be: each gives its error, nothing
 * of it counts as stored, and the good file loads afterwards.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openLibrary, serveLibrary } from "./lib/library.mjs";
import { listedFolder, miniModel } from "./lib/models.mjs";
import { fixtureJson, tinyModel } from "./lib/paths.mjs";

const TINY = "/models/tiny-gpt2/model.q8_0.gguf";
const { prompt: PROMPT, greedy32: GREEDY } = fixtureJson("tiny-gpt2/golden-q8_0.json").prompts[0];
const HTML = "<!doctype html><html><body><h1>Sorry, that page is gone</h1></body></html>";

function flipped(bytes) {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] ^= 0x10;
  return copy;
}

const DAMAGES = [
  ["a truncated file", "truncated-file", (bytes) => bytes.subarray(0, bytes.length >> 1)],
  ["a file without its last byte", "truncated-file", (bytes) => bytes.subarray(0, -1)],
  ["a file of a few bytes", "truncated-file", (bytes) => bytes.subarray(0, 7)],
  ["an empty file", "truncated-file", (bytes) => bytes.subarray(0, 0)],
  ["a file with a flipped bit", "checksum-mismatch", flipped],
  ["a file that goes on too long", "checksum-mismatch", (bytes) => Buffer.concat([bytes, Buffer.alloc(1000)])],
  ["a web page", "not-a-model-file", () => ({ body: HTML, type: "text/html" })],
  ["a web page that is declared as bytes", "not-a-model-file", () => Buffer.from(HTML)],
];

const browser = await launch();
const tiny = tinyModel();
const server = await serveLibrary();
test.after(() => server.close());

/** Fails where anything in the store, read as the package does or raw, counts as complete weights. */
async function assertNothingCommitted(page) {
  const [models, records] = await page.evaluate(async () => [await kit.Cacher.models.list(), await kit.rawRecords()]);
  const weights = [...models, ...records].flatMap(({ files }) => files).filter(({ name }) => name.startsWith("model."));
  assert.deepEqual(weights.filter(({ complete }) => complete), []);
}

for (const store of ["opfs", "indexeddb", "memory"]) {
  test(`the built-in model, kept in ${store}`, { timeout: 3 * TIMEOUT_MS }, async (t) => {
    const { context, page } = await openLibrary(browser, server);
    const load = () =>
      page.evaluate(
        (store) =>
          kit.failure(
            kit.Cacher.load({ model: "tiny-gpt2", store }).then((cacher) => {
              globalThis.cacher = cacher;
            }),
          ),
        store,
      );

    for (const [name, code, damage] of DAMAGES) {
      await t.test(`${name}: ${code}`, async () => {
        server.files[TINY] = damage(tiny);
        const error = await load();
        assert.equal(error?.code, code, JSON.stringify(error));
        assert.ok(error.message.includes("model.q8_0.gguf"), `"${error.message}" names the file`);
        await assertNothingCommitted(page);
      });
    }

    await t.test("the good file loads afterwards", async () => {
      delete server.files[TINY];
      assert.equal(await load(), null);
      const { tokens, storage } = await page.evaluate(async (prompt) => {
        const options = { temperature: 0, maxTokens: 32, eosTokenIds: [] };
        return { tokens: (await cacher.generate(prompt, options).result).tokens, storage: cacher.storage };
      }, PROMPT);
      assert.deepEqual(tokens, GREEDY);
      assert.equal(storage.backend, store);
    });
    await context.close();
  });
}

const WEIGHTS = "model.safetensors";

test("a folder whose files nobody vouches for", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const { page } = await openLibrary(browser, server);
  const cases = [
    ["truncated weights", "truncated-file", WEIGHTS, (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ["weights that are a web page", "not-a-model-file", WEIGHTS, () => Buffer.from(HTML)],
    ["weights whose header is no JSON", "invalid-model-file", WEIGHTS, (bytes) => Buffer.from(bytes).fill("x", 9, 60)],
    ["a config that is a web page", "not-a-model-file", "config.json", () => Buffer.from(HTML)],
    ["a tokenizer cut in half", "invalid-tokenizer", "tokenizer.json", (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ["a model of another kind", "unsupported-model", "config.json", () => Buffer.from('{"model_type":"llama"}')],
  ];
  for (const [index, [name, code, file, damage]] of cases.entries()) {
    await t.test(`${name}: ${code}`, async () => {
      const model = miniModel();
      for (const [path, bytes] of Object.entries({ ...model, [file]: damage(model[file]) })) {
        server.files[`/folder-${index}/${path}`] = bytes;
      }
      const error = await page.evaluate((url) => kit.failure(kit.Cacher.load({ model: url })), `/folder-${index}/`);
      assert.equal(error?.code, code, JSON.stringify(error));
      await assertNothingCommitted(page);

      server.files[`/folder-${index}/${file}`] = model[file];
      const afterwards = await page.evaluate(async (url) => {
        const failure = await kit.failure(kit.Cacher.load({ model: url }));
        for (const { id } of await kit.Cacher.models.list()) await kit.Cacher.models.delete(id);
        return failure;
      }, `/folder-${index}/`);
      assert.equal(afterwards, null, "the good file loads afterwards");
    });
  }
});

test("a folder whose manifest vouches for the files: a flipped bit in a small file", { timeout: TIMEOUT_MS }, async () => {
  const model = miniModel();
  Object.assign(server.files, listedFolder("/listed/", model));
  server.files["/listed/tokenizer.json"] = flipped(model["tokenizer.json"]);
  const { page } = await openLibrary(browser, server);
  const error = await page.evaluate(() => kit.failure(kit.Cacher.load({ model: "/listed/" })));
  assert.equal(error?.code, "checksum-mismatch", JSON.stringify(error));
  await assertNothingCommitted(page);
  assert.ok(!server.requests.some(({ path }) => path === `/listed/${WEIGHTS}`), "the weights were not downloaded in vain");
});

test("files given directly", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openLibrary(browser, server);
  const errors = await page.evaluate(async (html) => {
    const config = await (await fetch("/fixtures/mini-a/config.json")).blob();
    const weights = await (await fetch("/fixtures/mini-a/model.safetensors")).blob();
    const load = (files) => kit.failure(kit.Cacher.load({ model: files }));
    return [
      await load({ "config.json": config, "model.safetensors": weights.slice(0, 100_000) }),
      await load({ "config.json": config, "model.safetensors": new Blob([html]) }),
      await load({ "index.html": new Blob([html]) }),
      await load({ "model.safetensors": weights }),
    ];
  }, HTML);
  assert.deepEqual(
    errors.map((error) => error?.code),
    ["truncated-file", "not-a-model-file", "not-a-model-file", "not-found"],
  );
});

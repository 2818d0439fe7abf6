/**
 * States as files: what one browser exports, another takes in and goes on with;
 * a file that is not right is refused whole.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { launch, launchProfile, TIMEOUT_MS } from "./lib/browser.mjs";
import { openStates } from "./lib/kept.mjs";
import { serveLibrary } from "./lib/library.mjs";

const BLOCK = 32;
const SEED = 2n ** 63n + 12_345n;

const browser = await launch();
const server = await serveLibrary();
test.after(() => server.close());

const profile = mkdtempSync(join(tmpdir(), "cacher-profile-"));
const other = await launchProfile(profile);
test.after(async () => {
  await other.close();
  rmSync(profile, { recursive: true, force: true });
});

const { page, problems } = await openStates(browser, server);
const { page: elsewhere, problems: problemsElsewhere } = await openStates(other, server);

/** A state with all that a file has to carry, its files in base64, and what it goes on with. */
const made = await page.evaluate(async (seed) => {
  const metadata = JSON.parse('{"__proto__": {"polluted": 1}, "seed": "abc", "nested": {"seed": "18446744073709551615", "deep": [1, null, "ü"]}}');
  const state = await states.create({
    text: kept.longText(),
    name: "Über das Meer 🌊",
    tags: ["a", "b"],
    config: { seed: BigInt(seed), temperature: 0.9 },
    metadata,
  });
  await kept.goOn(state, 30);
  await state.checkpoint("here");
  const { pinned: _, used: _used, ...info } = await state.info();
  const history = await state.history();
  globalThis.base64 = async (blob) => {
    const url = await new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(blob);
    });
    return url.slice(url.indexOf(",") + 1);
  };
  const files = {
    kv: await base64(await state.export()),
    bare: await base64(await state.export({ kv: false })),
    json: await base64(await state.export({ format: "json" })),
  };
  const text = await state.text();
  const next = await kept.goOn(state, 30);
  return { id: state.id, info, history, files, text, next: next.text };
}, `${SEED}`);

await elsewhere.evaluate(() => {
  globalThis.bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  globalThis.polluted = () => ({}).polluted !== undefined;
});

const importInto = (page, base64, how = "Uint8Array") =>
  page.evaluate(
    async ([base64, how]) => {
      const bytes = bytesOf(base64);
      const file = how === "Blob" ? new Blob([bytes]) : how === "ArrayBuffer" ? bytes.buffer : bytes;
      const progress = [];
      const imported = await states.import(file, { onProgress: (report) => progress.push(report) });
      const [state] = imported;
      const { pinned: _, used: _used, ...info } = await state.info();
      const history = await state.history();
      const text = await state.text();
      const next = await kept.goOn(state, 30);
      return { count: imported.length, info, history, text, next, progress, whole: bytes.length > 0, polluted: polluted() };
    },
    [base64, how],
  );

const FILES = [
  ["with KV cache", "kv", "Blob"],
  ["without KV cache", "bare", "Uint8Array"],
  ["in JSON", "json", "ArrayBuffer"],
];

for (const [name, kind, how] of FILES) {
  test(`a file ${name} goes on in another profile`, { timeout: TIMEOUT_MS }, async (t) => {
    const taken = await importInto(elsewhere, made.files[kind], how);
    assert.equal(taken.count, 1);
    assert.equal(taken.text, made.text);
    assert.equal(taken.next.text, made.next);
    if (kind === "kv") assert.ok(taken.next.evaluated <= BLOCK, `${taken.next.evaluated} tokens were computed`);
    else if (kind === "bare") t.diagnostic(`${taken.next.evaluated} tokens were computed`);
    assert.equal(taken.polluted, false);
    const { id: _, ...info } = taken.info;
    const { id: _id, ...expected } = made.info;
    assert.deepEqual(info, expected);
    assert.equal(info.config.seed, SEED);
    assert.equal(info.rng.seed, SEED);
    assert.deepEqual(taken.history, made.history);
    assert.ok(taken.history.every(({ seed }) => seed === SEED));
    if (kind !== "json") {
      const { loaded, total } = taken.progress.at(-1);
      assert.equal(loaded, total);
      assert.equal(total, 2 * Buffer.from(made.files[kind], "base64").length);
    }
  });
}

test("without KV cache, all is computed again where nothing is known of the text", { timeout: TIMEOUT_MS }, async () => {
  for (const kind of ["bare", "json"]) {
    const { page: third } = await openStates(browser, server);
    await third.evaluate(() => {
      globalThis.bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      globalThis.polluted = () => false;
    });
    const { next, info } = await importInto(third, made.files[kind]);
    assert.equal(next.text, made.next);
    assert.equal(next.evaluated, info.tokens);
    await third.context().close();
  }
});

test("what was imported is stored, and an id that is taken becomes another", { timeout: TIMEOUT_MS }, async () => {
  const { ids, saved, usage } = await elsewhere.evaluate(async () => {
    const { items } = await states.list();
    return { ids: items.map(({ id }) => id), saved: items.every(({ saved }) => saved), usage: await states.usage() };
  });
  assert.equal(ids.length, 3);
  assert.equal(new Set(ids).size, 3);
  assert.ok(ids.includes(made.id));
  assert.ok(saved);
  assert.equal(usage.unsaved, 0);
  await elsewhere.reload();
  const { page: again } = await openStates(other, server);
  const found = await again.evaluate(async () => (await states.list()).items.map(({ id }) => id));
  assert.deepEqual(found.sort(), ids.sort());
  await again.close();
});

test("several states, and all of them, in one file with what they share once", { timeout: TIMEOUT_MS }, async () => {
  const { sizes, counts, names, json } = await page.evaluate(async () => {
    const state = await states.create({ text: kept.longText("A tree. "), name: "tree" });
    const one = await states.export([state]);
    const forks = await state.fork(4, { name: "leaf" });
    const many = await states.export([state, ...forks.map(({ id }) => id)]);
    const all = await states.export();
    const imported = await states.import(all, { persist: false });
    const infos = await Promise.all(imported.map((state) => state.info()));
    const json = JSON.parse(await (await states.export([state, forks[0]], { format: "json" })).text());
    const { total } = await states.list();
    await states.delete(imported);
    return {
      sizes: [one.size, many.size],
      counts: [imported.length, total],
      names: infos.map(({ name, persist, saved }) => [name, persist, saved]),
      json: json.states.map(({ text }) => text.slice(0, 7)),
    };
  });
  assert.ok(sizes[1] < sizes[0] + 10_000, `${sizes}`);
  assert.equal(counts[0] * 2, counts[1]);
  assert.ok(names.every(([, persist, saved]) => !persist && !saved));
  assert.deepEqual(json, ["A tree.", "A tree."]);
});

const raw = (kind) => Buffer.from(made.files[kind], "base64");
const changed = (kind, at, bit = 1) => {
  const bytes = raw(kind);
  bytes[at < 0 ? bytes.length + at : at] ^= bit;
  return bytes;
};
const withJson = (change) => {
  const manifest = JSON.parse(raw("json").toString());
  return Buffer.from(JSON.stringify(change(manifest) ?? manifest));
};

/** Not right, and the code that says so. */
const WRONG = [
  ["an empty file", Buffer.alloc(0), "invalid-state-file"],
  ["three bytes", Buffer.from("CAC"), "invalid-state-file"],
  ["another kind of file", Buffer.from("GIF89a and so on, for a while"), "invalid-state-file"],
  ["an HTML page", Buffer.from("<!doctype html><title>404</title>"), "invalid-state-file"],
  ["other JSON", Buffer.from('{"hello": "world"}'), "invalid-state-file"],
  ["JSON that is no object", Buffer.from("[1, 2, 3]"), "invalid-state-file"],
  ["a model", "model", "invalid-state-file"],
  ["the magic alone", raw("kv").subarray(0, 8), "invalid-state-file"],
  ["a file cut in its manifest", raw("kv").subarray(0, 300), "invalid-state-file"],
  ["a file cut in its blocks", raw("kv").subarray(0, raw("kv").length >> 1), "invalid-state-file"],
  ["a file that lacks its last byte", raw("kv").subarray(0, -1), "invalid-state-file"],
  ["a file with a byte more", Buffer.concat([raw("kv"), Buffer.from([0])]), "invalid-state-file"],
  ["a bit flipped in a block", changed("kv", raw("kv").length >> 1), "checksum-mismatch"],
  ["a bit flipped in the checksum", changed("kv", -1), "checksum-mismatch"],
  ["a newer version", changed("kv", 8, 128), "unsupported-version"],
  ["a manifest of impossible size", changed("kv", 19, 127), "invalid-state-file"],
  ["JSON cut short", raw("json").subarray(0, -20), "invalid-state-file"],
  ["JSON of a newer version", withJson((manifest) => void (manifest.version = 99)), "unsupported-version"],
  ["JSON that was edited", withJson((manifest) => void (manifest.created += 1)), "checksum-mismatch"],
  ["JSON with a key too many", withJson((manifest) => void (manifest.more = 1)), "invalid-state-file"],
];

test("a file that is not right changes nothing", { timeout: TIMEOUT_MS }, async (t) => {
  const before = await page.evaluate(() => kept.dump());
  const usage = await page.evaluate(async () => (await states.usage()).kv.blocks);
  for (const [name, content, code] of WRONG) {
    await t.test(name, async () => {
      const error = await page.evaluate(
        async ([base64, isModel]) => {
          const bytes = isModel
            ? await (await fetch("/models/tiny-gpt2/model.q8_0.gguf")).blob()
            : new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))]);
          return kit.failure(states.import(bytes));
        },
        content === "model" ? ["", true] : [content.toString("base64"), false],
      );
      assert.equal(error?.code, code, error?.message);
    });
  }
  assert.equal(await page.evaluate(() => kept.dump()), before);
  assert.equal(await page.evaluate(async () => (await states.usage()).unsaved), 0);
  assert.ok((await page.evaluate(async () => (await states.usage()).kv.blocks)) <= usage, "blocks of refused files stay out");
});

test("what is no file is refused by name", { timeout: TIMEOUT_MS }, async () => {
  const errors = await page.evaluate(() =>
    Promise.all([undefined, null, "states.bin", 5, {}, [1, 2]].map((file) => kit.failure(states.import(file)))),
  );
  for (const error of errors) {
    assert.equal(error?.code, "invalid-argument");
    assert.match(error.message, /^file: /);
  }
});

test("nothing went wrong in the pages", () => assert.deepEqual([...problems, ...problemsElsewhere], []));

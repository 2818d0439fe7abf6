/** The cache's layer of files: what it keeps, what it refuses, and what it must not touch. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { FileLayer } from "../dist/cache-layers/file.js";

const workspace = await mkdtemp(join(tmpdir(), "cacher-file-layer-"));
after(() => rm(workspace, { recursive: true, force: true }));
const newFolder = () => mkdtemp(join(workspace, "folder-"));

const { signal } = new AbortController();
const keyOf = (name) => createHash("sha256").update(String(name)).digest("hex");
const fileOf = (folder, key) => join(folder, key.slice(0, 2), `${key}.answer`);
const recordOf = (...bytes) => Uint8Array.from(bytes);

function entryOf(key, entry = {}) {
  return {
    ...{ key, title: "Once upon a time", kind: "generation", model: "ab".repeat(32), created: 1000, expires: null },
    ...{ lastUsed: 1000, hits: 0, bytes: 3, rawBytes: 5, costMs: 12.5, tokens: 4, tags: ["story", "für Ö"] },
    ...{ pinned: false, source: "cacher-wasm/0.1.0", layers: [], ...entry },
  };
}

async function collect(batches) {
  const all = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}
const keysIn = async (layer) => (await collect(layer.keys(signal))).sort();
const entriesIn = (layer) => collect(layer.entries(signal));

test("what one layer writes, another on the same folder reads: record, facts, usage", async () => {
  const folder = join(await newFolder(), "new", "folders");
  const [a, b] = [new FileLayer({ folder }), new FileLayer({ folder: pathToFileURL(folder) })];
  const key = keyOf("a");
  assert.equal(await b.get(key, signal), undefined);
  assert.deepEqual(await keysIn(b), []);
  assert.deepEqual(await b.usage(), { entries: 0, bytes: 0 });

  await a.set(key, recordOf(1, 2, 3), entryOf(key, { layers: ["memory"] }), signal);
  assert.deepEqual(await b.get(key, signal), recordOf(1, 2, 3));
  assert.deepEqual(await keysIn(b), [key]);
  assert.deepEqual(await entriesIn(b), [entryOf(key)]);
  const { size } = await stat(fileOf(folder, key));
  assert.deepEqual(await b.usage(), { entries: 1, bytes: size });

  await b.set(key, recordOf(9), entryOf(key, { title: "anew", pinned: true, expires: 5000 }), signal);
  assert.deepEqual(await a.get(key, signal), recordOf(9));
  assert.deepEqual(await entriesIn(a), [entryOf(key, { title: "anew", pinned: true, expires: 5000 })]);

  await a.delete([key, keyOf("never there")], signal);
  assert.equal(await b.get(key, signal), undefined);
  a.close();
});

test("folders and files are for their owner alone", { skip: process.platform === "win32" }, async () => {
  const folder = join(await newFolder(), "answers");
  const key = keyOf("a");
  await new FileLayer({ folder }).set(key, recordOf(1), entryOf(key), signal);
  const modes = await Promise.all([folder, dirname(fileOf(folder, key)), fileOf(folder, key)].map(async (path) => (await stat(path)).mode & 0o777));
  assert.deepEqual(modes, [0o700, 0o700, 0o600]);
  assert.deepEqual(await readdir(join(folder, "unfinished")), []);
});

test("a name that is no key never becomes a path", async () => {
  const folder = await newFolder();
  const layer = new FileLayer({ folder });
  const names = ["", "..", "../../../etc/passwd", "a".repeat(63), "A".repeat(64), `${"a".repeat(64)}\n`, `../${"a".repeat(61)}`, `aa/${"a".repeat(61)}`, `${"a".repeat(63)}\0`];
  for (const name of names) {
    const refused = { code: "invalid-argument" };
    await assert.rejects(layer.get(name, signal), refused, name);
    await assert.rejects(layer.set(name, recordOf(1), entryOf(name), signal), refused, name);
    await assert.rejects(layer.delete([name], signal), refused, name);
    await assert.rejects(layer.setPinned(name, true), refused, name);
  }
  assert.deepEqual(await readdir(folder), []);
});

test("damaged and foreign files are passed over, and deleted by the clean-up", async () => {
  const folder = await newFolder();
  const layer = new FileLayer({ folder });
  const good = keyOf("good");
  await layer.set(good, recordOf(1, 2, 3), entryOf(good), signal);
  const whole = await readFile(fileOf(folder, good));

  const changed = (change) => {
    const bytes = Buffer.from(whole);
    change(bytes);
    return bytes;
  };
  const text = (from, to) => Buffer.from(whole.toString("latin1").replace(from, to), "latin1");
  const damaged = {
    empty: Buffer.alloc(0),
    "a short head": whole.subarray(0, 20),
    "cut facts": whole.subarray(0, 60),
    "no magic": changed((bytes) => bytes.fill(0x41, 0, 8)),
    "another version": changed((bytes) => bytes.writeUInt8(9, 7)),
    "facts longer than the file": changed((bytes) => bytes.writeUInt32LE(0xffff_ffff, 8)),
    "a pin that is neither": changed((bytes) => bytes.writeUInt32LE(2, 12)),
    "a time that is no number": changed((bytes) => bytes.writeDoubleLE(Number.NaN, 16)),
    "negative hits": changed((bytes) => bytes.writeDoubleLE(-1, 24)),
  };
  const badFacts = {
    "facts of another key": whole,
    "facts that are no JSON": text('{"key"', '{{"ke"'),
    "facts that are no UTF-8": text("Once", "\xff\xfe\xff\xfe"),
    "a title that is no text": text('"Once upon a time"', "123456789012345678"),
    "a size that is too large for a number": text('"bytes":3,"rawBytes"', '"rawBytes":9e999,"b"'),
  };
  const keys = [];
  for (const [name, bytes] of Object.entries({ ...damaged, ...badFacts })) {
    const key = keyOf(name);
    keys.push(key);
    const own = name === "facts of another key" ? bytes : Buffer.from(bytes.toString("latin1").replace(good, key), "latin1");
    await mkdir(dirname(fileOf(folder, key)), { recursive: true });
    await writeFile(fileOf(folder, key), own);
  }
  for (const name of Object.keys(damaged)) {
    assert.equal(await layer.get(keyOf(name), signal), undefined, name);
    assert.equal(await layer.setPinned(keyOf(name), true), false, name);
  }
  await layer.used(keys.map((key) => ({ key, lastUsed: 2000, hits: 1 })));
  assert.deepEqual((await entriesIn(layer)).map(({ key }) => key), [good]);

  const rows = [];
  await layer.cleanUp((all) => {
    rows.push(...all);
    return { expired: [], evicted: [] };
  });
  assert.deepEqual(rows.map(({ key }) => key), [good]);
  assert.deepEqual(await keysIn(layer), [good]);
});

test("a record that lost its end is handed over as it is: its checksum is the cache's to check", async () => {
  const folder = await newFolder();
  const layer = new FileLayer({ folder });
  const key = keyOf("a");
  await layer.set(key, recordOf(1, 2, 3), entryOf(key), signal);
  await truncate(fileOf(folder, key), (await stat(fileOf(folder, key))).size - 1);
  assert.deepEqual(await layer.get(key, signal), recordOf(1, 2));
});

test("what is not the layer's stays: other files, folders, and what links lead to", { skip: process.platform === "win32" }, async () => {
  const [folder, outside] = [await newFolder(), await newFolder()];
  const layer = new FileLayer({ folder });
  const [key, linked, directory] = [keyOf("a"), keyOf("linked"), keyOf("directory")];
  await layer.set(key, recordOf(1), entryOf(key), signal);

  const mine = join(folder, "notes.txt");
  const shard = dirname(fileOf(folder, key));
  const hash = join(shard, key.slice(0, 2) + "0".repeat(62));
  for (const path of [mine, hash, join(shard, "notes.answer")]) await writeFile(path, "mine");
  // A file and a whole shard that lie elsewhere.
  const other = new FileLayer({ folder: outside });
  await other.set(linked, recordOf(7), entryOf(linked), signal);
  await symlink(join(outside, linked.slice(0, 2)), join(folder, linked.slice(0, 2)));
  const file = keyOf("a linked file");
  await other.set(file, recordOf(8), entryOf(file), signal);
  await mkdir(join(folder, file.slice(0, 2)));
  await symlink(fileOf(outside, file), fileOf(folder, file));
  await mkdir(fileOf(folder, directory), { recursive: true });

  for (const each of [linked, file, directory]) {
    assert.equal(await layer.get(each, signal), undefined);
    assert.equal(await layer.setPinned(each, true), false);
  }
  await assert.rejects(layer.set(linked, recordOf(9), entryOf(linked), signal), { code: "storage-error" });
  assert.deepEqual((await entriesIn(layer)).map((entry) => entry.key), [key]);
  assert.equal((await layer.usage()).entries, 1);

  // In place of a link, not through it.
  await layer.set(file, recordOf(9), entryOf(file), signal);
  assert.deepEqual(await layer.get(file, signal), recordOf(9));
  await layer.delete([linked, directory], signal);
  await layer.clear(signal);
  assert.equal(await layer.get(key, signal), undefined);
  for (const path of [mine, hash, join(shard, "notes.answer")]) assert.equal(await readFile(path, "utf8"), "mine");
  assert.ok((await lstat(fileOf(folder, directory))).isDirectory());
  assert.deepEqual(await other.get(linked, signal), recordOf(7));
  assert.deepEqual(await other.get(file, signal), recordOf(8));
  assert.deepEqual((await entriesIn(other)).map(({ pinned }) => pinned), [false, false]);
});

test("uses add up over layers, never go back in time, and pins hold", async () => {
  const folder = await newFolder();
  const [a, b] = [new FileLayer({ folder }), new FileLayer({ folder })];
  const key = keyOf("a");
  await a.set(key, recordOf(1), entryOf(key), signal);
  await a.used([{ key, lastUsed: 3000, hits: 2 }, { key: keyOf("unknown"), lastUsed: 1, hits: 1 }]);
  await b.used([{ key, lastUsed: 2000, hits: 3 }]);
  assert.equal(await b.setPinned(key, true), true);
  assert.equal(await b.setPinned(keyOf("unknown"), true), false);
  assert.deepEqual(await entriesIn(a), [entryOf(key, { lastUsed: 3000, hits: 5, pinned: true })]);
  assert.equal(await a.setPinned(key, false), true);
  assert.equal((await entriesIn(b))[0].pinned, false);
  assert.deepEqual(await b.get(key, signal), recordOf(1));
});

test("the clean-up offers all rows with the layer's limits, and deletes what is chosen", async () => {
  const folder = await newFolder();
  const layer = new FileLayer({ folder, maxEntries: 2, maxBytes: 5000 });
  const names = ["expired", "old", "kept"];
  for (const [at, name] of names.entries()) {
    const key = keyOf(name);
    await layer.set(key, recordOf(at), entryOf(key, { lastUsed: at, expires: name === "expired" ? 50 : null, pinned: name === "kept" }), signal);
  }
  const [expired, old, kept] = names.map(keyOf);
  const bytes = (await stat(fileOf(folder, old))).size;
  const plan = await layer.cleanUp((rows, limits) => {
    assert.deepEqual(limits, { maxEntries: 2, maxBytes: 5000 });
    const row = rows.find(({ key }) => key === old);
    assert.deepEqual(row, { key: old, bytes, lastUsed: 1, expires: null, pinned: false, tags: entryOf(old).tags });
    assert.deepEqual(rows.map(({ key, expires, pinned }) => [key, expires, pinned]).sort(), [[expired, 50, false], [old, null, false], [kept, null, true]].sort());
    return { expired: [expired], evicted: [old] };
  });
  assert.deepEqual(plan, { expired: [expired], evicted: [old] });
  assert.deepEqual(await keysIn(layer), [kept]);
  const defaults = await new FileLayer({ folder }).cleanUp((_, limits) => ({ expired: [], evicted: [], limits }));
  assert.deepEqual(defaults.limits, { maxEntries: 10_000, maxBytes: 256 * 1024 * 1024 });
});

test("what is larger than all of the layer is not kept, nor read", async () => {
  const folder = await newFolder();
  const small = new FileLayer({ folder, maxBytes: 2000 });
  const key = keyOf("a");
  await small.set(key, recordOf(1), entryOf(key), signal);
  await small.set(key, new Uint8Array(2000), entryOf(key), signal);
  assert.deepEqual(await keysIn(small), []);
  await new FileLayer({ folder }).set(key, new Uint8Array(2000), entryOf(key), signal);
  assert.equal(await small.get(key, signal), undefined);
});

test("what a process left unfinished is deleted once it is old", async () => {
  const folder = await newFolder();
  const layer = new FileLayer({ folder });
  const key = keyOf("a");
  await layer.set(key, recordOf(1), entryOf(key), signal);
  const [old, recent] = ["old.tmp", "recent.tmp"].map((name) => join(folder, "unfinished", name));
  for (const path of [old, recent]) await writeFile(path, "half");
  await utimes(old, 1, 1);
  await layer.cleanUp(() => ({ expired: [], evicted: [] }));
  assert.deepEqual(await readdir(join(folder, "unfinished")), ["recent.tmp"]);
  assert.deepEqual(await keysIn(layer), [key]);
});

test("an aborted call says so and leaves nothing", async () => {
  const folder = await newFolder();
  const layer = new FileLayer({ folder });
  const key = keyOf("a");
  const aborted = AbortSignal.abort();
  for (const call of [
    () => layer.get(key, aborted),
    () => layer.set(key, recordOf(1), entryOf(key), aborted),
    () => layer.delete([key], aborted),
  ]) {
    await assert.rejects(call(), { code: "aborted" });
  }
  const controller = new AbortController();
  const writing = layer.set(key, new Uint8Array(1 << 20), entryOf(key), controller.signal);
  controller.abort();
  await assert.rejects(writing, { code: "aborted" });
  assert.equal(await layer.get(key, signal), undefined);
  assert.deepEqual(await readdir(join(folder, "unfinished")).catch(() => []), []);
});

test("faults of the system have a code", { skip: process.platform === "win32" || process.getuid() === 0 }, async () => {
  const folder = await newFolder();
  await chmod(folder, 0o500);
  const key = keyOf("a");
  await assert.rejects(new FileLayer({ folder }).set(key, recordOf(1), entryOf(key), signal), { code: "storage-error" });
});

test("a folder that is a file is an error for a write, and nothing for a read", async () => {
  const folder = join(await newFolder(), "file");
  await writeFile(folder, "mine");
  const layer = new FileLayer({ folder });
  const key = keyOf("a");
  await assert.rejects(layer.set(key, recordOf(1), entryOf(key), signal), { code: "storage-error" });
  assert.equal(await layer.get(key, signal), undefined);
  assert.deepEqual(await keysIn(layer), []);
});

test("writers and deleters at the same time leave whole entries only", async () => {
  const folder = await newFolder();
  const layers = [new FileLayer({ folder }), new FileLayer({ folder })];
  const keys = [keyOf("a"), keyOf("b")];
  const whole = (bytes) => bytes === undefined || (bytes.length === 5000 && bytes.every((byte) => byte === bytes[0]));
  const rounds = Array.from({ length: 60 }, async (_, round) => {
    const layer = layers[round % 2];
    const key = keys[(round >> 1) % 2];
    if (round % 10 === 9) await layer.delete([key], signal);
    else await layer.set(key, new Uint8Array(5000).fill(round), entryOf(key), signal);
    assert.ok(whole(await layers[1 - (round % 2)].get(key, signal)));
    await layer.used([{ key, lastUsed: round, hits: 1 }]);
    for (const entry of await entriesIn(layer)) assert.equal(entry.title, "Once upon a time");
  });
  await Promise.all(rounds);
  for (const key of keys) assert.ok(whole(await layers[0].get(key, signal)));
});

/** Park and Miller's generator: the same operations in every run. */
function randomNumbers(seed) {
  let state = seed;
  return (below) => {
    state = (state * 48271) % 0x7fff_ffff;
    return state % below;
  };
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`any sequence of operations on two layers does what it does on a Map (${seed})`, async () => {
    const folder = await newFolder();
    const layers = [new FileLayer({ folder }), new FileLayer({ folder })];
    const random = randomNumbers(seed);
    const model = new Map();
    const keys = Array.from({ length: 12 }, (_, at) => keyOf(at));
    for (let step = 0; step < 150; step++) {
      const layer = layers[random(2)];
      const key = keys[random(keys.length)];
      const known = model.get(key);
      switch (random(8)) {
        case 0:
        case 1:
        case 2: {
          const record = Uint8Array.from({ length: random(3) === 0 ? random(9000) : random(20) }, () => random(256));
          const title = "ö\u{1f600}\"\\".repeat(random(40));
          const entry = entryOf(key, { title, lastUsed: step, hits: random(5), tags: Array.from({ length: random(16) }, (_, at) => `${at}`.repeat(random(30))) });
          await layer.set(key, record, entry, signal);
          model.set(key, { record, entry: { ...entry, pinned: known?.entry.pinned === true } });
          break;
        }
        case 3:
          await layer.delete([key], signal);
          model.delete(key);
          break;
        case 4:
          await layer.used([{ key, lastUsed: step, hits: 1 }]);
          if (known) Object.assign(known.entry, { lastUsed: step, hits: known.entry.hits + 1 });
          break;
        case 5: {
          const pinned = random(2) === 1;
          assert.equal(await layer.setPinned(key, pinned), known !== undefined);
          if (known) known.entry.pinned = pinned;
          break;
        }
        case 6:
          await layer.cleanUp((rows) => {
            assert.deepEqual(rows.map((row) => row.key).sort(), [...model.keys()].sort());
            return { expired: [key], evicted: [] };
          });
          model.delete(key);
          break;
        case 7:
          if (random(20) === 0) {
            await layer.clear(signal);
            model.clear();
          }
      }
      assert.deepEqual(await layers[random(2)].get(key, signal), model.get(key)?.record);
    }
    const sorted = (entries) => entries.sort((a, b) => (a.key < b.key ? -1 : 1));
    assert.deepEqual(await keysIn(layers[0]), [...model.keys()].sort());
    assert.deepEqual(sorted(await entriesIn(layers[1])), sorted([...model.values()].map(({ entry }) => entry)));
    assert.equal((await layers[0].usage()).entries, model.size);
  });
}

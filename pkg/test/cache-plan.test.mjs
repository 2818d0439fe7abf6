/**
 * What a cache's `layers` option may say, and which layers come of it.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { openLayers } from "../dist/cache-layers/open.js";
import { pageLayer } from "../dist/cache-layers/page-layer.js";
import { planLayers } from "../dist/cache-layers/plan.js";

const REMOTE = { kind: "webdis", url: "https://cache.example/" };
const LAYER = Object.fromEntries(["get", "set", "delete", "keys", "clear"].map((name) => [name, async () => undefined]));
const custom = (name, layer = LAYER) => ({ kind: "custom", name, layer });
const LARGE = { maxEntries: 10_000, maxBytes: 268_435_456 };

test("options become plain data with the defaults in it", () => {
  const url = new URL("https://h.example/r");
  const plans = planLayers([
    "indexeddb",
    { kind: "localstorage", maxEntries: 5 },
    { kind: "file", folder: new URL("file:///tmp/x"), maxBytes: 7 },
    custom("mine"),
    REMOTE,
    { kind: "upstash", url, headers: { Authorization: "Bearer x" }, prefix: "p", timeoutMs: 5, secret: "s", access: "read" },
  ]);
  assert.deepEqual(plans, [
    { kind: "indexeddb", name: "indexeddb", ...LARGE },
    { kind: "localstorage", name: "localstorage", maxEntries: 5, maxBytes: 1_048_576 },
    { kind: "file", name: "file", folder: "file:///tmp/x", maxEntries: 10_000, maxBytes: 7 },
    { kind: "custom", name: "mine" },
    { kind: "webdis", name: "webdis", url: REMOTE.url, headers: {}, prefix: "cacher:", timeoutMs: 1_000, secret: null, access: "read-write" },
    { kind: "upstash", name: "upstash", url: url.href, headers: { authorization: "Bearer x" }, prefix: "p", timeoutMs: 5, secret: "s", access: "read" },
  ]);
  assert.deepEqual(structuredClone(plans), plans);
});

const REFUSED = [
  ["layers", "indexeddb"],
  ["layers[0]", ["redis"]],
  ["layers[0]", [null]],
  ["layers[0]", [{ kind: "memory" }]],
  ["layers[1]", ["indexeddb", { kind: "localstorage", maxentries: 4 }]],
  ["layers[0].maxEntries", [{ kind: "indexeddb", maxEntries: 0 }]],
  ["layers[0].maxBytes", [{ kind: "indexeddb", maxBytes: 1.5 }]],
  ["layers[0].maxBytes", [{ kind: "file", folder: "x", maxBytes: "1" }]],
  ["layers[0].folder", [{ kind: "file" }]],
  ["layers[0].name", [custom("")]],
  ["layers[0].name", [custom("x".repeat(65))]],
  ["layers[0].url", [{ kind: "webdis" }]],
  ["layers[0].url", [{ ...REMOTE, url: "/relative" }]],
  ["layers[0].url", [{ ...REMOTE, url: "file:///etc" }]],
  ["layers[0].url", [{ ...REMOTE, url: "https://user:do-not-print@h.example" }]],
  ["layers[0].headers", [{ ...REMOTE, headers: { Authorization: "do-not-print\n" + "x\u0000" } }]],
  ["layers[0].prefix", [{ ...REMOTE, prefix: "" }]],
  ["layers[0].timeoutMs", [{ ...REMOTE, timeoutMs: 0 }]],
  ["layers[0].timeoutMs", [{ ...REMOTE, timeoutMs: NaN }]],
  ["layers[0].secret", [{ ...REMOTE, secret: "" }]],
  ["layers[0].access", [{ ...REMOTE, access: "write" }]],
  ["layers", ["indexeddb", { kind: "indexeddb" }]],
  ["layers", [custom("memory")]],
  ["layers", [custom("webdis"), REMOTE]],
];

for (const [where, layers] of REFUSED) {
  test(`${where} is refused by name in ${JSON.stringify(layers)}`, () => {
    assert.throws(() => planLayers(layers), (error) => {
      assert.equal(error.code, "invalid-argument");
      assert.equal(error.message.split(": ")[0], where);
      assert.doesNotMatch(error.message, /do-not-print/);
      return true;
    });
  });
}

test("a page's layers are made there, and all others where the cache is", async () => {
  const asked = [];
  const seen = [];
  const context = {
    cacheName: "test",
    askPage: (index) => (asked.push(index), LAYER),
    openFileLayer: (folder, { maxEntries }) => (asked.push(folder, maxEntries), LAYER),
    observe: (...what) => seen.push(what.slice(0, 2)),
    onhealth: () => undefined,
    onrejected: () => undefined,
    onevicted: () => undefined,
  };
  const options = ["indexeddb", custom("mine"), { kind: "file", folder: "/f" }, "localstorage", { ...REMOTE, secret: "s" }];
  const layers = openLayers(planLayers(options), context);
  assert.deepEqual(asked, [1, "/f", 10_000, 3]);
  assert.deepEqual(
    layers.map(({ name, kind, local, secret }) => [name, kind, local !== undefined, secret]),
    [
      ["indexeddb", "indexeddb", true, null],
      ["mine", "custom", false, null],
      ["file", "file", true, null],
      ["localstorage", "localstorage", true, null],
      ["webdis", "webdis", false, "s"],
    ],
  );
  // There is no IndexedDB in Node: the guard sees to it.
  assert.equal(await layers[0].layer.get("k", new AbortController().signal), undefined);
  assert.equal(layers[0].layer.health.health, "down");
  assert.equal(await layers[1].layer.get("k", new AbortController().signal), undefined);
  assert.deepEqual(seen, [["indexeddb", "error"], ["mine", "miss"]]);
});

test("a layer of files is refused where there are none", () => {
  assert.throws(() => openLayers(planLayers([{ kind: "file", folder: "x" }]), { cacheName: "test" }), { code: "invalid-argument" });
});

test("a custom layer must have all five methods", () => {
  const made = (options) => pageLayer(planLayers([options])[0], options, "test");
  assert.equal(made(custom("mine")), LAYER);
  assert.equal(made("indexeddb"), undefined);
  for (const name of Object.keys(LAYER)) {
    const { [name]: _, ...rest } = LAYER;
    assert.throws(() => made(custom("mine", rest)), { code: "invalid-argument", message: new RegExp(`mine.*${name}`) });
  }
  assert.throws(() => made({ kind: "custom", name: "mine" }), { code: "invalid-argument" });
});

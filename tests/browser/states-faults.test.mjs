/**
 * The storage of states where the browser's storage fails it: no room, a page
 * that dies in the middle of a commit, a connection that is lost, other
 * versions of the database, and none at all.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { fixtureJson } from "./lib/paths.mjs";
import { afterFirst, commit, firstCommit, openVault, readAll } from "./lib/states.mjs";
import { waitUntil } from "./lib/wait.mjs";

const browser = await launch();
/** What a page asks for to say, without a turn of its event loop, that it has got somewhere. */
const REACHED = "/reached";
const server = await serveLibrary({ files: { [REACHED]: "" } });
test.after(() => server.close());

const DONE = { kind: "done" };
const MEGABYTE = 1 << 20;

/** Changes of every kind to what the first commit has stored. */
const secondCommit = {
  states: [{ id: "s1", version: 1, bytes: "head r2" }, { id: "s2", bytes: "head r2" }],
  revisions: [{ id: "r2", bytes: "revision 2" }],
  requires: ["r1", "r2"],
  blocks: [{ name: "b2", bytes: "block 2" }, { name: "b3", bytes: "block 3" }],
  drafts: [{ id: "s1", bytes: null }, { id: "s2", bytes: "draft 2" }],
};
const afterSecond = {
  states: [
    { id: "s1", version: 2, fence: 0, text: "head r2" },
    { id: "s2", version: 1, fence: 0, text: "head r2" },
  ],
  revisions: [...afterFirst.revisions, { id: "r2", text: "revision 2" }],
  drafts: [{ id: "s2", text: "draft 2" }],
  blocks: [...afterFirst.blocks, { name: "b2", text: "block 2" }, { name: "b3", text: "block 3" }],
  quarantined: 0,
};

async function openWithFirst() {
  const opened = await openVault(browser, server);
  assert.deepEqual(await commit(opened.page, firstCommit), DONE);
  return opened;
}

const failureToOpen = (page) => page.evaluate(() => kit.failure(vault.open()));

test("where the room ends within a commit, all that was stored stays readable", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openVault(browser, server, { open: false });
  const devtools = await context.newCDPSession(page);
  const { origin } = new URL(server.url);
  // Before anything is stored: the browser remembers for a while how much room there is.
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 4 * MEGABYTE });
  await page.evaluate(() => vault.open());
  assert.deepEqual(await commit(page, firstCommit), DONE);
  const large = Array.from({ length: 12 }, (_, index) => ({ name: `large ${index}`, bytes: { length: MEGABYTE, byte: index } }));
  const tooLarge = { ...secondCommit, blocks: large };
  const error = await page.evaluate((parts) => kit.failure(vault.commit(parts)), tooLarge);
  assert.equal(error?.code, "storage-full", JSON.stringify(error));
  assert.deepEqual(await readAll(page), afterFirst);
  const { page: other } = await openVault(context, server);
  assert.deepEqual(await readAll(other), afterFirst);

  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  assert.deepEqual(await commit(page, tooLarge), DONE);
  assert.equal((await readAll(other)).blocks.length, 13);
});

/** Runs in the page: begins a commit, which stands still for ever before its put number `stopAt`. */
function beginAndHang([parts, stopAt, reached]) {
  const { put } = IDBObjectStore.prototype;
  let puts = 0;
  IDBObjectStore.prototype.put = function (...values) {
    if (puts++ === stopAt) {
      const request = new XMLHttpRequest();
      request.open("GET", reached, false);
      request.send();
      for (;;);
    }
    return put.apply(this, values);
  };
  // After the answer that the commit has begun.
  setTimeout(() => vault.commit(parts), 0);
}

/** Gives what kills the page's process, also when the page does not answer any more. */
async function prepareToKill(context, page) {
  const devtools = await context.newCDPSession(page);
  return async () => {
    const crashed = page.waitForEvent("crash");
    devtools.send("Page.crash").catch(() => undefined);
    await crashed;
  };
}

/** What it puts: two blocks with their sizes, a revision, a draft, two states. */
const PUTS = 8;

for (let stopAt = 0; stopAt < PUTS; stopAt++) {
  test(`of a page killed before put ${stopAt + 1} of ${PUTS} of a commit, nothing stays`, { timeout: TIMEOUT_MS }, async () => {
    const { context, page } = await openWithFirst();
    const { page: other } = await openVault(context, server, { open: false });
    const kill = await prepareToKill(context, page);
    server.forget();
    await page.evaluate(beginAndHang, [secondCommit, stopAt, REACHED]);
    await waitUntil(() => server.requests.some(({ path }) => path === REACHED));
    await kill();
    await other.evaluate(() => vault.open());
    assert.deepEqual(await readAll(other), afterFirst);
    assert.deepEqual(await commit(other, secondCommit), DONE);
    assert.deepEqual(await readAll(other), afterSecond);
  });
}

test("of a page killed while the browser commits, all stays or nothing", { timeout: 2 * TIMEOUT_MS }, async (t) => {
  const blocks = Array.from({ length: 40 }, (_, index) => ({ name: `c${index}`, bytes: { length: MEGABYTE / 4, byte: 65 } }));
  let whole = 0;
  const DELAYS = [0, 5, 20, 60];
  for (const delay of DELAYS) {
    const { context, page } = await openWithFirst();
    const { page: other } = await openVault(context, server);
    const kill = await prepareToKill(context, page);
    await page.evaluate(
      ([parts, delay]) => {
        vault.commit(parts);
        return new Promise((resolve) => setTimeout(resolve, delay));
      },
      [{ ...secondCommit, blocks: [...secondCommit.blocks, ...blocks] }, delay],
    );
    await kill();
    const found = await readAll(other);
    if (found.states.length === 1) assert.deepEqual(found, afterFirst);
    else {
      whole++;
      assert.equal(found.blocks.length, 3 + blocks.length);
      assert.ok(found.blocks.every(({ name, text }) => !name.startsWith("c") || text === "A".repeat(MEGABYTE / 4)));
      assert.deepEqual({ ...found, blocks: afterSecond.blocks }, afterSecond);
    }
    await context.close();
  }
  t.diagnostic(`${whole} of ${DELAYS.length} commits were whole`);
});

test("a connection that is lost is opened anew, and the work done once", { timeout: TIMEOUT_MS }, async (t) => {
  /** Keeps what the package opens, as `handles`. */
  const keepHandles = () => {
    globalThis.handles = [];
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = function (...options) {
      if (!handles.includes(this)) handles.push(this);
      return transaction.apply(this, options);
    };
  };

  await t.test("between two transactions", async () => {
    const { page } = await openWithFirst();
    await page.evaluate(keepHandles);
    await page.evaluate(async () => {
      await vault.opened().usage();
      handles[0].close();
    });
    assert.deepEqual(await commit(page, secondCommit), DONE);
    assert.equal(await page.evaluate(() => handles.length), 2);
    assert.deepEqual(await readAll(page), afterSecond);
  });

  await t.test("within a commit", async () => {
    const { page } = await openWithFirst();
    await page.evaluate(() => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (...values) {
        IDBObjectStore.prototype.put = put;
        const request = put.apply(this, values);
        this.transaction.abort();
        this.transaction.db.close();
        return request;
      };
    });
    assert.deepEqual(await commit(page, secondCommit), DONE);
    assert.deepEqual(await readAll(page), afterSecond);
  });

  await t.test("after a commit, before its answer", async () => {
    const { page } = await openWithFirst();
    await page.evaluate(() => {
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.transaction = function (...options) {
        IDBDatabase.prototype.transaction = transaction;
        const result = transaction.apply(this, options);
        Object.defineProperty(result, "oncomplete", {
          set() {
            this.addEventListener("complete", () => {
              this.db.close();
              this.onabort();
            });
          },
        });
        return result;
      };
    });
    assert.deepEqual(await commit(page, secondCommit), DONE);
    assert.deepEqual(await readAll(page), afterSecond);
  });

  await t.test("but not for ever", async () => {
    const { page } = await openWithFirst();
    const error = await page.evaluate(() => {
      IDBDatabase.prototype.transaction = () => {
        throw new DOMException("the connection is closing", "InvalidStateError");
      };
      return kit.failure(vault.readAll());
    });
    assert.equal(error?.code, "storage-error");
  });
});

test("where the browser drops the database, an empty one takes its place", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithFirst();
  const devtools = await context.newCDPSession(page);
  const { origin } = new URL(server.url);
  await devtools.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb" });
  assert.deepEqual(await readAll(page), { states: [], revisions: [], drafts: [], blocks: [], quarantined: 0 });
  assert.deepEqual(await commit(page, { states: [{ id: "s1", version: 1, bytes: "late" }] }), { kind: "conflict", states: ["s1"] });
  assert.deepEqual(await commit(page, firstCommit), DONE);
  assert.deepEqual(await readAll(page), afterFirst);
});

test("another page may delete the database while it is open here", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithFirst();
  const { page: other } = await openVault(context, server, { open: false });
  await other.evaluate(() => vault.settled(indexedDB.deleteDatabase(vault.NAME)));
  assert.deepEqual(await commit(page, firstCommit), DONE);
  assert.deepEqual(await readAll(page), afterFirst);
});

test("a closed database takes nothing more", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithFirst();
  const error = await page.evaluate(() => {
    vault.opened().close();
    return kit.failure(vault.readAll());
  });
  assert.equal(error?.code, "storage-error");
  assert.match(error.message, /closed/);
});

const version1 = fixtureJson("states-v1/database.json");

test("a database of version 1 is brought to this version, with all it held", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openVault(browser, server, { open: false });
  await page.evaluate((content) => vault.buildVersion1(content), version1);
  await page.evaluate(() => vault.open());
  const byKey = (key) => (a, b) => (a[key] < b[key] ? -1 : 1);
  assert.deepEqual(await page.evaluate(() => vault.readAllBytes()), {
    states: version1.states.map((state) => ({ ...state, version: 1, fence: 0 })).sort(byKey("id")),
    revisions: [...version1.revisions].sort(byKey("id")),
    drafts: [],
    blocks: [...version1.blocks].sort(byKey("name")),
    quarantined: 0,
  });
  const sum = (items) => items.reduce((total, { bytes }) => total + Buffer.from(bytes, "base64").length, 0);
  assert.deepEqual(await page.evaluate(() => vault.opened().usage()), {
    records: sum([...version1.states, ...version1.revisions]),
    blocks: sum(version1.blocks),
    blockCount: version1.blocks.length,
    quarantined: 0,
  });
  const [{ id }] = version1.states;
  const next = { states: [{ id, version: 1, bytes: "next" }], drafts: [{ id, bytes: "draft" }] };
  assert.deepEqual(await commit(page, next), DONE);
});

test("an upgrade that fails leaves the old version as it was", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openVault(browser, server, { open: false });
  await page.evaluate((content) => vault.buildVersion1(content), version1);
  const error = await page.evaluate(async () => {
    const { update } = IDBCursor.prototype;
    IDBCursor.prototype.update = () => {
      throw new DOMException("no room", "QuotaExceededError");
    };
    const error = await kit.failure(vault.open());
    IDBCursor.prototype.update = update;
    return error;
  });
  assert.equal(error?.code, "storage-full", JSON.stringify(error));
  assert.equal(await page.evaluate(async () => (await vault.rawOpen()).version), 1);
  const { page: other } = await openVault(page.context(), server, { open: false });
  await page.close();
  await other.evaluate(() => vault.open());
  assert.equal((await readAll(other)).states.length, version1.states.length);
});

test("a page that keeps an old version open is named, and no reason to hang", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openVault(browser, server, { open: false });
  await page.evaluate(async (content) => {
    await vault.buildVersion1(content);
    globalThis.kept = await vault.rawOpen(1);
  }, version1);
  const { page: other } = await openVault(context, server, { open: false });
  const error = await failureToOpen(other);
  assert.equal(error?.code, "storage-error");
  assert.match(error.message, /another tab/);

  await page.close();
  await other.evaluate(() => vault.open());
  assert.equal((await readAll(other)).states.length, version1.states.length);
});

test("an open page of this version makes way for a newer one, and then says so", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithFirst();
  const { page: newer } = await openVault(context, server, { open: false });
  await newer.evaluate(() => vault.rawOpen(7, (database) => database.createObjectStore("something new")));
  const error = await page.evaluate(() => kit.failure(vault.readAll()));
  assert.equal(error?.code, "storage-newer");
});

test("a database of a newer version is refused and left as it is", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openVault(browser, server, { open: false });
  await page.evaluate(async () => {
    const raw = await vault.rawOpen(7, (database) => database.createObjectStore("states", { keyPath: "key" }));
    await vault.settled(raw.transaction("states", "readwrite").objectStore("states").put({ key: "new", value: "kept" }));
    raw.close();
  });
  const { code, details, message } = await failureToOpen(page);
  assert.deepEqual({ code, details }, { code: "storage-newer", details: { found: 7, supported: 2 } });
  assert.match(message, /newer version/);
  const [version, stores, entries] = await page.evaluate(async () => {
    const raw = await vault.rawOpen();
    return [raw.version, [...raw.objectStoreNames], await vault.rawEntries("states")];
  });
  assert.deepEqual([version, stores, entries], [7, ["states"], [["new", { key: "new", value: "kept" }]]]);
});

test("without IndexedDB, opening says so in words", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openVault(browser, server, { open: false });
  await page.evaluate(() => Object.defineProperty(globalThis, "indexedDB", { value: undefined }));
  const error = await failureToOpen(page);
  assert.equal(error?.code, "storage-error");
  assert.match(error.message, /IndexedDB is not available/);
});

test("where the browser refuses IndexedDB, opening gives its reason", { timeout: TIMEOUT_MS }, async (t) => {
  const sandboxed = await serveLibrary({
    headers: { "Content-Security-Policy": "sandbox allow-scripts", "Access-Control-Allow-Origin": "*" },
  });
  t.after(() => sandboxed.close());
  const { page } = await openVault(browser, sandboxed, { open: false });
  const error = await failureToOpen(page);
  assert.equal(error?.code, "storage-error");
  assert.match(error.message, /storage failed: .*denied/i);
});

/**
 * Tabs that share states: one writer at a time, an owner that does not answer
 * is shut out, and changes are announced.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { commit, openVault, readAll } from "./lib/states.mjs";
import { waitUntil } from "./lib/wait.mjs";

const browser = await launch();
/** Its answer comes when the test cuts the connection. */
const STUCK = "/stuck";
const server = await serveLibrary({ files: { [STUCK]: { body: "never whole", holdAt: [1] } } });
test.after(() => server.close());

/** On a busy machine an owner that lives may take its time; only tests of frozen ones wait for silence. */
const PATIENT = { waitMs: TIMEOUT_MS, answerMs: TIMEOUT_MS };

/** A page with locks of its own, as `locks`, on a channel of its own. */
async function openWithLocks(browserOrContext, settings = PATIENT) {
  const opened = await openVault(browserOrContext, server);
  await opened.page.evaluate((settings) => {
    globalThis.channel = new vault.StateChannel(vault.NAME);
    globalThis.locks = new vault.StateLocks(vault.NAME, channel, settings);
  }, settings);
  return opened;
}

/** Begins work under the lock of `id`, which ends when the page calls `finish()`; `outcome` is then what it gave. */
const hold = (page, id = "s1") =>
  page.evaluate(
    (id) =>
      new Promise((begun, refused) => {
        const finished = new Promise((resolve) => (globalThis.finish = resolve));
        globalThis.outcome = locks.withWriter(id, undefined, async ({ stolen }) => {
          begun({ stolen });
          return finished;
        });
        outcome.catch(refused);
      }),
    id,
  );

/** Stops the page's thread, as freezing does, until `server.cut()`. */
async function freeze(page) {
  server.forget();
  await page.evaluate((url) => {
    setTimeout(() => {
      const request = new XMLHttpRequest();
      request.open("GET", url, false);
      try {
        request.send();
      } catch {
        // The connection was cut.
      }
    }, 0);
  }, STUCK);
  await waitUntil(() => server.requests.some(({ path }) => path === STUCK));
}

/** Waits until some page waits for the lock of `id`. */
const untilWaitedFor = (page, id = "s1") =>
  page.waitForFunction(
    async (name) => (await navigator.locks.query()).pending.some((lock) => lock.name === name),
    `cacher-state:test:${id}`,
  );

test("a second page waits for the lock, and gets it", { timeout: TIMEOUT_MS }, async () => {
  const { context, page, problems } = await openWithLocks(browser);
  const { page: other } = await openWithLocks(context);
  assert.deepEqual(await hold(page), { stolen: false });
  const waiting = hold(other);
  await untilWaitedFor(page);
  await page.evaluate(() => finish());
  assert.deepEqual(await waiting, { stolen: false });
  assert.deepEqual(problems, []);
});

test("the locks of two states are two", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithLocks(browser);
  const { page: other } = await openWithLocks(context);
  await hold(page, "s1");
  assert.deepEqual(await hold(other, "s2"), { stolen: false });
});

test("an owner that answers is not waited for without end", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithLocks(browser);
  const { page: other } = await openWithLocks(context, { ...PATIENT, waitMs: 300 });
  await hold(page);
  const error = await other.evaluate(() => kit.failure(locks.withWriter("s1", undefined, async () => undefined)));
  assert.deepEqual({ code: error?.code, details: error?.details }, { code: "state-locked", details: { id: "s1" } });
  // The owner has noticed nothing, and who was refused may ask again.
  await page.evaluate(() => finish("done"));
  assert.equal(await page.evaluate(() => outcome), "done");
  assert.deepEqual(await hold(other), { stolen: false });
});

test("an owner that does not answer is shut out, and cannot write when it wakes up", { timeout: TIMEOUT_MS }, async () => {
  const { context, page, problems } = await openWithLocks(browser);
  const { page: other } = await openWithLocks(context, {});
  await commit(page, { states: [{ id: "s1", bytes: "first" }] });
  await hold(page);
  await freeze(page);

  assert.deepEqual(await hold(other), { stolen: true });
  const fence = await other.evaluate(() => vault.opened().takeOver("s1"));
  assert.deepEqual(await commit(other, { states: [{ id: "s1", version: 1, fence, bytes: "new owner's" }] }), { kind: "done" });

  server.cut();
  const refused = await commit(page, { states: [{ id: "s1", version: 1, fence: 0, bytes: "old owner's" }] });
  assert.deepEqual(refused, { kind: "conflict", states: ["s1"] });
  await page.evaluate(() => finish("done"));
  assert.deepEqual(await page.evaluate(() => outcome), "done");
  const { states } = await readAll(page);
  assert.deepEqual(states, [{ id: "s1", version: 2, fence: 1, text: "new owner's" }]);

  // The new owner has not lost the lock again.
  await page.evaluate(() => {
    globalThis.locks = new vault.StateLocks(vault.NAME, channel, { waitMs: 1, answerMs: 60_000 });
  });
  const error = await page.evaluate(() => kit.failure(locks.withWriter("s1", undefined, async () => undefined)));
  assert.equal(error?.code, "state-locked");
  // A rejection that nobody handles would be among them.
  assert.deepEqual(problems.filter((problem) => problem.startsWith("uncaught")), []);
});

test("of several pages that wait for a silent owner, one after the other gets the lock", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithLocks(browser);
  const others = [];
  for (let count = 0; count < 3; count++) {
    const { page: other } = await openWithLocks(context, { waitMs: TIMEOUT_MS });
    others.push(other);
  }
  // Held by other code, which answers no questions.
  await page.evaluate(() => {
    navigator.locks.request("cacher-state:test:s1", () => new Promise(() => undefined)).catch(() => undefined);
  });
  const outcomes = await Promise.all(
    others.map((other) =>
      other.evaluate(() =>
        locks.withWriter("s1", undefined, async ({ stolen }) => {
          await new Promise((resolve) => setTimeout(resolve, 50));
          return stolen;
        }),
      ),
    ),
  );
  assert.ok(outcomes.includes(true), "it was stolen");
});

test("the calls of one page come one after the other, in order", { timeout: TIMEOUT_MS }, async () => {
  const { page } = await openWithLocks(browser);
  const events = await page.evaluate(async () => {
    const events = [];
    const work = (name, fails) => async () => {
      events.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, 10));
      events.push(`${name} ends`);
      if (fails) throw new Error(name);
    };
    const calls = ["a", "b", "c"].map((name) => locks.withWriter("s1", undefined, work(name, name === "b")));
    const results = await Promise.allSettled(calls);
    return [...events, ...results.map(({ status }) => status)];
  });
  assert.deepEqual(events, [
    ...["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"],
    ...["fulfilled", "rejected", "fulfilled"],
  ]);
});

test("who waits can be aborted, behind another page and behind a call of its own", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithLocks(browser);
  const { page: other } = await openWithLocks(context);
  await hold(page);
  await other.evaluate(() => {
    globalThis.controllers = [new AbortController(), new AbortController()];
    globalThis.worked = 0;
    globalThis.failures = controllers.map(({ signal }) =>
      kit.failure(locks.withWriter("s1", signal, async () => void worked++)),
    );
    // A third, behind both, is not aborted.
    globalThis.third = locks.withWriter("s1", undefined, async () => "third");
  });
  await untilWaitedFor(page);
  const aborted = await other.evaluate(async () => {
    controllers[1].abort();
    const behindOwn = await failures[1];
    controllers[0].abort();
    return [await failures[0], behindOwn].map(({ name, code }) => ({ name, code }));
  });
  assert.deepEqual(aborted, Array(2).fill({ name: "AbortError", code: "aborted" }));
  await page.evaluate(() => finish());
  assert.deepEqual(await other.evaluate(async () => [await third, worked]), ["third", 0]);
  const early = await other.evaluate(() => kit.failure(locks.withWriter("s1", AbortSignal.abort(), async () => undefined)));
  assert.equal(early?.code, "aborted");
});

test("a page that closes its channel while it waits takes nobody's lock", { timeout: TIMEOUT_MS }, async () => {
  const { context, page } = await openWithLocks(browser);
  const { page: other } = await openWithLocks(context);
  // By other code, which answers no questions.
  await page.evaluate(
    () =>
      new Promise((granted) => {
        globalThis.held = navigator.locks.request("cacher-state:test:s1", () => {
          granted();
          return new Promise((resolve) => (globalThis.finish = resolve));
        });
      }),
  );
  await other.evaluate(() => {
    globalThis.failed = kit.failure(locks.withWriter("s1", undefined, async () => undefined));
  });
  await untilWaitedFor(page);
  const error = await other.evaluate(() => {
    channel.close();
    return failed;
  });
  assert.equal(error?.code, "disposed");
  await page.evaluate(() => finish("kept"));
  assert.equal(await page.evaluate(() => held), "kept");
});

test("changes are told to the other pages, and messages of other code are passed over", { timeout: TIMEOUT_MS }, async () => {
  const { context, page, problems } = await openWithLocks(browser);
  const { page: other } = await openWithLocks(context);
  await other.evaluate(() => {
    globalThis.all = [];
    globalThis.untilLast = [];
    channel.onchange((change) => all.push(change));
    const stop = channel.onchange((change) => {
      untilLast.push(change);
      if (change.deleted.includes("last")) stop();
    });
  });
  await page.evaluate(() => {
    globalThis.own = [];
    channel.onchange((change) => own.push(change));
    const foreign = new BroadcastChannel("cacher-states:test");
    const MESSAGES = [
      ...[null, undefined, 1, "change", [], {}, { kind: "change" }, { kind: "change", changed: "s1", deleted: [] }],
      ...[{ kind: "change", changed: [1], deleted: [] }, { kind: "change", changed: [], deleted: [null] }],
      ...[{ kind: "who-holds" }, { kind: "who-holds", id: {}, question: 1 }, { kind: "i-hold", question: [] }, { kind: "i-hold", question: "?" }],
      { kind: "constructor" },
    ];
    for (const message of MESSAGES) foreign.postMessage(message);
    channel.announce({ changed: ["s1", "s2"], deleted: [] });
    channel.announce({ changed: [], deleted: ["last"] });
    channel.announce({ changed: ["after"], deleted: [] });
  });
  await other.waitForFunction(() => all.length >= 3);
  const changes = [
    { changed: ["s1", "s2"], deleted: [] },
    { changed: [], deleted: ["last"] },
    { changed: ["after"], deleted: [] },
  ];
  assert.deepEqual(await other.evaluate(() => [all, untilLast]), [changes, changes.slice(0, 2)]);
  assert.deepEqual(await page.evaluate(() => own), []);
  assert.deepEqual(problems, []);
});

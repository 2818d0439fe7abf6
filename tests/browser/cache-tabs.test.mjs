/**
 * A response cache that several tabs share: what one has computed all have,
 * what one deletes is gone in all, and equal requests at the same time are
 * computed once, whatever becomes of the tab that does it.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import {
  ask,
  computed,
  FRESH,
  generate,
  goOn,
  layerStats,
  openCache,
  openModel,
  origin,
  standStill,
  untilStored,
  untilTold,
  untilWaiting,
} from "./lib/cached.mjs";
import { serveLibrary } from "./lib/library.mjs";
import { waitUntil } from "./lib/wait.mjs";

/** Its answer comes when the test cuts the connection. */
const STUCK = "/stuck";

const browser = await launch();
const server = await serveLibrary({ files: { [STUCK]: { body: "never whole", holdAt: [1] } } });
test.after(() => server.close());

const LIMIT = { timeout: TIMEOUT_MS };
/** On a busy machine a tab that lives may take its time; only tests of frozen ones wait for silence. */
const PATIENT = { waitMs: TIMEOUT_MS };

/** Two tabs of one browser. */
async function openTabs(open, ...options) {
  const { context, page: a } = await open(browser, server, ...options);
  const { page: b } = await open(context, server, ...options);
  return { context, a, b };
}

/** Asks in the page, as `begun`, for what stands still once its computing has begun. */
async function begin(page, request) {
  await page.evaluate((request) => cached.begin(request), request);
  await waitUntil(async () => (await computed(page)).includes(request));
}

/** Asks in the page, as `asked`. */
const askLater = (page, request) =>
  page.evaluate((request) => {
    globalThis.asked = cached.ask(request);
    asked.catch(() => undefined);
  }, request);

const asked = (page) => page.evaluate(() => asked);

/** Waits until some page computes an answer. */
const untilLed = (page) =>
  page.waitForFunction(async () => (await navigator.locks.query()).held.some(({ name }) => name.startsWith("cacher-cache:test:")));

/** Stops the thread of the page's worker, as freezing does, until `server.cut()`. */
async function freezeWorker(page) {
  server.forget();
  server.files[STUCK].holdAt = [1];
  await page.workers()[0].evaluate((url) => {
    setTimeout(() => {
      const request = new XMLHttpRequest();
      request.open("GET", url, false);
      try {
        request.send();
      } catch {
        // The connection was cut.
      }
    }, 0);
  }, new URL(STUCK, server.url).href);
  await waitUntil(() => server.requests.some(({ path }) => path === STUCK));
}

test("what one tab has computed, the other has", LIMIT, async () => {
  const { a, b } = await openTabs(openModel);
  const first = await generate(a);
  await untilStored(a, first.cache.key);
  const second = await generate(b);
  assert.deepEqual(origin(second), ["exact", "indexeddb"]);
  assert.deepEqual([second.text, second.chunks, second.evaluated], [first.text, first.chunks, 0]);
  assert.deepEqual(origin(await generate(b)), ["exact", "memory"]);
});

const DELETIONS = [
  ["deletes", (key) => cache.delete(key), "delete"],
  ["invalidates", () => cache.invalidate({ tags: ["gone"] }), "delete"],
  ["clears", () => cache.clear(), "clear"],
];

for (const [what, work, type] of DELETIONS) {
  test(`what one tab ${what}, the other does not give from its memory`, LIMIT, async () => {
    const { a, b } = await openTabs(openCache);
    const { cache } = await ask(a, "q", { tags: ["gone"] });
    await untilStored(a, cache.key);
    await ask(b, "q");
    assert.deepEqual(origin(await ask(b, "q")), ["exact", "memory"]);
    await a.evaluate(work, cache.key);
    await untilTold(b, { type, origin: "other-tab" });
    assert.deepEqual(origin(await ask(b, "q")), FRESH);
    assert.deepEqual(await computed(b), ["q"]);
  });
}

test("what one tab computes anew takes the place of the other's answer", LIMIT, async () => {
  const { a, b } = await openTabs(openCache);
  const { cache } = await ask(a, "q");
  await untilStored(a, cache.key);
  await ask(b, "q");
  await a.evaluate(() => cache.set("q", "another answer"));
  await untilTold(b, { type: "set", origin: "other-tab", key: cache.key });
  const again = await ask(b, "q");
  assert.deepEqual([again.value, ...origin(again)], ["another answer", "exact", "memory"]);
});

test("equal requests in two tabs at the same time are computed once", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, PATIENT);
  await begin(a, "q");
  await askLater(b, "q");
  await untilWaiting(b);
  await a.evaluate(() => release());
  const [lead, follow] = [await a.evaluate(() => begun), await asked(b)];
  assert.deepEqual([lead.value, lead.cache.hit, lead.cache.shared], [follow.value, false, false]);
  assert.equal(follow.cache.shared, true);
  assert.deepEqual([await computed(a), await computed(b)], [["q"], []]);
});

test("tabs that ask for many things at once compute each of them once", LIMIT, async () => {
  const { context, a, b } = await openTabs(openCache, PATIENT);
  const { page: c } = await openCache(context, server, PATIENT);
  const requests = Array.from({ length: 20 }, (_, index) => ({ index }));
  const work = (requests) => Promise.all(requests.flatMap((request) => [cached.ask(request), cached.ask(request)]));
  const answers = (await Promise.all([a, b, c].map((page) => page.evaluate(work, requests)))).flat();
  const all = (await Promise.all([a, b, c].map(computed))).flat();
  assert.deepEqual(all.map(({ index }) => index).sort((x, y) => x - y), requests.map(({ index }) => index));
  for (const [at, { value }] of answers.entries()) assert.equal(value, answers[at - (at % 2)].value);
  assert.equal(answers.filter(({ cache }) => cache.hit === false && !cache.shared).length, requests.length);
});

test("equal generations in two tabs at the same time are computed once", LIMIT, async () => {
  const { a, b } = await openTabs(openModel, PATIENT);
  await standStill(a);
  const first = generate(a);
  await untilLed(a);
  const second = generate(b);
  await untilWaiting(b);
  await goOn(a);
  const [lead, follow] = await Promise.all([first, second]);
  assert.deepEqual([origin(lead), lead.cache.shared, follow.cache.shared], [FRESH, false, true]);
  assert.deepEqual([follow.text, follow.tokens, follow.chunks, follow.evaluated], [lead.text, lead.tokens, lead.chunks, 0]);
  const sets = await Promise.all([a, b].map((page) => page.evaluate(async () => (await cache.stats()).sets)));
  assert.deepEqual(sets, [1, 0]);
});

test("where the tab that computes is closed, one that waits computes instead", LIMIT, async () => {
  const { context, a, b } = await openTabs(openModel, PATIENT);
  const { page: c } = await openModel(context, server, PATIENT);
  await standStill(a);
  await a.evaluate(() => void (globalThis.begun = cached.generate("Once upon a time", { seed: 1, maxTokens: 12 })));
  await untilLed(a);
  const others = [b, c].map((page) => generate(page, "Once upon a time", { seed: 1, maxTokens: 12 }));
  await untilWaiting(b, 2);
  await a.close();
  const answers = await Promise.all(others);
  assert.deepEqual(answers.map(({ cache }) => cache.shared).sort(), [false, true]);
  assert.deepEqual(answers[0].text, answers[1].text);
  assert.equal(answers[0].tokens.length, 12);
});

test("where computing it fails, who waits in another tab is told so, and nothing is kept", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, PATIENT);
  await begin(a, "q");
  await askLater(b, "q");
  await untilWaiting(b);
  await a.evaluate(() => fail("no such luck"));
  const [lead, follow] = [await a.evaluate(() => kit.failure(begun)), await b.evaluate(() => kit.failure(asked))];
  assert.equal(lead.message, "no such luck");
  assert.equal(follow.code, "compute-failed");
  assert.match(follow.message, /another tab.*no such luck/);
  assert.deepEqual(await computed(b), []);
  assert.deepEqual(origin(await ask(b, "q")), FRESH);
});

test("where the tab that computes does not want it any more, one that waits computes instead", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, PATIENT);
  await a.evaluate(() => {
    globalThis.stop = new AbortController();
    globalThis.begun = kit.failure(cache.fetch("q", () => cached.computed.push("q") && new Promise(() => undefined), { signal: stop.signal }));
  });
  await waitUntil(async () => (await computed(a)).length === 1);
  await askLater(b, "q");
  await untilWaiting(b);
  await a.evaluate(() => stop.abort());
  assert.equal((await a.evaluate(() => begun)).code, "aborted");
  assert.deepEqual(origin(await asked(b)), FRESH);
  assert.deepEqual(await computed(b), ["q"]);
});

test("where the cache that computes is closed, one that waits computes instead", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, PATIENT);
  await begin(a, "q");
  await askLater(b, "q");
  await untilWaiting(b);
  await a.evaluate(() => cache.close());
  assert.deepEqual(origin(await asked(b)), FRESH);
  // What was being computed is given to who waits for it, and kept no more.
  await a.evaluate(() => release());
  assert.equal((await a.evaluate(() => begun)).value, (await asked(b)).value);
});

test("a stale answer is given in all tabs while one of them computes it anew", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, { ...PATIENT, staleMs: 600_000, ttlJitter: 0 });
  const key = await a.evaluate(async () => (await cache.set("q", "old", { cacheTtl: 1 })).key);
  await begin(a, "q");
  const answers = [await a.evaluate(() => begun), await ask(b, "q")];
  assert.deepEqual(answers.map(({ value, cache }) => [value, cache.hit, cache.layer]), [["old", "stale", "memory"], ["old", "stale", "indexeddb"]]);
  assert.deepEqual(await computed(b), []);
  await b.evaluate(() => void (cached.events.length = 0));
  await a.evaluate(() => release());
  await untilTold(b, { type: "set", key, origin: "other-tab" });
  const fresh = await ask(b, "q");
  assert.deepEqual([fresh.cache.hit, fresh.cache.layer, fresh.value === "old"], ["exact", "memory", false]);
  assert.deepEqual(await computed(b), []);
});

test("who waits for another tab can be aborted, and the other computes on", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, PATIENT);
  await begin(a, "q");
  await b.evaluate(() => {
    globalThis.stop = new AbortController();
    globalThis.asked = kit.failure(cached.ask("q", { signal: stop.signal }));
  });
  await untilWaiting(b);
  await b.evaluate(() => stop.abort());
  assert.equal((await asked(b)).code, "aborted");
  await untilWaiting(b, 0);
  await a.evaluate(() => release());
  await a.evaluate(() => begun);
  assert.deepEqual(origin(await ask(b, "q")).slice(0, 1), ["exact"]);
});

test("where the tab that computes is frozen, one that waits computes after `waitMs`", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, { waitMs: 1_000 });
  await begin(a, "q");
  await freezeWorker(a);
  const answer = await ask(b, "q");
  assert.deepEqual([origin(answer), answer.cache.shared], [FRESH, false]);
  assert.deepEqual(await computed(b), ["q"]);
  // The frozen tab wakes up and ends its work as ever.
  await a.evaluate(() => release());
  server.cut();
  const late = await a.evaluate(() => begun);
  assert.equal(late.value, answer.value);
  await untilWaiting(b, 0);
  assert.equal((await ask(a, "q")).cache.hit, "exact");
});

test("a tab that takes longer than `waitMs` and lives is waited for", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, { waitMs: 1_000 });
  await begin(a, "q");
  await askLater(b, "q");
  await untilWaiting(b);
  // Long enough for a silent one to be given up.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  assert.deepEqual(await computed(b), []);
  await a.evaluate(() => release());
  assert.equal((await asked(b)).cache.shared, true);
});

test("without `acrossTabs`, each computes for itself", LIMIT, async () => {
  const { a, b } = await openTabs(openCache, { acrossTabs: false });
  await begin(a, "q");
  const other = await ask(b, "q");
  await a.evaluate(() => release());
  const first = await a.evaluate(() => begun);
  assert.deepEqual([origin(first), origin(other)], [FRESH, FRESH]);
  assert.deepEqual([await computed(a), await computed(b)], [["q"], ["q"]]);
});

test("caches of two names have nothing to do with each other", LIMIT, async () => {
  const { context, page: a } = await openCache(browser, server);
  const { page: b } = await openCache(context, server, { name: "another" });
  const { cache } = await ask(a, "q");
  await untilStored(a, cache.key);
  assert.deepEqual(origin(await ask(b, "q")), FRESH);
  await b.evaluate(() => cache.clear());
  assert.equal((await layerStats(a, "indexeddb")).entries, 1);
});

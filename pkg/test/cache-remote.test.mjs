/**
 * The layers behind HTTP with servers that answer as they are told to: what is
 * asked of them, and that nothing they say is believed. Real servers are in
 * tests/cache.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import test from "node:test";
import { RemoteLayer } from "../dist/cache-layers/remote.js";
import { Upstash } from "../dist/cache-layers/upstash.js";
import { Webdis } from "../dist/cache-layers/webdis.js";

const never = new AbortController().signal;
const RECORD = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const BASE64 = Buffer.from(RECORD).toString("base64");
const SECRET = "Bearer do-not-print-this";
const NOW = 1_000_000;
const KINDS = { webdis: Webdis, upstash: Upstash };

/** A layer before a server that answers each request with what `answer(body, response)` gives: a text of status 200, or what it has written itself. */
async function layerBefore(t, kind, answer, { prefix = "p:", timeoutMs = 10_000 } = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const body = await text(request);
    requests.push({ method: request.method, url: request.url, authorization: request.headers.authorization, body });
    const content = answer(body, response);
    if (content !== undefined) response.end(content);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = new URL(`http://127.0.0.1:${server.address().port}/`);
  const redis = new KINDS[kind]({ url, headers: { authorization: SECRET }, timeoutMs });
  return { layer: new RemoteLayer(redis, prefix, () => NOW), requests, url };
}

const failureOf = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail("nothing went wrong");
};

test("Webdis gets a command in the body, with all that means something to it escaped", async (t) => {
  const { layer, requests } = await layerBefore(t, "webdis", () => '{"SET":[true,"OK"]}', { prefix: "a.b/c?%:" });
  await layer.set("k", Uint8Array.of(0xfb, 0xef, 0xff), { expires: null }, never);
  await layer.set("k", Uint8Array.of(1), { expires: NOW + 1_500.5 }, never);
  assert.deepEqual(requests, [
    { method: "POST", url: "/", authorization: SECRET, body: "SET/a%2Eb%2Fc%3F%25%3Ak/%2B%2B%2F%2F" },
    { method: "POST", url: "/", authorization: SECRET, body: "SET/a%2Eb%2Fc%3F%25%3Ak/AQ%3D%3D/PX/1501" },
  ]);
});

test("Upstash gets commands as JSON under its own path", async (t) => {
  const { layer, requests } = await layerBefore(t, "upstash", () => '[{"result":"OK"}]');
  await layer.set("k", Uint8Array.of(1), { expires: NOW + 5 }, never);
  const [{ body, ...rest }] = requests;
  assert.deepEqual(rest, { method: "POST", url: "/pipeline", authorization: SECRET });
  assert.deepEqual(JSON.parse(body), [["SET", "p:k", "AQ==", "PX", 5]]);
});

test("Upstash's path may lie below another", () => {
  const seen = [];
  const { fetch } = globalThis;
  globalThis.fetch = async (url) => (seen.push(String(url)), new Response('[{"result":null}]'));
  const get = (url) => new Upstash({ url: new URL(url), headers: {}, timeoutMs: 1_000 }).pipeline([["GET", "k"]], never);
  return Promise.all([get("https://h.example"), get("https://h.example/redis"), get("https://h.example/redis/")])
    .then(() => assert.deepEqual(seen, ["https://h.example/pipeline", "https://h.example/redis/pipeline", "https://h.example/redis/pipeline"]))
    .finally(() => (globalThis.fetch = fetch));
});

test("an entry that has expired is not written", async (t) => {
  const { layer, requests } = await layerBefore(t, "upstash", () => '[{"result":"OK"}]');
  await layer.set("k", RECORD, { expires: NOW }, never);
  await layer.set("k", RECORD, { expires: NOW - 1 }, never);
  assert.deepEqual(requests, []);
});

test("keys are deleted in batches", async (t) => {
  const { layer, requests } = await layerBefore(t, "upstash", () => '[{"result":1}]');
  await layer.delete([], never);
  await layer.delete(Array.from({ length: 2_001 }, (_, index) => `k${index}`), never);
  const commands = requests.map(({ body }) => JSON.parse(body)[0]);
  assert.deepEqual(commands.map(([name, first, ...rest]) => [name, first, rest.length]), [
    ["UNLINK", "p:k0", 999],
    ["UNLINK", "p:k1000", 999],
    ["UNLINK", "p:k2000", 0],
  ]);
});

test("what is listed are the keys of the prefix alone, to the last batch", async (t) => {
  const answers = [["7", ["p:a", "q:b", 5, "p:"]], ["3", []], ["0", ["p:c"]]];
  const { layer, requests } = await layerBefore(t, "upstash", () => JSON.stringify([{ result: answers.shift() }]), { prefix: "p:" });
  const batches = [];
  for await (const keys of layer.keys(never)) batches.push(keys);
  assert.deepEqual(batches, [["a", ""], ["c"]]);
  assert.deepEqual(requests.map(({ body }) => JSON.parse(body)[0]), ["0", "7", "3"].map((cursor) => ["SCAN", cursor, "MATCH", "p:*", "COUNT", 1_000]));
});

test("a Webdis that can say a list within a list is asked once", async (t) => {
  const { layer, requests } = await layerBefore(t, "webdis", () => '{"SCAN":["0",["p:a"]]}', { prefix: "p:" });
  assert.deepEqual((await layer.keys(never).next()).value, ["a"]);
  assert.deepEqual(requests.map(({ body }) => body), ["SCAN/0/MATCH/p%3A*/COUNT/1000"]);
});

/** What a server may say in place of a record, for both kinds; `code` is the error's. */
const ANSWERS = [
  ["a page", "<!doctype html><title>Sign in</title>", "<!doctype html>", "http-error"],
  ["nothing", "", "", "http-error"],
  ["half an answer", '{"GET":"AAA', '[{"result":"AAA', "http-error"],
  ["another form", "[]", "{}", "http-error"],
  ["null", "null", "null", "http-error"],
  ["nulls", '{"GE":1}', "[null]", "http-error"],
  ["too few", "{}", "[]", "http-error"],
  ["too many", '{"SET":[true,"OK"]}', '[{"result":null},{"result":null}]', "http-error"],
  ["an error of Redis", '{"GET":[false,"ERR no"]}', '[{"error":"ERR no"}]', "http-error"],
  ["a number", '{"GET":7}', '[{"result":7}]', "invalid-cache-record"],
  ["a list", '{"GET":["AQ=="]}', '[{"result":["AQ=="]}]', "invalid-cache-record"],
  ["an object", '{"GET":{}}', '[{"result":{}}]', "invalid-cache-record"],
  ["no base64", '{"GET":"<b>"}', '[{"result":"<b>"}]', "invalid-cache-record"],
  ["a value of another kind", '{"GET":[false,"WRONGTYPE Operation"]}', '[{"error":"WRONGTYPE Operation"}]', "invalid-cache-record"],
];

for (const kind of Object.keys(KINDS)) {
  const answerOf = ([, webdis, upstash]) => (kind === "webdis" ? webdis : upstash);
  const get = (layer) => layer.get("k", never);

  test(`${kind}: a record comes back, and null is none`, async (t) => {
    const found = await layerBefore(t, kind, () => (kind === "webdis" ? `{"GET":"${BASE64}"}` : `[{"result":"${BASE64}"}]`));
    assert.deepEqual(await get(found.layer), RECORD);
    const empty = await layerBefore(t, kind, () => (kind === "webdis" ? '{"GET":null}' : '[{"result":null}]'));
    assert.equal(await get(empty.layer), undefined);
  });

  for (const answer of ANSWERS) {
    test(`${kind}: ${answer[0]} is not taken for a record`, async (t) => {
      const { layer } = await layerBefore(t, kind, () => answerOf(answer));
      const error = await failureOf(get(layer));
      assert.equal(error.code, answer[3], error.message);
    });
  }

  for (const [what, wrong] of [["a cursor", ["x", []]], ["a list", ["0", {}]], ["an answer", 3]]) {
    test(`${kind}: what is not ${what} ends a listing`, async (t) => {
      const { layer } = await layerBefore(t, kind, () => JSON.stringify(kind === "webdis" ? { SCAN: wrong } : [{ result: wrong }]));
      assert.equal((await failureOf(layer.keys(never).next())).code, "http-error");
    });
  }

  for (const status of [401, 403, 404, 429, 500]) {
    test(`${kind}: status ${status} is an error that tells no secret`, async (t) => {
      const { layer } = await layerBefore(t, kind, (_, response) => void response.writeHead(status).end(SECRET));
      const error = await failureOf(get(layer));
      assert.deepEqual([error.code, error.details.status], ["http-error", status]);
      if (status === 401 || status === 403) assert.match(error.message, /refuses access/);
      assert.doesNotMatch(JSON.stringify([error.message, error.details, String(error.cause)]), /do-not-print/);
    });
  }

  test(`${kind}: a record that the server has no room for is a matter of room`, async (t) => {
    const tooLarge = await layerBefore(t, kind, (_, response) => void response.writeHead(413).end());
    const full = await layerBefore(t, kind, () => (kind === "webdis" ? '{"SET":[false,"OOM command"]}' : '[{"error":"OOM command"}]'));
    for (const { layer } of [tooLarge, full]) {
      assert.equal((await failureOf(layer.set("k", RECORD, { expires: null }, never))).code, "storage-full");
    }
  });

  test(`${kind}: an answer that says it is too long is not read`, async (t) => {
    const { layer } = await layerBefore(t, kind, (_, response) => {
      response.writeHead(200, { "content-length": String(1e12) });
      response.write("{");
    });
    const error = await failureOf(get(layer));
    assert.deepEqual([error.code, /longer than/.test(error.message)], ["http-error", true]);
  });

  test(`${kind}: an answer without end is cut off`, async (t) => {
    const part = Buffer.alloc(1 << 20, "A");
    let sent = 0;
    const { layer } = await layerBefore(t, kind, (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(part)) sent++;
      };
      response.on("drain", more);
      more();
    }, { timeoutMs: 60_000 });
    const error = await failureOf(get(layer));
    assert.deepEqual([error.code, /longer than/.test(error.message)], ["http-error", true]);
    assert.ok(sent < 200, `${sent} MiB were sent`);
  });

  test(`${kind}: a redirection is not followed`, async (t) => {
    const { layer, requests } = await layerBefore(t, kind, (_, response) => void response.writeHead(307, { location: "/elsewhere" }).end());
    assert.equal((await failureOf(get(layer))).code, "network-error");
    assert.equal(requests.length, 1);
  });

  test(`${kind}: a server that is silent is given up`, async (t) => {
    const { layer } = await layerBefore(t, kind, () => undefined, { timeoutMs: 30 });
    const error = await failureOf(get(layer));
    assert.deepEqual([error.code, /no answer within 30 ms/.test(error.message)], ["network-error", true]);
  });

  test(`${kind}: a server that stops within its answer is given up`, async (t) => {
    const { layer } = await layerBefore(t, kind, (_, response) => void response.write("{"), { timeoutMs: 200 });
    assert.equal((await failureOf(get(layer))).code, "network-error");
  });

  test(`${kind}: the caller ends a request`, async (t) => {
    const controller = new AbortController();
    const { layer } = await layerBefore(t, kind, () => controller.abort());
    assert.equal((await failureOf(layer.get("k", controller.signal))).code, "aborted");
  });
}

test("no server at all is an error that names it", async () => {
  const redis = new Webdis({ url: new URL("http://127.0.0.1:9/path?token=abc"), headers: { authorization: SECRET }, timeoutMs: 5_000 });
  const error = await failureOf(new RemoteLayer(redis, "p:").get("k", never));
  assert.equal(error.code, "network-error");
  assert.match(error.message, /^http:\/\/127\.0\.0\.1:9: /);
  assert.doesNotMatch(error.message, /do-not-print|abc/);
});

/** The command line, with a package and a process that are put in the place of the real ones. */

import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { bytes, line, printable, table, time } from "../dist/cli/format.js";
import { main } from "../dist/cli/main.js";
import { COMMANDS, OPTIONS } from "../dist/cli/options.js";
import { parse } from "../dist/cli/parse.js";
import { duration } from "../dist/cli/values.js";
import { requestsIn } from "../dist/cli/warm.js";
import { CacherError } from "../dist/errors.js";

const COMPUTED = { hit: false, layer: null, key: "ab".repeat(32), ageMs: 0, shared: false, savedMs: 0, score: null, matchedPrompt: null };

function resultOf(change = {}) {
  return {
    ...{ text: " there was", tokens: [612, 373], promptTokens: [1], finishReason: "length", matched: null, seed: 7 },
    usage: { promptTokens: 1, tokensEvaluated: 1, completionTokens: 2, totalTokens: 3, draftTokens: 0, acceptedDraftTokens: 0 },
    timings: { prefillMs: 1, decodeMs: 2, prefillTokensPerSecond: 1000, tokensPerSecond: 212.34 },
    cache: COMPUTED,
    ...change,
  };
}

function entryOf(change = {}) {
  return {
    ...{ key: "cd".repeat(32), title: "Once upon\na \u001b[31mtime", kind: "generation", model: "ef".repeat(32), created: 0, expires: null },
    ...{ lastUsed: 0, hits: 2, bytes: 1500, rawBytes: 3000, costMs: 250, tokens: 20, tags: [], pinned: false, source: "", layers: ["file"] },
    ...change,
  };
}

/** Runs a command line, and tells what it asked of the package and what it printed. */
async function cacher(args, { result = resultOf(), chunks = [" there", " was"], entries = [], warm, io = {}, interrupt, hang } = {}) {
  const calls = [];
  const printed = { out: "", err: "" };
  const controller = new AbortController();
  const call = (name, value) => {
    calls.push([name, value]);
    // As a signal comes: after the call has begun.
    if (interrupt === name && hang) queueMicrotask(() => controller.abort());
    else if (interrupt === name) controller.abort();
  };
  const answer = () => ({
    async *[Symbol.asyncIterator]() {
      for (const text of chunks) yield { text, tokens: [1] };
    },
    get result() {
      return result instanceof Error ? Promise.reject(result) : Promise.resolve(result);
    },
  });
  const api = {
    async load({ signal, onProgress, ...options }) {
      call("load", options);
      if (signal.aborted) throw new CacherError("aborted", "the call was aborted");
      onProgress({ phase: "resolve", loaded: 0, total: 0 });
      onProgress({ phase: "download", loaded: 450_000, total: 1_000_000 });
      return {
        model: { sha256: "12".repeat(32), dtype: "q8" },
        generate(prompt, { signal, ...options }) {
          assert.equal(signal, controller.signal);
          call("generate", { prompt, ...options });
          return answer();
        },
        cache: {
          async warm(requests, { concurrency, onProgress }) {
            call("warm", { requests, concurrency });
            onProgress({ computed: 1, present: 0, failed: 0 });
            return warm;
          },
        },
        dispose: async () => call("dispose"),
      };
    },
    async openCache(options) {
      call("openCache", options);
      return {
        async entries(query) {
          call("entries", query);
          if (hang) await new Promise(() => undefined);
          const { offset = 0, limit } = query;
          return { items: entries.slice(offset, offset + limit), total: entries.length };
        },
        async invalidate(invalidation) {
          call("invalidate", invalidation);
          return 3;
        },
        clear: async (options) => call("clear", options),
        stats: async () => ({ layers: [{ name: "memory", health: "ok" }, { name: "webdis", health: "down", reason: "no answer" }] }),
        close: async () => call("close"),
      };
    },
    version: async () => "1.2.3",
  };
  const code = await main(args, api, {
    out: (text) => (printed.out += text),
    err: (text) => (printed.err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    stdin: async () => "from stdin\n",
    readFile: async (path) => {
      if (path !== "prompts.txt") throw new Error(`ENOENT: ${path}`);
      return 'plain\n\n{"prompt": "json", "options": {"seed": 2}}\r\n';
    },
    env: {},
    platform: "linux",
    home: "/home/me",
    interrupted: controller.signal,
    ...io,
  });
  const of = (name) => calls.find(([each]) => each === name)?.[1];
  return { code, ...printed, names: calls.map(([name]) => name), of };
}

const RUN = ["run", "Once", "--model", "owner/name"];

test("run streams the text alone to stdout, and says on stderr what it was", async () => {
  const { code, out, err, names, of } = await cacher(RUN);
  assert.equal(code, 0);
  assert.equal(out, " there was");
  assert.equal(err, "2 tokens · 212.3 tokens/s · computed · seed 7\n");
  assert.deepEqual(names, ["load", "generate", "dispose"]);
  assert.deepEqual(of("load"), {
    model: "owner/name",
    cache: { layers: [{ kind: "file", folder: "/home/me/.cache/cacher-wasm/answers" }], acrossTabs: false },
  });
  assert.deepEqual(of("generate"), { prompt: "Once" });
});

test("every option of run reaches the generation as what it stands for", async () => {
  const { of } = await cacher([
    ...["run", "--model", "m/x", "--dtype=q4", "--max-tokens", "20", "--temperature", "0.5", "--top-k", "40", "--top-p", ".9", "--min-p", "1e-2"],
    ...["--repetition-penalty", "1.2", "--seed", "9007199254740993", "--stop", "a", "--stop=--b", "--set", "noRepeatNgramSize=3", "--set=stopAt=line", "--cache", "--cache-ttl", "2h"],
    ...["--tag", "x", "--tag", "y", "--replay", "recorded", "--", "--Once"],
  ]);
  assert.equal(of("load").dtype, "q4");
  assert.deepEqual(of("generate"), {
    ...{ prompt: "--Once", maxTokens: 20, temperature: 0.5, topK: 40, topP: 0.9, minP: 0.01, repetitionPenalty: 1.2, noRepeatNgramSize: 3, stopAt: "line" },
    ...{ seed: 9007199254740993n, stop: ["a", "--b"], cache: true, cacheTtl: 7_200_000, tags: ["x", "y"], replay: "recorded" },
  });
});

test("a seed that a number holds is one", async () => {
  assert.equal((await cacher([...RUN, "--seed", "9007199254740991"])).of("generate").seed, 9007199254740991);
});

for (const [option, cache] of [["--cache", true], ["--only-cached", "only"], ["--refresh", "refresh"]]) {
  test(`${option} sets the generation's mode`, async () => {
    assert.equal((await cacher([...RUN, option])).of("generate").cache, cache);
  });
}

test("--no-cache loads without any cache", async () => {
  const { of } = await cacher([...RUN, "--no-cache"]);
  assert.equal(of("load").cache, false);
  assert.equal(of("generate").cache, false);
});

test("a hit is told with its layer, age and savings instead of a speed", async () => {
  const hit = { ...COMPUTED, hit: "exact", layer: "file", ageMs: 7_200_000, savedMs: 1234 };
  assert.equal((await cacher(RUN, { result: resultOf({ cache: hit }) })).err, "2 tokens · from file, 2.0 h old · saved 1.2 s · seed 7\n");
  const stale = await cacher(RUN, { result: resultOf({ cache: { ...hit, hit: "stale" } }) });
  assert.match(stale.err, /from file \(stale\), 2\.0 h old/);
});

test("an answer that the cache was not asked for says so", async () => {
  assert.match((await cacher(RUN, { result: resultOf({ cache: { ...COMPUTED, key: null } }) })).err, /computed, cache not used/);
});

test("--json prints one object when all is there, and nothing else", async () => {
  const result = resultOf({ seed: 2n ** 60n });
  const { code, out, err } = await cacher([...RUN, "--json"], { result, io: { errIsTerminal: true } });
  assert.equal(code, 0);
  const { promptTokens, ...expected } = result;
  assert.deepEqual(JSON.parse(out), { ...expected, seed: String(2n ** 60n), model: { sha256: "12".repeat(32), dtype: "q8" } });
  assert.equal(out.indexOf("\n"), out.length - 1);
  assert.ok(err.split("\r\u001b[K").every((text) => text === "" || /^(looking|downloading)/.test(text)), err);
});

test("on a terminal loading shows its progress, the line ends, and control characters do no harm", async () => {
  const { out, err } = await cacher(RUN, { chunks: ["a\tb\n", "\u001b]0;title\u0007", "\u009b2J", "c"], io: { outIsTerminal: true, errIsTerminal: true } });
  assert.equal(out, "a\tb\n\ufffd]0;title\ufffd\ufffd2Jc\n");
  assert.ok(err.startsWith("\r\u001b[Klooking for the model\r\u001b[Kdownloading: 450.0 kB of 1.0 MB (45 %)\r\u001b[K2 tokens"), JSON.stringify(err));
});

test("off a terminal the text is as the model wrote it", async () => {
  assert.equal((await cacher(RUN, { chunks: ["\u001b[31m\r\n"] })).out, "\u001b[31m\r\n");
});

test("a dash reads the prompt from stdin, without the end of its last line", async () => {
  assert.equal((await cacher(["run", "-", "--model", "m/x"])).of("generate").prompt, "from stdin");
});

test("paths are told from URLs and repositories", async () => {
  const modelOf = async (model) => (await cacher(["run", "x", "--model", model])).of("load").model;
  for (const path of ["./models/a", "../a", "/a/b", "a.gguf", "folder/a.gguf"]) {
    assert.equal((await modelOf(path)).href, pathToFileURL(resolve(path)).href, path);
  }
  for (const other of ["tiny-gpt2", "owner/name@revision", "https://example.org/a.gguf", "file:///a/b"]) {
    assert.equal(await modelOf(other), other);
  }
});

test("an error is one line with its code, and the model is let go", async () => {
  const result = new CacherError("not-cached", "the answer is not in \u001b[31mthe cache");
  const { code, out, err, names } = await cacher(RUN, { result, chunks: [] });
  assert.deepEqual([code, out, err], [1, "", "cacher: the answer is not in \ufffd[31mthe cache (not-cached)\n"]);
  assert.equal(names.at(-1), "dispose");
});

test("with --json an error is JSON on stderr, of the command line too", async () => {
  const { code, out, err } = await cacher([...RUN, "--json"], { result: new CacherError("not-cached", "no") });
  assert.deepEqual([code, out, JSON.parse(err)], [1, "", { error: { code: "not-cached", message: "no" } }]);
  const usage = await cacher(["run", "--json"]);
  assert.deepEqual([usage.code, JSON.parse(usage.err).error.code], [2, "invalid-argument"]);
});

test("faults that are no CacherError have a message and no stack", async () => {
  const { code, err } = await cacher(RUN, { result: new TypeError("oops"), chunks: [] });
  assert.deepEqual([code, err], [1, "cacher: oops (internal)\n"]);
});

test("Ctrl-C prints what there is and exits with 130", async () => {
  const aborted = await cacher(RUN, { interrupt: "generate", result: resultOf({ finishReason: "aborted" }) });
  assert.deepEqual([aborted.code, aborted.out], [130, " there was"]);
  assert.match(aborted.err, /stopped\n$/);
  assert.deepEqual(aborted.names, ["load", "generate", "dispose"]);
  const json = await cacher([...RUN, "--json"], { interrupt: "generate", result: resultOf({ finishReason: "aborted" }) });
  assert.deepEqual([json.code, JSON.parse(json.out).finishReason], [130, "aborted"]);
});

test("Ctrl-C while loading exits with 130 and no message", async () => {
  const { code, out, err } = await cacher(RUN, { interrupt: "load" });
  assert.deepEqual([code, out, err], [130, "", ""]);
});

for (const [args, message] of [
  [[], /a command is needed/],
  [["rnu"], /no command "rnu"; did you mean run\?/],
  [["toString"], /no command "toString"/],
  [["constructor", "--help"], /no command "constructor"/],
  [["run", "x", "--modell", "m"], /no option --modell; did you mean --model\?/],
  [["run", "x", "--constructor"], /no option --constructor/],
  [["run", "x", "--frobnicate"], /no option --frobnicate \(/],
  [["run", "x", "-q"], /no option -q/],
  [["run", "--model", "m/x"], /a prompt is needed/],
  [["run", "a", "b", "--model", "m/x"], /one prompt; put it in quotes/],
  [["run", "x"], /--model: is needed/],
  [["run", "x", "--model"], /--model: needs a value/],
  [["run", "x", "--model", "--json"], /--model: needs a value/],
  [[...RUN, "--json=yes"], /--json: takes no value/],
  [[...RUN, "--seed", "-1"], /--seed: "-1" is not a whole number/],
  [[...RUN, "--seed", "1.5"], /--seed: "1\.5" is not a whole number/],
  [[...RUN, "--max-tokens", "many"], /--max-tokens: "many" is not a number/],
  [[...RUN, "--top-p", ""], /--top-p: "" is not a number/],
  [[...RUN, "--cache", "--no-cache"], /--cache and --no-cache exclude each other/],
  [[...RUN, "--cache-ttl", "soon"], /--cache-ttl: "soon" is not a time/],
  [[...RUN, "--replay", "slow"], /--replay: "slow" is not one of instant, recorded/],
  [[...RUN, "--cache-backend", "disk"], /--cache-backend: "disk" is not one of memory, file, redis/],
  [[...RUN, "--cache-backend", "redis"], /--redis-url: is needed/],
  [[...RUN, "--cache-backend", "redis", "--redis-url", "redis://host"], /--redis-url: must be the http/],
  [[...RUN, "--cache-backend", "redis", "--redis-url", "https://me:secret@host"], /CACHER_REDIS_AUTH/],
  [[...RUN, "--redis-url", "https://host"], /--redis-url: needs --cache-backend redis/],
  [[...RUN, "--cache-backend", "memory", "--cache-dir", "x"], /--cache-dir: needs --cache-backend file/],
  [[...RUN, "--older-than", "1d"], /--older-than: is not an option of run/],
  [["cache-stats", "--seed", "1"], /--seed: is not an option of cache-stats/],
  [["cache-stats", "all"], /takes nothing but options/],
  [["cache-stats", "--cache-backend", "memory"], /ends with each process/],
  [["cache-list", "--limit", "0"], /--limit: must be a whole number, 1 or more/],
  [["cache-clear", "--model", "gpt2"], /--model: must be the SHA-256/],
  [["cache-clear", "--remote"], /--remote: needs --cache-backend redis/],
  [["cache-clear", "--cache-backend", "redis", "--redis-url", "http://host"], /add --remote/],
  [["cache-warm", "--model", "m/x"], /takes one file/],
  [["cache-warm", "nowhere.txt", "--model", "m/x"], /ENOENT/],
  [["cache-warm", "prompts.txt", "--model", "m/x", "--concurrency", "1.5"], /--concurrency: must be/],
]) {
  test(`a command line that is wrong is named and nothing begins: ${args.join(" ")}`, async () => {
    const { code, out, err, names } = await cacher(args);
    assert.deepEqual([code, out, names], [2, "", []]);
    assert.match(err, message);
    assert.doesNotMatch(err, /secret/);
  });
}

test("an option that the engine refuses is wrong usage too", async () => {
  const { code } = await cacher(RUN, { result: new CacherError("invalid-argument", "topP: must be from 0 to 1"), chunks: [] });
  assert.equal(code, 2);
});

test("every command shows its own options and nothing else, and needs nothing for it", async () => {
  for (const [command, { options }] of Object.entries(COMMANDS)) {
    const { code, out, names } = await cacher([command, "--help"]);
    assert.deepEqual([code, names], [0, []]);
    const shown = [...out.matchAll(/^ {2}(?:-\w, )?--([\w-]+)/gm)].map(([, name]) => name);
    assert.deepEqual(shown, [...options, "json", "help"], command);
    assert.match(out, /CACHER_REDIS_TOKEN/);
  }
  const { out } = await cacher(["-h"]);
  for (const command of Object.keys(COMMANDS)) assert.match(out, new RegExp(`cacher ${command}\\b`));
});

test("every option belongs to a command, and its text has no value where it is a switch", () => {
  const used = new Set(["json", "help", "version", ...Object.values(COMMANDS).flatMap(({ options }) => options)]);
  assert.deepEqual(Object.keys(OPTIONS).filter((name) => !used.has(name)), []);
  assert.deepEqual(parse(["run", "--json", "a", "-h"]), { command: "run", operands: ["a"], values: { json: true, help: true } });
});

test("the version is the package's", async () => {
  assert.deepEqual((await cacher(["--version"])).out, "1.2.3\n");
});

test("times have units, seconds where they have none", () => {
  const given = { 0: 0, 90: 90_000, "30s": 30_000, "5m": 300_000, "2h": 7_200_000, "7d": 604_800_000, "1.5h": 5_400_000, "250ms": 250 };
  for (const [text, ms] of Object.entries(given)) assert.equal(duration("x", text), ms, text);
  for (const text of ["", "-1", "1 h", "h", "1w", "1e3", "0x10", "9".repeat(20), "Infinity", "1h30m"]) {
    assert.throws(() => duration("x", text), { code: "invalid-argument" }, text);
  }
});

test("sizes and times are short, in the largest unit that fits", () => {
  const sizes = [[0, "0 B"], [999, "999 B"], [1000, "1.0 kB"], [999_949, "999.9 kB"], [999_950, "1.0 MB"], [5e15, "5000.0 TB"]];
  for (const [value, text] of sizes) assert.equal(bytes(value), text);
  const times = [[0, "0 ms"], [0.4, "0 ms"], [999, "999 ms"], [1234, "1.2 s"], [59_000, "59 s"], [90_000, "1.5 min"], [864e5 * 30, "30 d"]];
  for (const [ms, text] of times) assert.equal(time(ms), text);
});

test("text for a terminal is harmless, and cut by characters", () => {
  assert.equal(printable("a\u0000\u001b\u007f\u0085\r\n\tä😀"), "a\ufffd\ufffd\ufffd\ufffd\ufffd\n\tä😀");
  assert.equal(line(" a \n\n b\u0007 ", 10), "a b\ufffd");
  assert.equal(line("😀".repeat(5), 4), "😀😀😀…");
  assert.equal(table([["a", "b"], ["ccc", "d"]]), "a    b\nccc  d\n");
});

test("secrets for Redis come from the environment", async () => {
  const layerOf = async (env, ...args) => {
    const backend = ["--cache-backend", "redis", "--redis-url", "https://cache.example.org/", ...args];
    return (await cacher([...RUN, ...backend], { io: { env } })).of("load").cache.layers[0];
  };
  const plain = await layerOf({});
  assert.equal(plain.url.href, "https://cache.example.org/");
  assert.deepEqual({ ...plain, url: 0 }, { kind: "webdis", url: 0 });
  const token = await layerOf({ CACHER_REDIS_TOKEN: "abc", CACHER_CACHE_SECRET: "key" }, "--redis-kind", "upstash", "--redis-prefix", "team:");
  assert.deepEqual({ ...token, url: 0 }, { kind: "upstash", url: 0, headers: { authorization: "Bearer abc" }, prefix: "team:", secret: "key" });
  const login = await layerOf({ CACHER_REDIS_AUTH: "me:pässword" });
  assert.deepEqual(login.headers, { authorization: `Basic ${Buffer.from("me:pässword").toString("base64")}` });
  const both = await cacher([...RUN, "--cache-backend", "redis", "--redis-url", "http://host"], { io: { env: { CACHER_REDIS_TOKEN: "a", CACHER_REDIS_AUTH: "b:c" } } });
  assert.deepEqual([both.code, both.names], [2, []]);
});

test("memory keeps nothing behind it", async () => {
  const { of } = await cacher([...RUN, "--cache-backend", "memory"]);
  assert.deepEqual(of("load").cache, { layers: [], acrossTabs: false });
});

test("the folder is where each system keeps what can be made again", async () => {
  const folderOf = async (io, ...args) => (await cacher([...RUN, ...args], { io })).of("load").cache.layers[0].folder;
  const end = join("cacher-wasm", "answers");
  assert.equal(await folderOf({ env: { XDG_CACHE_HOME: "/var/c" } }), join("/var/c", end));
  assert.equal(await folderOf({ env: { XDG_CACHE_HOME: "relative" } }), join("/home/me/.cache", end));
  assert.equal(await folderOf({ platform: "darwin" }), join("/home/me/Library/Caches", end));
  assert.equal(await folderOf({ platform: "win32", env: { LOCALAPPDATA: "/local" } }), join("/local", end));
  assert.equal(await folderOf({ platform: "win32" }), join("/home/me/AppData/Local", end));
  assert.equal(await folderOf({}, "--cache-dir", "here"), "here");
});

test("cache-stats adds up what the entries tell, page by page", async () => {
  const entries = [
    ...Array.from({ length: 12_500 }, () => entryOf()),
    entryOf({ model: null, hits: 1, costMs: 1000, tokens: 0, bytes: 10, rawBytes: 10 }),
  ];
  const { code, out, names } = await cacher(["cache-stats", "--json"], { entries });
  assert.equal(code, 0);
  assert.equal(names.at(-1), "close");
  assert.deepEqual(JSON.parse(out), {
    ...{ backend: "file", place: "/home/me/.cache/cacher-wasm/answers", entries: 12_501, bytes: 18_750_010, rawBytes: 37_500_010 },
    ...{ hits: 25_001, savedMs: 6_251_000, savedTokens: 500_000, models: [{ model: "ef".repeat(32), entries: 12_500 }] },
    layer: { name: "webdis", health: "down", reason: "no answer" },
  });
  const forPeople = (await cacher(["cache-stats"], { entries: [entryOf()] })).out;
  assert.match(forPeople, /^answers +1$/m);
  assert.match(forPeople, /^saved +500 ms, 40 tokens$/m);
  assert.match(forPeople, /^out of order +no answer$/m);
});

test("of a server, cache-stats and cache-list have its answers looked into, and say nothing of hits", async () => {
  const redis = ["--cache-backend", "redis", "--redis-url", "http://host"];
  const { out, of } = await cacher(["cache-stats", ...redis, "--json"], { entries: [entryOf(), entryOf()] });
  assert.equal(of("entries").remote, true);
  const { entries, bytes, hits, savedMs, savedTokens } = JSON.parse(out);
  assert.deepEqual([entries, bytes, hits, savedMs, savedTokens], [2, 3000, null, null, null]);
  assert.doesNotMatch((await cacher(["cache-stats", ...redis], { entries: [entryOf()] })).out, /hits|saved/);
  const list = await cacher(["cache-list", ...redis], { entries: [entryOf()] });
  assert.equal(list.of("entries").remote, true);
  assert.match(list.out, /^cdcdcdcdcdcd {2}\d+ d {2}1\.5 kB {2}Once upon/);
});

test("cache-list shows an entry a line, and how many more there are", async () => {
  const { out, err, of } = await cacher(["cache-list", "--limit", "1", "--search", "upon"], { entries: [entryOf(), entryOf()] });
  assert.deepEqual(of("entries"), { limit: 1, remote: false, search: "upon" });
  assert.match(out, /^cdcdcdcdcdcd {2}\d+ d {2}1\.5 kB {2}2 hits {2}Once upon a \ufffd\[31mtime\n$/);
  assert.equal(err, "1 of 2 answers; more with --limit\n");
  const json = await cacher(["cache-list", "--json"], { entries: [entryOf()] });
  assert.deepEqual(JSON.parse(json.out), { total: 1, items: [entryOf()] });
  const none = await cacher(["cache-list"]);
  assert.deepEqual([none.out, none.err], ["", "no answers\n"]);
});

test("cache-clear deletes all, or what fits", async () => {
  const all = await cacher(["cache-clear", "--json"], { entries: [entryOf(), entryOf()] });
  assert.deepEqual(all.names, ["openCache", "entries", "clear", "close"]);
  assert.deepEqual([JSON.parse(all.out), all.of("clear")], [{ deleted: 2 }, { remote: false }]);

  const some = await cacher(["cache-clear", "--tag", "a", "--tag", "b", "--model", "AB".repeat(32), "--older-than", "7d"]);
  assert.deepEqual(some.names, ["openCache", "invalidate", "close"]);
  assert.deepEqual(some.of("invalidate"), { tags: ["a", "b"], model: "ab".repeat(32), olderThanMs: 604_800_000 });
  assert.equal(some.err, "3 answers deleted\n");

  const remote = await cacher(["cache-clear", "--remote", "--cache-backend", "redis", "--redis-url", "http://host", "--json"]);
  assert.deepEqual([JSON.parse(remote.out), remote.of("clear")], [{ deleted: null }, { remote: true }]);
});

test("Ctrl-C ends the commands about the cache at once, and closes it", async () => {
  const { code, out, names } = await cacher(["cache-stats"], { interrupt: "entries", hang: true });
  assert.deepEqual([code, out, names], [130, "", ["openCache", "entries", "close"]]);
});

test("cache-warm computes each line's prompt, with its own options over the common ones", async () => {
  const options = { warm: { computed: 1, present: 1, failed: 0 }, io: { errIsTerminal: true } };
  const { code, out, err, of, names } = await cacher(["cache-warm", "prompts.txt", "--model", "m/x", "--seed", "1", "--concurrency", "3", "--tag", "t"], options);
  assert.equal(code, 0);
  assert.deepEqual(of("warm"), {
    requests: [
      { prompt: "plain", options: { seed: 1, tags: ["t"] } },
      { prompt: "json", options: { seed: 2, tags: ["t"] } },
    ],
    concurrency: 3,
  });
  assert.equal(out, "");
  assert.ok(err.endsWith("\r\u001b[K1 of 2: 1 computed, 0 present, 0 failed\r\u001b[K2 prompts: 1 computed, 1 present, 0 failed\n"), JSON.stringify(err));
  assert.deepEqual(names, ["load", "warm", "dispose"]);
});

test("cache-warm fails where an answer does, and reads stdin", async () => {
  const { code, out, of } = await cacher(["cache-warm", "-", "--model", "m/x", "--json"], { warm: { computed: 0, present: 0, failed: 1 } });
  assert.deepEqual([code, JSON.parse(out)], [1, { computed: 0, present: 0, failed: 1 }]);
  assert.deepEqual(of("warm").requests, [{ prompt: "from stdin", options: {} }]);
});

test("a line of a warm-up file that is not right is named by its number", () => {
  assert.deepEqual(requestsIn(" a \n", {}), [{ prompt: " a ", options: {} }]);
  for (const wrong of ["{", "{}", '{"prompt": 1}', '{"prompt": "a", "options": []}', '{"prompt": "a", "options": null}', '{"prompt": "a", "seed": 1}']) {
    assert.throws(() => requestsIn(`fine\n${wrong}`, {}), { code: "invalid-argument", message: /line 2/ }, wrong);
  }
});

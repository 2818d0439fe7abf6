/** The command `cacher` of the installed package, with a real model and the folder of answers. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, beforeEach, describe, test } from "node:test";
import { install, MODEL, npm, textInNode } from "./lib/project.mjs";

let project;
let cacheHome;
before(async () => {
  project = await install("node-esm");
});
beforeEach(async () => {
  cacheHome = await mkdtemp(join(project, "cache-"));
});

/**
 * Runs the command to its end.
 *
 * @param {{ input?: string, onOutput?: (child) => void }} [settings] `onOutput` is called when the first of it is there
 * @returns {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string }>}
 */
async function cacher(args, { input, onOutput } = {}) {
  const cli = join(project, "node_modules", "cacher-wasm", "dist", "cli.js");
  const env = { ...process.env, XDG_CACHE_HOME: cacheHome, LOCALAPPDATA: cacheHome, HOME: cacheHome };
  const child = spawn(process.execPath, [cli, ...args], { cwd: project, env, timeout: 120_000 });
  child.stdin.on("error", () => undefined).end(input);
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => (printed[name] += text));
  }
  if (onOutput) child.stdout.once("data", () => onOutput(child));
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (...end) => resolve(end));
  });
  return { code, signal, ...printed };
}

const RUN = ["run", "Once upon a time", "--model", MODEL, "--max-tokens", "20"];
const SEEDED = [...RUN, "--seed", "7"];

/** What a command says in JSON, when it has gone well. */
async function json(...args) {
  const { code, stdout, stderr } = await cacher([...args, "--json"]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  return JSON.parse(stdout);
}

/** The files of answers, wherever they are below the cache's home. */
async function answers() {
  const files = await readdir(cacheHome, { recursive: true, withFileTypes: true });
  return files.filter((file) => file.isFile()).map((file) => join(file.parentPath ?? file.path, file.name));
}

test("npm puts the command in the path of scripts", async () => {
  const { stdout } = await npm(["exec", "--offline", "--", "cacher", "--version"], project);
  const { version } = JSON.parse(await readFile(join(project, "node_modules", "cacher-wasm", "package.json"), "utf8"));
  assert.equal(stdout.trim(), version);
});

describe("run", () => {
  test("computes once: the second process has the same text from the file", async () => {
    const first = await cacher(SEEDED);
    assert.deepEqual([first.code, first.stdout], [0, await textInNode(project)]);
    assert.match(first.stderr, /^20 tokens · [\d.]+ tokens\/s · computed · seed 7\n$/);

    const second = await cacher(SEEDED);
    assert.deepEqual([second.code, second.stdout], [0, first.stdout]);
    assert.match(second.stderr, /^20 tokens · from file, .+ old · saved .+ · seed 7\n$/);
  });

  test("keeps answers for their owner alone", { skip: process.platform === "win32" }, async () => {
    await cacher(SEEDED);
    const [file, ...more] = await answers();
    assert.deepEqual(more, []);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  });

  test("says in JSON what it made and where that came from", async () => {
    const first = await json(...SEEDED);
    const second = await json(...SEEDED);
    assert.deepEqual([first.cache.hit, second.cache.hit, second.cache.layer], [false, "exact", "file"]);
    assert.equal(second.cache.key, first.cache.key);
    assert.equal(first.tokens.length, 20);
    assert.deepEqual([first.usage.tokensEvaluated > 0, second.usage.tokensEvaluated], [true, 0]);
    const said = ({ cache, usage, ...rest }) => ({ ...rest, usage: { ...usage, tokensEvaluated: null } });
    assert.deepEqual(said(second), said(first));
  });

  test("keeps nothing that chance has made, but where it is told to", async () => {
    await cacher(RUN);
    await cacher([...SEEDED, "--no-cache"]);
    assert.deepEqual(await answers(), []);

    const first = await json(...RUN, "--cache");
    const second = await json(...RUN, "--cache");
    assert.deepEqual([second.cache.hit, second.text, second.seed], ["exact", first.text, first.seed]);
  });

  test("--no-cache does not ask the cache, --refresh computes anew, --only-cached does not compute", async () => {
    const missing = await cacher([...SEEDED, "--only-cached", "--json"]);
    assert.deepEqual([missing.code, missing.stdout, JSON.parse(missing.stderr).error.code], [1, "", "not-cached"]);

    const first = await json(...SEEDED);
    const uncached = await json(...SEEDED, "--no-cache");
    assert.deepEqual([uncached.cache.hit, uncached.cache.key, uncached.text], [false, null, first.text]);
    assert.equal((await json(...SEEDED, "--refresh")).cache.hit, false);
    assert.equal((await json(...SEEDED, "--only-cached")).cache.hit, "exact");
  });

  test("an answer is computed again after its time, and where its file is damaged", async () => {
    const { text } = await json(...SEEDED, "--cache-ttl", "1ms");
    const expired = await json(...SEEDED);
    assert.deepEqual([expired.cache.hit, expired.text], [false, text]);

    const [file] = await answers();
    const bytes = await readFile(file);
    bytes[bytes.length - 1] ^= 1;
    await writeFile(file, bytes);
    const damaged = await json(...SEEDED);
    assert.deepEqual([damaged.cache.hit, damaged.text], [false, text]);
    assert.equal((await json(...SEEDED)).cache.hit, "exact");
  });

  test("runs at the same time on one folder do not disturb each other", async () => {
    const texts = (await Promise.all([json(...SEEDED), json(...SEEDED)])).map(({ text }) => text);
    assert.equal(texts[0], texts[1]);
    assert.equal((await json(...SEEDED)).cache.hit, "exact");
  });

  test("reads the prompt from stdin, and is the same request then", async () => {
    const { text } = await json(...SEEDED);
    const { code, stdout, stderr } = await cacher(["run", "-", ...SEEDED.slice(2)], { input: "Once upon a time\n" });
    assert.deepEqual([code, stdout], [0, text]);
    assert.match(stderr, /from file/);
  });

  const LONG = ["run", "Once upon a time", "--model", MODEL, "--temperature", "0", "--max-tokens", "900"];

  test("Ctrl-C prints what is there, exits with 130, and keeps nothing", { skip: process.platform === "win32" }, async () => {
    const { code, stdout, stderr } = await cacher(LONG, { onOutput: (child) => child.kill("SIGINT") });
    assert.equal(code, 130);
    assert.notEqual(stdout, "");
    assert.match(stderr, /^\d+ tokens? · .* · stopped\n$/);
    assert.deepEqual(await answers(), []);
    const { text } = await json(...LONG);
    assert.ok(text.startsWith(stdout) && text !== stdout);
  });

  test("ends quietly when nobody reads any more", async () => {
    const { code, stderr } = await cacher(LONG, { onOutput: (child) => child.stdout.destroy() });
    assert.deepEqual([code, stderr], [0, ""]);
  });

  test("a model that is not there is an error with its code, and no stack", async () => {
    const { code, stdout, stderr } = await cacher(["run", "x", "--model", "./nowhere/model.gguf"]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^cacher: .*nowhere\/model\.gguf.* \(not-found\)\n$/);
  });

  test("an option that the engine refuses is wrong usage", async () => {
    const { code, stderr } = await cacher([...RUN, "--top-p", "2"]);
    assert.equal(code, 2);
    assert.match(stderr, /^cacher: topP.* \(invalid-option\)\n$/);
  });
});

describe("the commands about the cache", () => {
  test("stats, list and clear tell of what runs have kept", async () => {
    assert.equal((await json("cache-stats")).entries, 0);
    const { model } = await json(...SEEDED, "--tag", "story");
    await json(...SEEDED);
    await json(...RUN, "--seed", "8");

    const stats = await json("cache-stats");
    assert.deepEqual([stats.backend, stats.entries, stats.hits, stats.savedTokens], ["file", 2, 1, 20]);
    assert.deepEqual(stats.models, [{ model: model.sha256, entries: 2 }]);
    assert.ok(stats.place.startsWith(cacheHome) && stats.savedMs > 0);
    assert.deepEqual([stats.layer.name, stats.layer.entries, stats.layer.health], ["file", 2, "ok"]);

    const { items, total } = await json("cache-list", "--search", "STORY");
    assert.deepEqual([total, items[0].title, items[0].tags], [1, "Once upon a time", ["story"]]);
    assert.match((await cacher(["cache-list"])).stdout, /^[0-9a-f]{12} .* 1 hit .*Once upon a time$/m);

    assert.deepEqual(await json("cache-clear", "--older-than", "1d"), { deleted: 0 });
    assert.deepEqual(await json("cache-clear", "--model", "0".repeat(64)), { deleted: 0 });
    assert.deepEqual(await json("cache-clear", "--tag", "story"), { deleted: 1 });
    assert.equal((await json(...SEEDED)).cache.hit, false);
    assert.deepEqual(await json("cache-clear", "--model", model.sha256), { deleted: 2 });
    await json(...SEEDED);
    assert.deepEqual(await json("cache-clear"), { deleted: 1 });
    assert.deepEqual(await answers(), []);
  });

  test("warm computes what is missing, so that runs have it", async () => {
    const file = join(cacheHome, "prompts.jsonl");
    await writeFile(file, 'Once upon a time\n\n{"prompt": "The end", "options": {"seed": 9}}\n');
    const folder = ["--cache-dir", join(cacheHome, "here")];
    const warm = ["cache-warm", file, "--model", MODEL, "--max-tokens", "20", "--seed", "7", ...folder];
    assert.deepEqual(await json(...warm), { computed: 2, present: 0, failed: 0 });
    const again = await cacher(warm);
    assert.deepEqual([again.code, again.stderr], [0, "2 prompts: 0 computed, 2 present, 0 failed\n"]);
    assert.equal((await json(...SEEDED, ...folder)).cache.layer, "file");
    assert.equal((await json("run", "The end", "--model", MODEL, "--max-tokens", "20", "--seed", "9", ...folder)).cache.layer, "file");
  });

  test("warm says which lines failed by its exit code, and does the others", async () => {
    const lines = 'Once upon a time\n{"prompt": "x", "options": {"topP": 2}}\n';
    const warm = ["cache-warm", "-", "--model", MODEL, "--max-tokens", "5", "--seed", "7", "--json"];
    const { code, stdout } = await cacher(warm, { input: lines });
    assert.deepEqual([code, JSON.parse(stdout)], [1, { computed: 1, present: 0, failed: 1 }]);
  });
});

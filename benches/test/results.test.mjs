/**
 * The parts of the benchmark that need no browser: what it writes is complete,
 * and its numbers are right.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../scripts/lib/process.mjs";
import { parseArguments } from "../lib/arguments.mjs";
import { goals } from "../lib/goals.mjs";
import { Recorder, ratio } from "../lib/recorder.mjs";
import { fileNameOf, problemsOf } from "../lib/results.mjs";
import { report } from "../lib/table.mjs";
import { chooseResponseVariants, chooseStateVariants, chooseVariants } from "../lib/variants.mjs";

const cacher = { engine: "cacher", version: "1.0.0", model: "gpt2-124m", dtype: "q8", threads: 1 };
const peer = { engine: "transformers", version: "4.0.0", model: "gpt2-124m", dtype: "q8", threads: 1 };
const at = (round) => ({ case: "decode at 8", metric: "speed", unit: "tokens/s", round });

/** Two rounds, the second on a machine half as fast. */
function recorded() {
  const recorder = new Recorder();
  for (const [round, speed] of [[1, 1], [2, 0.5]]) {
    recorder.add(cacher, at(round), 180 * speed);
    recorder.add(peer, at(round), 25 * speed);
  }
  return recorder;
}

/** Figures of states, likewise. */
function recordedStates() {
  const recorder = new Recorder();
  const add = (round, testCase, metric, unit, value) => recorder.add(cacher, { case: testCase, metric, unit, round }, value);
  for (const [round, speed] of [[1, 1], [2, 0.5]]) {
    add(round, "state 20 forks of 512", "KV over the one's", "ratio", 1);
    add(round, "state 20 forks of 512", "KV over the one's, each 8 tokens on", "ratio", 2.25);
    add(round, "state restore 512", "to first token", "ms", 60 / speed);
    add(round, "state restore 512", "computing it anew", "ms", 720 / speed);
    add(round, "state restore 128", "to first token", "ms", 40 / speed);
    add(round, "state restore 128", "computing it anew", "ms", 160 / speed);
    add(round, "state restore 900", "to first token", "ms", 80 / speed);
  }
  // The same metric, of a loading.
  recorder.add(cacher, { case: "warm load", metric: "to first token", unit: "ms", round: 1 }, 500);
  return recorder;
}

/** Figures of the cache of responses, likewise. */
function recordedResponses() {
  const recorder = new Recorder();
  const none = { ...cacher, model: "none", dtype: "none" };
  const add = (variant, round, testCase, metric, unit, value) =>
    recorder.add(variant, { case: `response ${testCase}`, metric, unit, round }, value);
  for (const [round, speed] of [[1, 1], [2, 0.5]]) {
    add(none, round, "memory, 1,000 entries of 300 B", "gets that hit", "calls/s", 800_000 * speed);
    add(none, round, "memory, 10,000 entries of 300 B", "gets that hit", "calls/s", 600_000 * speed);
    add(none, round, "memory, 1,000 entries of 10,000 B", "gets that hit", "calls/s", 200_000 * speed);
    add(cacher, round, "generation of 32 tokens", "computed", "ms", 1_000 / speed);
    add(cacher, round, "generation of 32 tokens", "from memory", "ms", 0.5 / speed);
    add({ ...cacher, model: "tiny-gpt2" }, round, "generation of 32 tokens", "computed", "ms", 100 / speed);
  }
  return recorder;
}

const results = (recorder) => ({
  machine: "a machine",
  date: "2026-01-02T03:04:05.000Z",
  readGBps: 30,
  readGBpsTwoThreads: 40,
  results: recorder.summary(),
  goals: goals(recorder),
  notices: ["skipped something"],
});

test("samples become a row with median, ends and count", () => {
  const [row] = recorded().summary();
  assert.deepEqual(row, { ...cacher, case: "decode at 8", metric: "speed", unit: "tokens/s", median: 135, min: 90, max: 180, repeats: 2 });
});

test("ratios are taken within a round", () => {
  const [ours, theirs] = recorded().series;
  assert.equal(ratio(ours, theirs), 7.2);
  theirs.samples = [{ round: 3, value: 1 }];
  assert.equal(ratio(ours, theirs), undefined);
});

test("a goal says whether it was reached", () => {
  const goal = goals(recorded()).find(({ name }) => name.includes("transformers.js"));
  assert.deepEqual(goal, { name: "q8 decode at 8, over transformers.js q8, 1 thread", value: 7.2, goal: "≥ 6", reached: true });
});

test("forks that wrote nothing, and restoring, have goals", () => {
  const figures = goals(recordedStates()).map(({ name, value, goal, reached }) => [name.replace("q8, 1 thread: ", ""), value, goal, reached]);
  assert.deepEqual(figures, [
    ["20 forks of 512 tokens, KV over the one's", 1, "≤ 1.3", true],
    ["20 forks of 512 tokens, KV over the one's, each 8 tokens on", 2.25, null, null],
    ["speed of restoring 512 tokens over computing them anew", 12, "≥ 5", true],
    ["speed of restoring 128 tokens over computing them anew", 4, "≥ 5", false],
  ]);
});

test("gets of short values have a goal, and hits are told as ratios", () => {
  const figures = goals(recordedResponses()).map(({ name, value, goal, reached }) => [name, value, goal, reached]);
  assert.deepEqual(figures, [
    ["memory, 1,000 entries of 300 B: gets that hit, calls/s", 600_000, "≥ 500000", true],
    ["memory, 10,000 entries of 300 B: gets that hit, calls/s", 450_000, "≥ 500000", false],
    ["memory, 1,000 entries of 10,000 B: gets that hit, calls/s", 150_000, null, null],
    ["gpt2-124m q8, generation of 32 tokens: speed from memory over computing it", 2_000, null, null],
  ]);
});

test("responses can be measured alone, without a model where no format of it is wanted", () => {
  const models = (...args) => chooseResponseVariants(parseArguments(args)).map(({ model }) => model);
  assert.deepEqual(models(), ["none", "tiny-gpt2", "gpt2-124m"]);
  assert.deepEqual(models("--only=responses", "--quick"), ["none", "tiny-gpt2", "gpt2-124m"]);
  assert.deepEqual(models("--only=responses", "--dtype=q4"), ["none"]);
  assert.deepEqual(models("--only=states,cacher"), []);
});

test("only a whole run, or that of a whole part, is kept", () => {
  for (const [args, name] of [
    [[], "latest"],
    [["--only=responses"], "responses"],
    [["--only=states", "--no-build"], "states"],
    [["--only=states,responses"], "partial"],
    [["--only=cacher"], "partial"],
    [["--only=responses", "--quick"], "partial"],
    [["--only=responses", "--rounds=2"], "partial"],
  ]) {
    assert.equal(fileNameOf(parseArguments(args)), name, args.join(" "));
  }
});

test("states can be measured alone, and are with all else", () => {
  const engines = (options) => [...new Set(chooseVariants(options).map(({ engine }) => engine))];
  const threads = (options) => chooseStateVariants(options).map(({ dtype, threads }) => `${dtype} ${threads}`);
  for (const [args, expectedEngines, expectedStates] of [
    [["--only=states"], [], ["q8 1", "q8 2"]],
    [["--only=states,cacher", "--quick"], ["cacher"], ["q8 1"]],
    [["--only=cacher"], ["cacher"], []],
    [["--only=states", "--dtype=q4"], [], []],
  ]) {
    const options = parseArguments(args);
    assert.deepEqual([engines(options), threads(options)], [expectedEngines, expectedStates], args.join(" "));
  }
  assert.deepEqual(threads(parseArguments([])), ["q8 1", "q8 2"]);
  assert.throws(() => parseArguments(["--only=state"]), /There is no engine or part "state"/);
});

test("complete results have no problem, and each fault is named", () => {
  assert.deepEqual(problemsOf(results(recorded())), []);
  const faulty = results(recorded());
  faulty.date = "yesterday";
  faulty.results[0].median = 1e6;
  faulty.results[1] = { ...faulty.results[0], repeats: 0 };
  assert.deepEqual(problemsOf(faulty), [
    "date: no date",
    "results[0]: the median is not between the ends",
    "results[1]: the median is not between the ends",
    "results[1].repeats: no count",
    "results[1]: the same figure twice",
  ]);
  assert.deepEqual(problemsOf({ ...faulty, date: "2026-01-02", results: [] }), ["results: no rows"]);
});

test("the report has a line for each variant and what was left out", () => {
  const text = report(results(recorded()));
  assert.match(text, /\| Cacher q8, 1 thread \| 135 \|/);
  assert.match(text, /\| transformers.js q8, 1 thread \| 18.8 \|/);
  assert.match(text, /^- skipped something$/m);
  assert.doesNotMatch(text, /States/);
});

test("the report has a line for each figure of states", () => {
  const text = report(results(recordedStates()));
  assert.match(text, /\*\*States\*\*\n\n\| gpt2-124m \| Cacher q8, 1 thread \|/);
  assert.match(text, /\| 20 forks of 512: KV over the one's \| 1 \|/);
  assert.match(text, /\| restore 512: to first token, ms \| 90 \|/);
});

test("the report has a line for each figure of responses, and how far the rounds were apart", () => {
  const text = report(results(recordedResponses()));
  assert.match(text, /\| memory, 1,000 entries of 300 B: gets that hit, calls\/s \| 600,000 \| 400,000 – 800,000 \|/);
  assert.match(text, /\| gpt2-124m, generation of 32 tokens: from memory, ms \| 0.75 \| 0.5 – 1 \|/);
});

for (const name of ["latest", "states", "responses", "generation"]) {
  const path = join(root, `benches/results/${name}.json`);
  test(`the results of ${name} in the repository are complete`, { skip: !existsSync(path) }, () => {
    assert.deepEqual(problemsOf(JSON.parse(readFileSync(path, "utf8"))), []);
  });
}

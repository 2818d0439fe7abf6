/**
 * The parts of generation's benchmark that need no browser: what is compared,
 * what is told of it, and how.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments } from "../lib/arguments.mjs";
import { BEAMS_METRIC, SECTIONS, caseOf, figuresOf, groups, readCase } from "../lib/generation-cases.mjs";
import { generationTables } from "../lib/generation-table.mjs";
import { goals } from "../lib/goals.mjs";
import { Recorder } from "../lib/recorder.mjs";
import { fileNameOf } from "../lib/results.mjs";
import { report } from "../lib/table.mjs";
import { chooseGenerationVariants, chooseVariants } from "../lib/variants.mjs";

const gpt2 = { engine: "cacher", version: "1.0.0", model: "gpt2-124m", dtype: "q8", threads: 1 };
const tiny = { ...gpt2, model: "tiny-gpt2" };

/** Three rounds of a model that takes `ms` for a token, of which every option takes a tenth more. */
function recorded(variants = [[gpt2, 6], [tiny, 1]]) {
  const recorder = new Recorder();
  for (const [variant, ms] of variants) {
    for (const [round, slow] of [[1, 1], [2, 3], [3, 1.2]]) {
      const record = ({ value, ...at }) => recorder.add(variant, { ...at, round }, value);
      for (const group of groups()) {
        record({ case: caseOf("base", group.base.name), metric: "time", unit: "ms/token", value: ms * slow });
        for (const each of group.cases) {
          const ratio = group.how === "beams" ? each.options.numBeams / 2 : 1.1;
          const measured = { ms: ms * slow * ratio, extraMs: ms * slow * (ratio - 1), ratio };
          figuresOf(group, each, measured).forEach(record);
        }
      }
    }
  }
  return recorder;
}

test("a figure of a round is told once, in a section of the report", () => {
  const seen = new Set();
  for (const group of groups()) {
    for (const each of group.cases) {
      for (const { case: testCase, metric, unit, value } of figuresOf(group, each, { ms: 2, extraMs: 1, ratio: 2 })) {
        const key = `${testCase} / ${metric}`;
        assert.ok(!seen.has(key), `${key} twice`);
        seen.add(key);
        assert.ok(Object.hasOwn(SECTIONS, readCase(testCase).section), testCase);
        assert.ok(Number.isFinite(value) && unit !== "", key);
      }
    }
  }
  const bases = groups().map(({ base }) => base.name);
  assert.equal(new Set(bases).size, bases.length);
});

test("what is compared can be told to a page as JSON, and begins alike each time but for its texts", () => {
  const names = () => groups().map(({ base, cases }) => [base.name, ...cases.map(({ name }) => name)]);
  assert.deepEqual(names(), names());
  for (const { base, cases } of groups()) {
    for (const each of [base, ...cases]) assert.deepEqual(JSON.parse(JSON.stringify(each)), each);
  }
});

test("a difference is told in microseconds a token, and a batch as speed over one", () => {
  const measured = { ms: 3, extraMs: 0.5, ratio: 1.2 };
  const group = (metrics) => ({ section: "option", metrics });
  assert.deepEqual(figuresOf(group({ extra: "over greedy", ratio: "over greedy, ratio" }), { name: "minP" }, measured), [
    { case: "generate option: minP", metric: "over greedy", unit: "µs/token", value: 500 },
    { case: "generate option: minP", metric: "over greedy, ratio", unit: "ratio", value: 1.2 },
  ]);
  assert.deepEqual(figuresOf(group({ later: "first token later by", time: "a step" }), { name: "regex" }, measured), [
    { case: "generate option: regex", metric: "first token later by", unit: "ms", value: 0.5 },
    { case: "generate option: regex", metric: "a step", unit: "ms", value: 3 },
  ]);
  const [{ value }] = figuresOf(group({ speed: "speed" }), { name: "4", count: 4 }, { ratio: 2 });
  assert.equal(value, 2);
});

test("a case's name is read as it is made, and other parts' are not", () => {
  assert.deepEqual(readCase(caseOf("option", "badWords: 100")), { section: "option", name: "badWords: 100" });
  assert.equal(readCase("state fork"), undefined);
  assert.equal(readCase("response generation of 32 tokens"), undefined);
});

test("five beams of the large model have a goal", () => {
  assert.deepEqual(goals(recorded()), [
    { name: "gpt2-124m q8: a step of five beams over one of one", value: 2.5, goal: "≤ 2.2", reached: false },
    { name: "tiny-gpt2 q8: a step of five beams over one of one", value: 2.5, goal: null, reached: null },
  ]);
  const recorder = new Recorder();
  recorder.add(gpt2, { case: caseOf("beams", "5"), metric: BEAMS_METRIC, unit: "ratio", round: 1 }, 1.9);
  assert.equal(goals(recorder)[0].reached, true);
});

test("each section has a table with a row for each case and columns for each model", () => {
  const tables = generationTables(recorded().summary());
  assert.deepEqual(tables.map(({ title }) => title), Object.values(SECTIONS).map((title) => `Generation: ${title}`));
  const [base, options, beams] = tables.map(({ text }) => text.split("\n"));
  assert.equal(base[0], "|  | gpt2-124m: time | tiny-gpt2: time |");
  assert.equal(base[2], "| greedy | 7.2 ms | 1.2 ms |");
  const titles = (model) => [
    ...[`${model}: over greedy, µs/token`, `${model}: over greedy`],
    ...[`${model}: over sampling, µs/token`, `${model}: over sampling`],
  ];
  assert.equal(options[0], `|  | ${[...titles("gpt2-124m"), ...titles("tiny-gpt2")].join(" | ")} |`);
  assert.ok(options.includes("| logprobs 8 | 720 | 1.10 × | 720 | 1.10 × | 120 | 1.10 × | 120 | 1.10 × |"));
  // What is about drawing alone has nothing to say of greedy texts.
  assert.ok(options.includes("| topP 0.9 |  |  | 720 | 1.10 × |  |  | 120 | 1.10 × |"));
  assert.ok(beams.includes("| 8 | 28.8 ms | 4.00 × | 4.8 ms | 4.00 × |"));
});

test("the report has the sections, and without figures none", () => {
  const results = (recorder) => ({
    ...{ machine: "a machine", date: "2026-01-02T03:04:05.000Z", readGBps: 30, readGBpsTwoThreads: 40 },
    ...{ results: recorder.summary(), goals: goals(recorder), notices: [] },
  });
  assert.match(report(results(recorded())), /\*\*Generation: Constraints\*\*\n\n\|  \| gpt2-124m: new, over free/);
  const recorder = new Recorder();
  recorder.add(gpt2, { case: "state fork", metric: "time", unit: "ms", round: 1 }, 1);
  assert.doesNotMatch(report(results(recorder)), /Generation/);
});

test("generation can be measured alone, and is with all else", () => {
  const models = (...args) => chooseGenerationVariants(parseArguments(args)).map(({ model }) => model);
  assert.deepEqual(models(), ["tiny-gpt2", "gpt2-124m"]);
  assert.deepEqual(models("--only=generation", "--quick"), ["tiny-gpt2", "gpt2-124m"]);
  assert.deepEqual(models("--only=generation", "--dtype=q4"), []);
  assert.deepEqual(models("--only=states"), []);
  assert.deepEqual(chooseVariants(parseArguments(["--only=generation"])), []);
  assert.equal(fileNameOf(parseArguments(["--only=generation"])), "generation");
  assert.equal(fileNameOf(parseArguments(["--only=generation", "--rounds=2"])), "partial");
});

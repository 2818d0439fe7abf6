/**
 * The parts of analysis' benchmark that need no browser: what is measured, and
 * how it is told.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments } from "../lib/arguments.mjs";
import { Recorder } from "../lib/recorder.mjs";
import { fileNameOf } from "../lib/results.mjs";
import { report } from "../lib/table.mjs";
import { chooseAnalysisVariants, chooseGenerationVariants, chooseVariants } from "../lib/variants.mjs";

test("the part can be measured alone, and then has a file of its own", () => {
  const options = parseArguments(["--only=analysis"]);
  assert.deepEqual(chooseAnalysisVariants(options).map(({ model, dtype }) => [model, dtype]), [["tiny-gpt2", "q8"], ["gpt2-124m", "q8"]]);
  assert.deepEqual([chooseVariants(options), chooseGenerationVariants(options)], [[], []]);
  assert.equal(fileNameOf(options), "analysis");
  assert.equal(fileNameOf({ ...options, quick: true }), "partial");
});

test("every figure is a row of the report, beside each other for the models", () => {
  const recorder = new Recorder();
  for (const [variant, value] of chooseAnalysisVariants({}).map((variant, index) => [variant, 3 + index])) {
    recorder.add(variant, { case: "analysis all attention of 256", metric: "time", unit: "ms", round: 1 }, value);
  }
  const text = report({ machine: "A", date: "2026-01-01", readGBps: 1, readGBpsTwoThreads: 2, results: recorder.summary(), goals: [], notices: [] });
  assert.match(text, /\*\*Analysis\*\*\n\n\| Cacher \| Cacher q8, 1 thread, tiny-gpt2 \| Cacher q8, 1 thread \|\n\|.*\n\| all attention of 256: time, ms \| 3 \| 4 \|/);
});

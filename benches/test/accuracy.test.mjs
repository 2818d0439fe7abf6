/**
 * The arithmetic of the accuracy figures, on scores small enough to work out
 * by hand.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { goals, table } from "../accuracy/report.mjs";
import {
  argmax,
  commonLength,
  compareTexts,
  Comparison,
  logSumExp,
  mean,
  median,
  Reference,
  standardError,
} from "../accuracy/statistics.mjs";

const close = (actual, expected) => assert.ok(Math.abs(actual - expected) < 1e-12, `${actual}, expected ${expected}`);
const logs = (...probabilities) => probabilities.map(Math.log);

test("the median of an even number of values lies between the middle two", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([10, 1, 9, 2]), 5.5);
});

test("the standard error is the sample's deviation over the root of its size", () => {
  close(mean([1, 2, 3, 4]), 2.5);
  close(standardError([1, 2, 3, 4]), Math.sqrt(5 / 3 / 4));
  assert.equal(standardError([7, 7, 7]), 0);
});

test("the first of equal scores is the most probable token", () => assert.equal(argmax([1, 3, 3, 2]), 1));

test("logits of any size have a finite sum", () => {
  close(logSumExp([0, 0, 0, 0]), Math.log(4));
  close(logSumExp([1000, 1000]), 1000 + Math.log(2));
  close(logSumExp([-1000, -1000]), -1000 + Math.log(2));
});

test("the divergence is that of the probabilities, whatever the logits' offset", () => {
  const reference = new Reference(logs(0.5, 0.25, 0.25));
  const expected = 0.5 * Math.log(0.5 / 0.2) + 0.25 * Math.log(0.25 / 0.4) + 0.25 * Math.log(0.25 / 0.4);
  close(reference.divergence(logs(0.2, 0.4, 0.4)), expected);
  close(reference.divergence(logs(2, 4, 4)), expected);
  close(reference.divergence(logs(0.5, 0.25, 0.25)), 0);
});

test("a format with the reference's own scores is without any difference", () => {
  const comparison = new Comparison();
  for (let token = 0; token < 64; token++) comparison.add(new Reference([1, 2, 3]), [1, 2, 3], token % 3);
  const { perplexityRatio, standardError, sameFirstChoice, klPerToken } = comparison.summary();
  assert.deepEqual({ perplexityRatio, standardError, sameFirstChoice }, { perplexityRatio: 1, standardError: 0, sameFirstChoice: 1 });
  close(klPerToken, 0);
});

test("the perplexity ratio is that of the texts' probabilities, its error from blocks of neighbours", () => {
  const comparison = new Comparison();
  const reference = new Reference(logs(0.5, 0.5));
  // Half as probable in one block of 32, as probable in the other.
  for (let token = 0; token < 64; token++) comparison.add(reference, token < 32 ? logs(0.25, 0.75) : logs(0.5, 0.5), 0);
  const figures = comparison.summary();
  assert.equal(figures.tokens, 64);
  close(figures.referencePerplexity, 2);
  close(figures.perplexityRatio, Math.sqrt(2));
  close(figures.standardError, Math.sqrt(2) * standardError([Math.log(2), 0]));
  assert.equal(figures.sameFirstChoice, 0.5);
  close(figures.klPerToken, 0.25 * Math.log(2) + 0.25 * Math.log(2 / 3));
});

test("texts are compared up to the first token that differs", () => {
  assert.equal(commonLength([1, 2, 3], [1, 2, 4]), 2);
  assert.equal(commonLength([1, 2], [1, 2, 4]), 2);
  const references = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]];
  const texts = [[1, 2, 3, 4], [0, 2, 3, 4], [1, 2, 0, 4]];
  assert.deepEqual(compareTexts(texts, references), { texts: 3, length: 4, medianCommon: 2, neverDiffering: 1 / 3 });
});

const format = (dtype, perplexityRatio, bytesPerWeight) => ({
  ...{ dtype, perplexityRatio, bytesPerWeight, standardError: 0.001, sameFirstChoice: 0.97, klPerToken: 0.0019 },
  greedy: { texts: 16, length: 64, medianCommon: 20.5, neverDiffering: 0.25 },
});
const model = { model: "a model", formats: [format("q8", 1.0025, 1.1), format("q5", 1.06, 0.73)] };

test("a goal is reached where the figure is not above it by more than its error", () => {
  assert.deepEqual(goals(model).map(({ dtype, figure, reached }) => [dtype, figure, reached]), [
    ["q8", "perplexityRatio", true],
    ["q5", "perplexityRatio", false],
    ["q5", "bytesPerWeight", true],
  ]);
});

test("the table has a line for each format of each model", () => {
  const lines = table([model]).split("\n");
  assert.equal(lines.length, 4);
  assert.equal(lines[2], "| a model | q8 | 1.10 | 1.0025 ± 0.0010 | 97.0 % | 0.0019 | 20.5 of 64 | 4 of 16 |");
});

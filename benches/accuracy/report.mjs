/**
 * The accuracy figures as a table for documents, and as data.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** What tiny-gpt2 must reach: q8 is the default, q5 the small format that is still good. */
const GOALS = [
  { dtype: "q8", figure: "perplexityRatio", most: 1.002 },
  { dtype: "q5", figure: "perplexityRatio", most: 1.05 },
  { dtype: "q5", figure: "bytesPerWeight", most: 0.75 },
];

/** Each goal, and whether a model's figures keep to it; a figure with an error may be above by that. */
export function goals({ formats }) {
  return GOALS.map(({ dtype, figure, most }) => {
    const row = formats.find((format) => format.dtype === dtype);
    const tolerance = figure === "perplexityRatio" ? row.standardError : 0;
    return { dtype, figure, value: row[figure], most, reached: row[figure] <= most + tolerance };
  });
}

const HEAD = [
  ...["model", "format", "bytes a weight", "perplexity, over f32's", "same most probable token"],
  ...["KL divergence, nats a token", "greedy text equal for, tokens", "equal to its end"],
];

const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** A line for each format of each model. */
export function table(models) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const rows = models.flatMap(({ model, formats }) =>
    formats.map((format) => [
      ...[model, format.dtype, format.bytesPerWeight.toFixed(2)],
      `${format.perplexityRatio.toFixed(4)} ± ${format.standardError.toFixed(4)}`,
      ...[percent(format.sameFirstChoice), format.klPerToken.toPrecision(2)],
      `${format.greedy.medianCommon} of ${format.greedy.length}`,
      `${Math.round(format.greedy.neverDiffering * format.greedy.texts)} of ${format.greedy.texts}`,
    ]),
  );
  return [line(HEAD), line(HEAD.map(() => "---")), ...rows.map(line)].join("\n");
}

/** What f32 itself makes of the text, model by model. */
export function references(models) {
  return models
    .map(({ model, tokens, referencePerplexity }) => `${model}: perplexity ${referencePerplexity.toPrecision(4)} in f32, ${tokens} tokens.`)
    .join("\n");
}

/** Six digits, which is all that can be the same with every mathematics library. */
const rounded = (_, value) => (typeof value === "number" ? Number(value.toPrecision(6)) : value);

export function writeFigures(path, figures) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(figures, rounded, 1)}\n`);
}

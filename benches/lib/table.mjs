/**
 * The results as tables for a README.
 */
import { generationTables } from "./generation-table.mjs";
import { markdown, round } from "./markdown.mjs";
import { ENGINES, GPT2, NONE, TINY, nameOf } from "./variants.mjs";

const COLUMNS = {
  speed: [
    ["prefill 128", "prefill 128", "speed"],
    ["prefill 512", "prefill 512", "speed"],
    ["decode at 8", "decode at 8", "speed"],
    ["at 128", "decode at 128", "speed"],
    ["at 512", "decode at 512", "speed"],
    ["at 900", "decode at 900", "speed"],
    ["of read speed", "decode at 8", "share of read speed"],
  ],
  loads: [
    ["first load, ms", "cold load", "to first token"],
    ["from storage, ms", "warm load", "to first token"],
    ["peak memory, first load, MB", "cold load", "peak memory"],
    ["from storage", "warm load", "peak memory"],
    ["of it wasm memory", "warm load", "wasm memory"],
  ],
  more: [
    ["two at once, tokens/s of both", "batch of 2", "speed of all"],
    ["batch of 5, tokens/s of all", "batch of 5", "speed of all"],
    ["its cost over one", "batch of 5", "cost over one"],
    ["sampling, ms/token over greedy", "sampling", "over greedy"],
    ["tokenizer, tokens/s", "tokenizer", "speed"],
  ],
};

const TITLES = {
  speed: "Tokens a second",
  loads: "From the page's start to the first token, and memory of its process",
  more: "More",
};

/** A row for each variant, a column for each figure; empty ones are left out. */
function table(rows, model, columns) {
  const variants = new Map();
  for (const row of rows) if (row.model === model) variants.set(nameOf(row), row);
  const value = (variant, [, testCase, metric]) =>
    rows.find((row) => row.model === model && nameOf(row) === variant && row.case === testCase && row.metric === metric);
  const used = columns.filter((column) => [...variants.keys()].some((variant) => value(variant, column)));
  if (used.length === 0) return undefined;
  const lines = [...variants.keys()].map((variant) => [
    variant,
    ...used.map((column) => round(value(variant, column)?.median)),
  ]);
  return markdown([model, ...used.map(([title]) => title)], lines.filter((line) => line.slice(1).some((cell) => cell !== "")));
}

/** A row for each figure of the cases that begin with `prefix`, a column for each variant. */
function figuresTable(rows, prefix, corner) {
  const figures = new Map();
  const variants = new Set();
  for (const { case: testCase, metric, unit, median, ...row } of rows) {
    if (!testCase.startsWith(prefix)) continue;
    const title = `${testCase.slice(prefix.length)}: ${metric}${unit === "ratio" ? "" : `, ${unit}`}`;
    if (!figures.has(title)) figures.set(title, new Map());
    figures.get(title).set(nameOf(row), round(median));
    variants.add(nameOf(row));
  }
  if (figures.size === 0) return undefined;
  const cells = (values) => [...variants].map((variant) => values.get(variant) ?? "");
  return markdown([corner, ...variants], [...figures].map(([title, values]) => [title, ...cells(values)]));
}

/** A row for each figure of the cache of responses, with how far the rounds were apart. */
function responsesTable(rows) {
  const prefix = "response ";
  const lines = rows
    .filter((row) => row.case.startsWith(prefix))
    .map(({ case: testCase, metric, unit, median, min, max, model }) => {
      const where = model === NONE ? "" : `${model}, `;
      const title = `${where}${testCase.slice(prefix.length)}: ${metric}${unit === "ratio" ? "" : `, ${unit}`}`;
      return [title, round(median), `${round(min)} – ${round(max)}`];
    });
  return lines.length === 0 ? undefined : markdown(["Cacher", "median", "rounds"], lines);
}

/** The whole report. */
export function report({ machine, date, readGBps, readGBpsTwoThreads, results, goals, notices }) {
  const versions = new Map(results.map(({ engine, version }) => [ENGINES[engine].label, version]));
  const lines = [
    `Measured on ${date.slice(0, 10)}: ${machine}.`,
    `${[...versions].map(([name, version]) => `${name} ${version}`).join(", ")}; medians.`,
    `Memory reads: ${round(readGBps)} GB/s with one thread, ${round(readGBpsTwoThreads)} GB/s with two.`,
    "",
  ];
  for (const model of [GPT2, TINY]) {
    for (const [name, columns] of Object.entries(COLUMNS)) {
      const text = table(results, model, columns);
      if (text !== undefined) lines.push(`**${TITLES[name]}**`, "", text, "");
    }
  }
  const states = figuresTable(results, "state ", GPT2);
  if (states !== undefined) lines.push("**States**", "", states, "");
  const responses = responsesTable(results);
  if (responses !== undefined) lines.push("**Cache of responses**", "", responses, "");
  for (const { title, text } of generationTables(results)) lines.push(`**${title}**`, "", text, "");
  const analysis = figuresTable(results, "analysis ", "Cacher");
  if (analysis !== undefined) lines.push("**Analysis**", "", analysis, "");
  if (goals.length > 0) {
    const reached = { true: "reached", false: "not reached", null: "" };
    const rows = goals.map(({ name, value, goal, reached: is }) => [name, `${round(value)}`, goal ?? "", reached[is]]);
    lines.push("**Goals, and ratios round by round**", "", markdown(["figure", "measured", "goal", ""], rows), "");
  }
  if (notices.length > 0) lines.push("**Left out**", "", ...notices.map((text) => `- ${text}`), "");
  return lines.join("\n");
}

/**
 * What generation costs, as tables: one a section, with a row for each case and
 * columns for each model's figures.
 */
import { SECTIONS, readCase } from "./generation-cases.mjs";
import { markdown, round } from "./markdown.mjs";

/** Microseconds are whole ones: the noise is larger. Ratios have two digits behind the point. */
function cell(row) {
  if (row === undefined) return "";
  if (row.unit === "µs/token") return Math.round(row.median).toLocaleString("en-GB");
  if (row.unit === "ratio") return `${row.median.toFixed(2)} ×`;
  return `${round(row.median)} ms`;
}

function sectionTable(rows) {
  const names = [...new Set(rows.map(({ name }) => name))];
  const columns = new Map();
  for (const { model, metric, unit } of rows) columns.set(JSON.stringify([model, metric]), { model, metric, unit });
  // Models side by side, each with its figures in the order of the first.
  const models = [...new Set(rows.map(({ model }) => model))];
  const sorted = models.flatMap((model) => [...columns.values()].filter((column) => column.model === model));
  const title = ({ model, metric, unit }) => `${model}: ${metric.replace(", ratio", "")}${unit === "µs/token" ? ", µs/token" : ""}`;
  const value = (name, { model, metric }) => rows.find((row) => row.name === name && row.model === model && row.metric === metric);
  return markdown(["", ...sorted.map(title)], names.map((name) => [name, ...sorted.map((column) => cell(value(name, column)))]));
}

/** `{ title, text }` of every section that there are figures of. */
export function generationTables(results) {
  const all = results.flatMap((row) => {
    const found = readCase(row.case);
    return found === undefined ? [] : [{ ...row, ...found }];
  });
  return Object.entries(SECTIONS).flatMap(([section, title]) => {
    const rows = all.filter((row) => row.section === section);
    return rows.length === 0 ? [] : [{ title: `Generation: ${title}`, text: sectionTable(rows) }];
  });
}

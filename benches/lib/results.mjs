/**
 * The results as data, with a check that they are what readers of the file
 * expect.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname } from "node:path";
import { PARTS } from "./variants.mjs";

/** What was measured on: "AMD EPYC, 2 cores, 25 GB, linux x64, Chromium 150.0.1.2". */
export function describeMachine(chromium) {
  const list = cpus();
  const model = list[0]?.model.trim() ?? "unknown processor";
  const memory = `${Math.round(totalmem() / 1e9)} GB`;
  return `${model}, ${list.length} cores, ${memory}, ${process.platform} ${process.arch}, Chromium ${chromium}`;
}

const TEXTS = ["engine", "version", "model", "dtype", "case", "metric", "unit"];
const NUMBERS = ["median", "min", "max"];

/** What is wrong with results, one line each. */
export function problemsOf(results) {
  const problems = [];
  const check = (ok, text) => ok || problems.push(text);
  check(typeof results.machine === "string" && results.machine !== "", "machine: no text");
  check(!Number.isNaN(Date.parse(results.date)), "date: no date");
  check(Number.isFinite(results.readGBps) && results.readGBps > 0, "readGBps: no number above 0");
  if (!Array.isArray(results.results) || results.results.length === 0) return [...problems, "results: no rows"];
  const seen = new Set();
  results.results.forEach((row, index) => {
    const where = `results[${index}]`;
    for (const name of TEXTS) check(typeof row[name] === "string" && row[name] !== "", `${where}.${name}: no text`);
    for (const name of NUMBERS) check(Number.isFinite(row[name]), `${where}.${name}: no number`);
    check(row.min <= row.median && row.median <= row.max, `${where}: the median is not between the ends`);
    check(Number.isInteger(row.threads) && row.threads > 0, `${where}.threads: no count`);
    check(Number.isInteger(row.repeats) && row.repeats > 0, `${where}.repeats: no count`);
    const key = JSON.stringify([row.engine, row.model, row.dtype, row.threads, row.case, row.metric]);
    check(!seen.has(key), `${where}: the same figure twice`);
    seen.add(key);
  });
  return problems;
}

/** What some of the engines, formats or rounds gave must not pass for the whole, or for a whole part. */
export function fileNameOf({ quick, only, dtypes, rounds, noLoads }) {
  if (quick || noLoads || dtypes !== undefined || rounds !== undefined) return "partial";
  if (only === undefined) return "latest";
  return only.length === 1 && PARTS.includes(only[0]) ? only[0] : "partial";
}

/** Checks and writes the results. */
export function writeResults(path, results) {
  const problems = problemsOf(results);
  if (problems.length > 0) throw new Error(`The results are not as they should be:\n${problems.join("\n")}`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, null, 1)}\n`);
}

/**
 * Numbers and texts as people read them on a terminal.
 */

import type { CacheLabel } from "../cache/types.js";
import type { GenerationResult } from "../types.js";

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let scaled = value / 1000;
  let unit = 0;
  // 999.95 would be written as 1000.0.
  while (scaled >= 999.95 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${scaled.toFixed(1)} ${units[unit]}`;
}

/** In the largest unit that gives at least one. */
export function time(ms: number): string {
  const units = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "min"],
    [1000, "s"],
  ] as const;
  const [size, unit] = units.find(([size]) => ms >= size) ?? [1, "ms"];
  const value = ms / size;
  return `${value < 10 && size > 1 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** `one` or `many`, by the number before it. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${value} ${value === 1 ? one : many}`;
}

/**
 * For a terminal: without the control characters that could move its cursor,
 * rename its window or worse. Answers come from others where a cache is shared.
 */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd");
}

/** On one line. */
export function line(text: string, length: number): string {
  const characters = [...printable(text.replace(/\s+/g, " ")).trim()];
  return characters.length <= length ? characters.join("") : `${characters.slice(0, length - 1).join("")}…`;
}

/** Columns as wide as their widest cell, the last one as it is. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) => row.map((cell, column) => (column < row.length - 1 ? cell.padEnd(widths[column] as number) : cell)).join("  "))
    .map((text) => `${text}\n`)
    .join("");
}

/** What a generation made, and where it came from. */
export function summary(result: GenerationResult & { cache: CacheLabel }): string {
  const { cache, finishReason, seed, timings, usage } = result;
  const parts = [plural(usage.completionTokens, "token")];
  if (cache.hit === false) {
    parts.push(`${timings.tokensPerSecond.toFixed(1)} tokens/s`, cache.key === null ? "computed, cache not used" : "computed");
  } else {
    parts.push(`from ${cache.layer ?? "the cache"}${cache.hit === "exact" ? "" : ` (${cache.hit})`}, ${time(cache.ageMs)} old`);
    parts.push(`saved ${time(cache.savedMs)}`);
  }
  parts.push(`seed ${seed}`);
  if (finishReason === "aborted") parts.push("stopped");
  return parts.join(" · ");
}

/** JSON has no integers above 2^53-1: those become text. Nor does it escape all that moves a terminal's cursor. */
export function json(value: unknown): string {
  const text = JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? each.toString() : each));
  return `${text.replace(/[\u007f-\u009f]/g, (each) => `\\u00${each.charCodeAt(0).toString(16)}`)}\n`;
}

/** States, revisions and what happened to them, as people read them. */

import { formatCount } from "../words.ts";
import type { Change, HistoryEntry, JsonValue, StateInfo, StateOperation } from "cacher-wasm";

/** The letter marks a revision where there is no room for the word. */
export const operations: Readonly<Record<StateOperation, { letter: string; word: string }>> = {
  create: { letter: "C", word: "Created" },
  append: { letter: "A", word: "Appended" },
  generate: { letter: "G", word: "Generated" },
  truncate: { letter: "T", word: "Cut" },
  update: { letter: "S", word: "Changed" },
  rollback: { letter: "R", word: "Rolled back" },
  merge: { letter: "M", word: "Merged" },
  import: { letter: "I", word: "Imported" },
  recover: { letter: "V", word: "Recovered" },
};

export function tokenCount(tokens: number): string {
  return `${formatCount(tokens)} ${tokens === 1 ? "token" : "tokens"}`;
}

/** A text in one line. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** What to call a state: its name, or how its text begins. */
export function stateName({ name, preview }: Pick<StateInfo, "name" | "preview">): string {
  return name || oneLine(preview) || "Empty text";
}

/** Enough of a revision's id to tell it from the others in sight. */
export function shortId(revision: string): string {
  return revision.slice(0, 7);
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const AGES: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];

export function age(then: number, now: number): string {
  const [unit, length] = AGES.find(([, length]) => now - then >= length) ?? [];
  return unit && length ? relative.format(-Math.floor((now - then) / length), unit) : "just now";
}

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

export function timeOf(then: number): string {
  return moment.format(then);
}

export function describeChange({ key, a, b }: Change): string {
  return `${key}: ${settingValue(a)} → ${settingValue(b)}`;
}

/** A setting's value; absent means that the engine's own default holds. */
export function settingValue(value: JsonValue | bigint): string {
  if (value === null) return "default";
  return typeof value === "string" || typeof value === "bigint" ? String(value) : JSON.stringify(value);
}

/** How many tokens came and went. */
export function describeTokens({ tokensAdded, tokensRemoved }: Pick<HistoryEntry, "tokensAdded" | "tokensRemoved">): string {
  const parts = [tokensAdded > 0 ? `+${formatCount(tokensAdded)}` : "", tokensRemoved > 0 ? `−${formatCount(tokensRemoved)}` : ""];
  const shown = parts.filter((part) => part !== "").join(" ");
  return shown === "" ? "no tokens" : `${shown} tokens`;
}

/** What of a text the model had to read again; the rest came out of the cache. */
export interface Work {
  /** Tokens the model was run for. */
  computed: number;
  /** Tokens of the text. */
  of: number;
}

export function describeWork({ computed, of }: Work): string {
  const how = computed < of ? "Restored" : "Read in full";
  return `${how}: ${formatCount(computed)} of ${tokenCount(of)} computed.`;
}

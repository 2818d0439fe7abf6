/**
 * What the visitor set, kept from visit to visit in localStorage and passed
 * on in links. Both are read as foreign input: a value that does not fit its
 * range is replaced by the default, one by one.
 */

import type { Dtype, EngineOptions } from "cacher-wasm";
import { CacheSettings } from "./cache/cache-settings.svelte.ts";
import { modelChoices, namedModel, type ModelChoice } from "./models.ts";
import { numberFormats } from "./number-formats.ts";

export interface Range {
  min: number;
  max: number;
  step: number;
  initial: number;
}

/** Initial values suit small models: somewhat cool, and wary of repetition. */
export const ranges = {
  temperature: { min: 0, max: 2, step: 0.05, initial: 0.7 },
  topK: { min: 0, max: 1000, step: 1, initial: 50 },
  topP: { min: 0.05, max: 1, step: 0.01, initial: 0.9 },
  minP: { min: 0, max: 0.5, step: 0.01, initial: 0 },
  repetitionPenalty: { min: 1, max: 2, step: 0.01, initial: 1.1 },
  maxTokens: { min: 1, max: 1024, step: 1, initial: 128 },
} as const satisfies Record<string, Range>;

type NumberName = keyof typeof ranges;
const numberNames = Object.keys(ranges) as NumberName[];
const LARGEST_SEED = 2n ** 64n - 1n;
const LONGEST_TEXT = 10_000;
const STORAGE_KEY = "cacher-demo-settings";

export class Settings {
  temperature = $state(ranges.temperature.initial as number);
  topK = $state(ranges.topK.initial as number);
  topP = $state(ranges.topP.initial as number);
  minP = $state(ranges.minP.initial as number);
  repetitionPenalty = $state(ranges.repetitionPenalty.initial as number);
  maxTokens = $state(ranges.maxTokens.initial as number);
  /** Stop strings as typed: one a line, with `\n`, `\t` and `\\`. */
  stop = $state("");
  /** As typed; empty asks for a fresh seed each time. */
  seed = $state("");
  model = $state<ModelChoice>(modelChoices[0]!);
  dtype = $state<Dtype>(numberFormats[0].id);
  /** Address of the visitor's own model. */
  url = $state("");
  /** Of the response cache; kept apart, and not part of links. */
  readonly cache = new CacheSettings();

  /** What was kept from the last visit, and over it what the link says. */
  static restore(): Settings {
    const settings = new Settings();
    settings.cache.restore();
    try {
      settings.#take(JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}"));
    } catch {
      // Storage is forbidden or its content is damaged: the defaults serve.
    }
    const link = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    // A link must not choose where this page downloads from.
    delete link.url;
    if (link.model !== undefined && !namedModel(link.model)) delete link.model;
    settings.#take(link);
    return settings;
  }

  save(): void {
    this.cache.save();
    const { stop, seed, model, dtype, url } = this;
    const content = JSON.stringify({ ...this.#numbers(), stop, seed, model, dtype, url });
    try {
      localStorage.setItem(STORAGE_KEY, content);
    } catch {
      // Storage is forbidden or full: the settings last until the page closes.
    }
  }

  /** A link to this page with these settings; never with the text. */
  link(): string {
    const fields: Record<string, string> = { seed: this.seed, stop: this.stop, dtype: this.dtype };
    if (namedModel(this.model)) fields.model = this.model;
    for (const [name, value] of Object.entries(this.#numbers())) fields[name] = String(value);
    const url = new URL(location.href);
    url.hash = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== "")).toString();
    return url.href;
  }

  /** Takes over the settings that a text was written with; seed and model stay. */
  adopt({ stop, ...config }: EngineOptions): void {
    this.#take({ ...config, seed: undefined, ...(stop === undefined ? {} : { stop: stopLines([stop].flat()) }) });
  }

  reset(): void {
    for (const name of numberNames) this[name] = ranges[name].initial;
    this.stop = "";
    this.seed = "";
  }

  /** Empty where the seed can be used, else what is wrong with it. */
  get seedProblem(): string {
    const text = this.seed.trim();
    if (text === "") return "";
    return /^\d{1,20}$/.test(text) && BigInt(text) <= LARGEST_SEED ? "" : "A seed is a whole number from 0 to 18446744073709551615.";
  }

  toOptions(): EngineOptions {
    if (this.seedProblem) throw Object.assign(new Error(this.seedProblem), { code: "invalid-argument" });
    const options: EngineOptions = { ...this.#numbers(), stop: stopStrings(this.stop) };
    const text = this.seed.trim();
    if (text !== "") {
      const seed = BigInt(text);
      // Only whole numbers up to 2^53-1 are exact as JavaScript numbers.
      options.seed = (seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed) as never;
    } else if (this.cache.wantsKept) {
      options.seed = 0;
    }
    return options;
  }

  #numbers(): Record<NumberName, number> {
    return Object.fromEntries(numberNames.map((name) => [name, this[name]])) as Record<NumberName, number>;
  }

  #take(fields: Readonly<Record<string, unknown>>): void {
    for (const name of numberNames) {
      const value = fields[name];
      if (value === undefined || value === "") continue;
      const { min, max, step } = ranges[name];
      const number = Number(value);
      if (number >= min && number <= max && (step < 1 || Number.isInteger(number))) this[name] = number;
    }
    for (const name of ["stop", "seed", "url"] as const) {
      const value = fields[name];
      if (typeof value === "string" && value.length <= LONGEST_TEXT) this[name] = value;
    }
    if (modelChoices.includes(fields.model as string)) this.model = fields.model as ModelChoice;
    if (numberFormats.some(({ id }) => id === fields.dtype)) this.dtype = fields.dtype as Dtype;
  }
}

/** One stop string a line; `\n`, `\t` and `\\` stand for what cannot be typed in a line. */
export function stopStrings(text: string): string[] {
  const escapes: Record<string, string> = { n: "\n", t: "\t", "\\": "\\" };
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replace(/\\([nt\\])/g, (_, letter: string) => escapes[letter]!));
}

function stopLines(strings: readonly string[]): string {
  const escapes: Record<string, string> = { "\n": "\\n", "\t": "\\t", "\\": "\\\\" };
  return strings.map((text) => text.replace(/[\n\t\\]/g, (character) => escapes[character]!)).join("\n");
}

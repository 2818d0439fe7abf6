/**
 * What the text of an option stands for.
 */

import { isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { CacheControls } from "../cache/types.js";
import type { Dtype, EngineOptions, LoadOptions } from "../types.js";
import { usageError, type Values } from "./parse.js";

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const MODES = { cache: true, "no-cache": false, "only-cached": "only", refresh: "refresh" } as const;
const WHOLE = /^\d+$/;

export function number(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw usageError(`--${option}: ${JSON.stringify(text)} is not a number`);
  return value;
}

/** From 1 on. */
export function count(option: string, text: string): number {
  const value = number(option, text);
  if (!Number.isSafeInteger(value) || value < 1) throw usageError(`--${option}: must be a whole number, 1 or more`);
  return value;
}

/** Milliseconds of `90`, seconds, or of a number with a unit. */
export function duration(option: string, text: string): number {
  const [, digits, unit = "s"] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text) ?? [];
  const value = Math.round(Number(digits) * (UNITS[unit] as number));
  if (!Number.isSafeInteger(value)) {
    throw usageError(`--${option}: ${JSON.stringify(text)} is not a time: seconds, or a number with ms, s, m, h or d`);
  }
  return value;
}

export function oneOf<const Choice extends string>(option: string, text: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((each) => each === text);
  if (choice === undefined) throw usageError(`--${option}: ${JSON.stringify(text)} is not one of ${choices.join(", ")}`);
  return choice;
}

/** Seeds have 64 bits: above 2^53-1 only a `bigint` holds them. */
function seed(text: string): number | bigint {
  if (!WHOLE.test(text)) throw usageError(`--seed: ${JSON.stringify(text)} is not a whole number from 0 to 2^64-1`);
  const value = BigInt(text);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/** As `Cacher.load` takes it, which checks it. Paths of Windows would pass for URLs there, and a lone file's name for a repository. */
export function model(values: Values, command: string): Pick<LoadOptions, "model" | "dtype"> {
  const { model, dtype } = values;
  if (model === undefined) throw usageError(`--model: is needed; see cacher ${command} --help`);
  const isPath = isAbsolute(model) || /^\.{1,2}[\\/]/.test(model) || (model.endsWith(".gguf") && !model.includes(":"));
  return {
    model: isPath ? pathToFileURL(resolve(model)) : model,
    ...(dtype === undefined ? {} : { dtype: dtype as Dtype }),
  };
}

/** Whether they are within bounds is the engine's to say. */
export function generationOptions(values: Values): EngineOptions {
  const numbers = {
    maxTokens: "max-tokens",
    temperature: "temperature",
    topK: "top-k",
    topP: "top-p",
    minP: "min-p",
    repetitionPenalty: "repetition-penalty",
  } as const;
  const options: EngineOptions = Object.fromEntries((values.set ?? []).map(setting));
  for (const [name, option] of Object.entries(numbers) as [keyof typeof numbers, (typeof numbers)[keyof typeof numbers]][]) {
    const text = values[option];
    if (text !== undefined) options[name] = number(option, text);
  }
  if (values.seed !== undefined) options.seed = seed(values.seed);
  if (values.stop !== undefined) options.stop = values.stop;
  return options;
}

/** `NAME=VALUE`. */
function setting(text: string): [string, unknown] {
  const [, name, value] = /^(\w+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw usageError(`--set: ${JSON.stringify(text)} is not NAME=VALUE`);
  try {
    return [name, JSON.parse(value)];
  } catch {
    return [name, value];
  }
}

/** Of one answer. */
export function cacheControls(values: Values): CacheControls {
  const modes = (Object.keys(MODES) as (keyof typeof MODES)[]).filter((name) => values[name]);
  if (modes.length > 1) throw usageError(`--${modes.join(" and --")} exclude each other`);
  const [mode] = modes;
  const { replay, tag } = values;
  const ttl = values["cache-ttl"];
  const controls: CacheControls = {};
  if (mode !== undefined) controls.cache = MODES[mode];
  if (ttl !== undefined) controls.cacheTtl = duration("cache-ttl", ttl);
  if (tag !== undefined) controls.tags = tag;
  if (replay !== undefined) controls.replay = oneOf("replay", replay, ["instant", "recorded"]);
  return controls;
}

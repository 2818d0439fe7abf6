/**
 * Checks the options of a stream, which the engine never sees.
 */

import { invalidOption } from "../errors.js";
import type { Chunking, StreamOptions } from "./types.js";

export const STREAM_OPTIONS = ["chunk", "onProgress", "stopWhen", "highWaterMark"] as const satisfies (keyof StreamOptions)[];

const MAX_COUNT = 0xffff_ffff;
/** Of browsers' timers. */
const MAX_MS = 0x7fff_ffff;
const SIZES: Readonly<Record<string, number>> = { ms: MAX_MS, tokens: MAX_COUNT, characters: MAX_COUNT };
const CHUNKINGS = '"token", "word", "sentence", "line", { ms: 1 to 2^31-1 }, { tokens: 1 to 2^32-1 } or { characters: 1 to 2^32-1 }';

/** Error: `invalid-option`. */
export function requireStreamOptions({ chunk, onProgress, stopWhen, highWaterMark }: StreamOptions): void {
  if (chunk !== undefined && !isChunking(chunk)) throw invalidOption("chunk", chunk, CHUNKINGS);
  requireFunction("onProgress", onProgress);
  requireFunction("stopWhen", stopWhen);
  requireCount("highWaterMark", highWaterMark, MAX_COUNT);
}

/** Error: `invalid-option`. */
export function requireCount(option: string, value: unknown, most: number): void {
  if (value !== undefined && !isCount(value, most)) throw invalidOption(option, value, `a whole number from 1 to ${most}`);
}

/** Error: `invalid-option`. */
export function requireFunction(option: string, value: unknown): void {
  if (value !== undefined && typeof value !== "function") throw invalidOption(option, value, "a function");
}

function isChunking(chunk: unknown): chunk is Chunking {
  if (typeof chunk === "string") return ["token", "word", "sentence", "line"].includes(chunk);
  if (typeof chunk !== "object" || chunk === null) return false;
  const [entry, ...others] = Object.entries(chunk);
  return entry !== undefined && others.length === 0 && Object.hasOwn(SIZES, entry[0]) && isCount(entry[1], SIZES[entry[0]]!);
}

function isCount(value: unknown, most: number): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most;
}

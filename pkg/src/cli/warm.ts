/**
 * `cacher cache-warm`: answers for a file of prompts, computed ahead.
 */

import { messageOf } from "../errors.js";
import type { EngineOptions } from "../types.js";
import type { Api, Io, WarmRequest, WarmResult } from "./api.js";
import { lastingBackendOf } from "./backend.js";
import { json, plural } from "./format.js";
import { usageError, type Values } from "./parse.js";
import { ProgressLine } from "./progress.js";
import { load } from "./run.js";
import { cacheControls, count, generationOptions, model } from "./values.js";

export async function warm(operands: readonly string[], values: Values, api: Api, io: Io): Promise<number> {
  const [file, ...more] = operands;
  if (file === undefined || more.length > 0) throw usageError("cache-warm: takes one file, or `-` to read stdin");
  const source = model(values, "cache-warm");
  const common = { ...generationOptions(values), ...cacheControls(values) };
  const concurrency = values.concurrency === undefined ? 1 : count("concurrency", values.concurrency);
  const backend = lastingBackendOf(values, io);
  const text = file === "-" ? await io.stdin() : await read(file, io);
  const requests = requestsIn(text, common);

  const loaded = await load(source, backend.options, api, io);
  const progress = new ProgressLine(io);
  try {
    const onProgress = (done: WarmResult) => progress.show(`${sum(done)} of ${requests.length}: ${describe(done)}`);
    const result = await loaded.cache.warm(requests, { concurrency, signal: io.interrupted, onProgress });
    progress.clear();
    const { computed, present, failed } = result;
    if (values.json === true) io.out(json({ computed, present, failed }));
    else io.err(`${plural(requests.length, "prompt")}: ${describe(result)}\n`);
    return failed > 0 ? 1 : 0;
  } finally {
    progress.clear();
    await loaded.dispose();
  }
}

/** A line that begins with `{` is JSON, any other a prompt as it is; empty ones do not count. */
export function requestsIn(text: string, common: WarmRequest["options"]): WarmRequest[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (line.trim() === "") return [];
    if (!line.startsWith("{")) return [{ prompt: line, options: common }];
    const { prompt, options = {}, ...more } = parsed(line, index + 1);
    const isObject = typeof options === "object" && options !== null && !Array.isArray(options);
    if (typeof prompt !== "string" || !isObject || Object.keys(more).length > 0) {
      throw usageError(`cache-warm: line ${index + 1} must be {"prompt": "…"} or {"prompt": "…", "options": {…}}`);
    }
    return [{ prompt, options: { ...common, ...(options as EngineOptions) } }];
  });
}

function parsed(line: string, at: number): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch (error) {
    throw usageError(`cache-warm: line ${at} begins with "{" and is no JSON: ${messageOf(error)}`);
  }
}

async function read(file: string, io: Io): Promise<string> {
  try {
    return await io.readFile(file);
  } catch (error) {
    throw usageError(`cache-warm: ${messageOf(error)}`);
  }
}

function sum({ computed, present, failed }: WarmResult): number {
  return computed + present + failed;
}

function describe({ computed, present, failed }: WarmResult): string {
  return `${computed} computed, ${present} present, ${failed} failed`;
}

/**
 * `cacher run`: one generation, as it comes.
 */

import type { Api, Io, Model } from "./api.js";
import { backendOf } from "./backend.js";
import { json, printable, summary } from "./format.js";
import { usageError, type Values } from "./parse.js";
import { loadingText, ProgressLine } from "./progress.js";
import { cacheControls, generationOptions, model } from "./values.js";

export async function run(operands: readonly string[], values: Values, api: Api, io: Io): Promise<number> {
  const [given, ...more] = operands;
  if (given === undefined) throw usageError("run: a prompt is needed, or `-` to read it from stdin");
  if (more.length > 0) throw usageError("run: takes one prompt; put it in quotes");
  const source = model(values, "run");
  const controls = cacheControls(values);
  const options = { ...generationOptions(values), ...controls };
  const backend = backendOf(values, io);
  // The line's end belongs to the shell's `echo`, and would change what the model writes.
  const prompt = given === "-" ? (await io.stdin()).replace(/\r?\n$/, "") : given;

  const loaded = await load(source, controls.cache === false ? false : backend.options, api, io);
  try {
    const answer = loaded.generate(prompt, { ...options, signal: io.interrupted });
    let last = "";
    if (values.json !== true) {
      for await (const { text } of answer) {
        io.out(io.outIsTerminal ? printable(text) : text);
        last = text || last;
      }
    }
    const result = await answer.result;
    if (values.json === true) {
      const { text, tokens, finishReason, matched, seed, usage, timings, cache } = result;
      const { sha256, dtype } = loaded.model;
      io.out(json({ text, tokens, finishReason, matched, seed, usage, timings, cache, model: { sha256, dtype } }));
    } else {
      if (io.outIsTerminal && !last.endsWith("\n")) io.out("\n");
      io.err(`${summary(result)}\n`);
    }
    return 0;
  } finally {
    await loaded.dispose();
  }
}

/** With the progress of it on a terminal. */
export async function load(
  source: ReturnType<typeof model>,
  cache: Parameters<Api["load"]>[0]["cache"],
  api: Api,
  io: Io,
): Promise<Model> {
  const progress = new ProgressLine(io);
  try {
    return await api.load({
      ...source,
      cache,
      signal: io.interrupted,
      onProgress: (state) => progress.show(loadingText(state)),
    });
  } finally {
    progress.clear();
  }
}

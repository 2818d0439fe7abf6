/**
 * How a state's text goes on: with what the model writes, saved as it comes, or
 * with an answer that was kept.
 */

import type { Kept } from "../cache/requests.js";
import type { EngineEvent } from "../engine.js";
import { CacherError, toCacherError } from "../errors.js";
import type { GenerationChunk, GenerationResult } from "../types.js";
import type { Sink } from "../streaming/sink.js";
import { saveDrafts } from "./drafts.js";
import type { StateHostEnvironment } from "./host.js";
import type { StateShelf } from "./shelf.js";

/** The result, and the state as the engine's JSON. */
export interface Continued {
  result: GenerationResult;
  state: string;
}

/** Has the model write; `options` are JSON. */
export async function write(
  { environment, shelf, saveIntervalMs }: { environment: StateHostEnvironment; shelf: StateShelf; saveIntervalMs: number },
  id: string,
  options: string,
  sink: Sink<GenerationChunk>,
): Promise<Continued> {
  await shelf.fetchBlocks(id);
  const job = environment.engine().addStateGeneration(id, options);
  const saving = saveDrafts(() => shelf.saveDraft(id, job), saveIntervalMs);
  const { flow } = sink;
  const unfollow = flow.onchange(() => {
    if (flow.allowed === 0) saving.rest();
  });
  let event: EngineEvent;
  try {
    event = await environment.run(job, sink.signal, {
      ...sink,
      give: (chunk) => {
        sink.give(chunk);
        saving.touch();
      },
    });
    await saving.end();
  } catch (error) {
    await saving.end();
    // The draft of an engine that has crashed is all there is.
    if (toCacherError(error).code !== "engine-crashed") await shelf.dropDraft(id);
    throw error;
  } finally {
    unfollow();
  }
  if (event.type !== "continued") throw new CacherError("internal", `a generation ended with "${event.type}"`);
  return event;
}

/** Writes what was kept, where it is the answer to what is asked now. Error: `invalid-cache-record`. */
export function writeKept(
  { engine, module }: StateHostEnvironment,
  id: string,
  options: string,
  { request, recording }: Kept,
  sink: Sink<GenerationChunk>,
): Continued {
  const asked = JSON.parse(engine().describeStateGeneration(id, options)) as { request: unknown };
  if (module.ResponseCacheCore.canonical(JSON.stringify(asked.request)) !== request) {
    throw new CacherError("invalid-cache-record", "the state has moved on since it was looked for", { id });
  }
  const { chunks, result, state } = engine().replayStateGeneration(id, options, recording, true);
  for (const chunk of chunks) sink.give(chunk);
  return { result, state: state! };
}

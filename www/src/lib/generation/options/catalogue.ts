/** All options of a generation, in the order in which the panel shows them. */

import type { StreamOptions } from "cacher-wasm";
import type { Group } from "./control.ts";
import { length, stopping } from "./ending.ts";
import { guidance, penalties } from "./penalties.ts";
import { constraint, context, inside, streaming, telling } from "./running.ts";
import { sampling, schedules } from "./sampling.ts";

export const generationGroups: readonly Group[] = [
  sampling,
  length,
  stopping,
  penalties,
  schedules,
  constraint,
  guidance,
  context,
  telling,
  inside,
  streaming,
];

/** Options that say how a text is streamed, and are no part of a state's settings. */
export const STREAM_OPTIONS = ["chunk", "highWaterMark", "stopWhen"] as const satisfies readonly (keyof StreamOptions)[];

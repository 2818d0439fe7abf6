/**
 * The state that is open on the page: what it says, its tokens, its history
 * and its relatives. Read anew whenever something may have changed it.
 */

import type { EngineOptions } from "cacher-wasm";
import type { HistoryEntry, State, StateGraph, StateInfo } from "cacher-wasm";
import { cutIntoPieces, type Piece } from "./pieces.ts";
import type { Work } from "./words.ts";

/** A text as it stands at a revision. */
export interface Reading {
  revision: string;
  text: string;
  pieces: readonly Piece[];
}

export class OpenState {
  readonly handle: State;
  info: StateInfo;
  /** The text at the head. */
  reading: Reading;
  /** A former text that is being looked at; `null` for the head's. */
  former: Reading | null;
  history: readonly HistoryEntry[];
  graph: StateGraph;
  /** What the model had to read when the state was opened or last continued. */
  work: Work | null;

  private constructor(handle: State, info: StateInfo, reading: Reading, history: HistoryEntry[], graph: StateGraph) {
    this.handle = handle;
    this.info = $state.raw(info);
    this.reading = $state.raw(reading);
    this.former = $state.raw(null);
    this.history = $state.raw(history);
    this.graph = $state.raw(graph);
    this.work = $state.raw({ computed: info.tokensEvaluated, of: info.tokens });
  }

  static async from(handle: State): Promise<OpenState> {
    const info = await handle.info();
    const [reading, history, graph] = await Promise.all([read(handle, info.revision), handle.history(), handle.graph()]);
    return new OpenState(handle, info, reading, history, graph);
  }

  get id(): string {
    return this.handle.id;
  }

  /** The text shown: the head's, or a former one. */
  get shown(): Reading {
    return this.former ?? this.reading;
  }

  /** What the model wrote last, where the text ends with it. */
  get lastGenerated(): string {
    const [newest] = this.history;
    return newest?.operation === "generate" && this.reading.text.endsWith(newest.added) ? newest.added : "";
  }

  async refresh(): Promise<void> {
    const info = await this.handle.info();
    // Checkpoints and relatives change without the text changing.
    const [history, graph] = await Promise.all([this.handle.history(), this.handle.graph()]);
    if (info.revision !== this.reading.revision) this.reading = await read(this.handle, info.revision);
    this.info = info;
    this.history = history;
    this.graph = graph;
  }

  async look(revision: string | null): Promise<void> {
    this.former = revision === null || revision === this.info.revision ? null : await read(this.handle, revision);
  }

  /** Takes over settings other than the seed, as a change that the history has. */
  async adapt(options: EngineOptions): Promise<void> {
    const { seed: _, ...config } = this.info.config;
    const { seed: __, ...wanted } = options;
    const changes: Record<string, unknown> = {};
    for (const key of new Set([...Object.keys(config), ...Object.keys(wanted)]) as Set<keyof typeof wanted>) {
      // `null` takes out what is no longer wanted.
      if (!same(wanted[key], config[key])) changes[key] = wanted[key] ?? null;
    }
    if (Object.keys(changes).length > 0) this.info = await this.handle.update({ config: changes });
  }
}

async function read(handle: State, revision: string): Promise<Reading> {
  const [text, { offsets }] = await Promise.all([handle.text({ revision }), handle.tokens({ revision })]);
  return { revision, text, pieces: cutIntoPieces(text, offsets) };
}

/** Settings alike; numbers may have gone through the engine's shorter ones. An empty list is as good as none. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a === "number" && typeof b === "number") return Math.abs(a - b) < 1e-6;
  const list = (value: unknown) => (value === undefined || value === null ? [] : [value].flat());
  return JSON.stringify(list(a)) === JSON.stringify(list(b));
}

/**
 * A handle on one state. It holds the id and nothing else, so it stays good
 * whatever becomes of the state: after a rollback, another tab's change, or a
 * restart of the engine.
 */

import { requireKnown, toTokenIds } from "../arguments.js";
import { CacherError } from "../errors.js";
import { computedLabel } from "../cache/answers.js";
import { type ExplainedGeneration, type StateGeneration, toSink } from "../cache/generation-cache.js";
import { abortedResult, Generation } from "../generation.js";
import type {
  AppendOptions,
  CallOptions,
  Checkpoint,
  DiffOptions,
  ExportOptions,
  ForkOptions,
  GenerateOptions,
  HistoryEntry,
  Input,
  RollbackTarget,
  StateDiff,
  StateGenerationResult,
  StateGraph,
  StateInfo,
  Tokens,
  UpdateState,
} from "../types.js";
import { requireKinds } from "./arguments.js";
import { withSeed, withSeeds } from "./json.js";
import type { StateCommand } from "./requests.js";
import type { StateLine, States } from "./states.js";

const FORK = ["at", "name", "signal"] as const satisfies (keyof ForkOptions)[];
const UPDATE = ["config", "name", "tags", "metadata", "signal"] as const satisfies (keyof UpdateState)[];
const APPEND = ["evaluate", "signal"] as const satisfies (keyof AppendOptions)[];

const REVISION = /^[0-9a-f]{32}$/;
const TARGETS = ["checkpoint", "revision", "steps"];

export class State {
  readonly id: string;
  readonly #line: StateLine;
  readonly #states: States;

  /** @internal */
  constructor(id: string, line: StateLine, states: States) {
    this.id = id;
    this.#line = line;
    this.#states = states;
  }

  /** The state as it stands, as plain data. */
  async info({ signal }: CallOptions = {}): Promise<StateInfo> {
    return withSeeds(await this.#read<StateInfo>({ command: "info", id: this.id }, signal));
  }

  /** Its text; of a revision of its history, the text then. */
  async text({ revision, signal }: { revision?: string } & CallOptions = {}): Promise<string> {
    requireKinds("text", { revision }, { revision: "text" });
    return (await this.#tokens(revision, signal)).text;
  }

  /** The token ids of its text, with the place of each in it. */
  async tokens({ revision, signal }: { revision?: string } & CallOptions = {}): Promise<Tokens> {
    requireKinds("tokens", { revision }, { revision: "text" });
    const { ids, offsets } = await this.#tokens(revision, signal);
    return { ids: Uint32Array.from(ids), offsets: Uint32Array.from(offsets) };
  }

  /**
   * Continues the text, with these options over those of its config. What is
   * made becomes part of the state: its text is then the text before and
   * `result.text`. Random numbers go on where they stand, unless a `seed` is
   * given. Aborted, the state keeps what was made.
   */
  generate(options: GenerateOptions = {}): Generation<StateGenerationResult> {
    const generation: StateGeneration = {
      id: this.id,
      options,
      run: (engineOptions, kept, sink) =>
        this.#line.ask(
          "generate",
          { id: this.id, options: engineOptions, kept },
          { signal: sink.signal, flow: sink.flow, onEvent: toSink(sink), onAbort: "finish" },
        ),
    };
    const aborted = async () => {
      const state = await this.info();
      return { ...abortedResult(state.rng.seed), state, cache: computedLabel(null) };
    };
    return new Generation((sink) => this.#states.cache.generateState(generation, sink), { options, signal: options.signal, aborted });
  }

  /** What the cache would look for to answer `generate` with these options: its key, and what it is made of. */
  async explainGeneration(options: GenerateOptions = {}): Promise<ExplainedGeneration> {
    return this.#states.cache.explainState(this.id, options);
  }

  /** Adds text or tokens at the end. Aborted once it has begun, it has added them, and the model has not read them all. */
  async append(input: Input, options: AppendOptions = {}): Promise<StateInfo> {
    requireKnown(options, APPEND, "append");
    requireKinds("append", options, { evaluate: "flag" });
    const { evaluate = true, signal } = options;
    const added = typeof input === "string" ? { text: input } : { tokens: Array.from(toTokenIds("input", input)) };
    return this.#change({ command: "append", id: this.id, ...added }, signal, evaluate);
  }

  /** Another state that goes on from here: it shares all there is, and costs nothing. */
  fork(options?: ForkOptions): Promise<State>;
  fork(count: number, options?: ForkOptions): Promise<State[]>;
  async fork(first: number | ForkOptions = {}, second: ForkOptions = {}): Promise<State | State[]> {
    const [count, options] = typeof first === "number" ? [first, second] : [1, first];
    requireKnown(options, FORK, "fork");
    requireKinds("fork", options, { name: "text" });
    const { at, name, signal } = options;
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new CacherError("invalid-argument", "count: must be a whole number of at least 1");
    }
    if (at !== undefined && typeof at !== "string" && !(Number.isSafeInteger(at) && at >= 0)) {
      throw new CacherError("invalid-argument", "at: must be a revision's id or a number of tokens");
    }
    const from = at === undefined ? {} : { at: typeof at === "string" ? { revision: at } : { tokens: at } };
    const command = { command: "fork", id: this.id, count, ...from, ...(name === undefined ? {} : { name }) };
    const forks = (await this.#line.ask("fork", { command }, { signal })).map(({ id }) => new State(id, this.#line, this.#states));
    return typeof first === "number" ? forks : (forks[0] as State);
  }

  /** Gives where it stands a name; the same name again moves it. */
  async checkpoint(name: string, { signal }: CallOptions = {}): Promise<Checkpoint> {
    requireKinds("checkpoint", { name }, { name: "text" });
    return this.#write<Checkpoint>({ command: "checkpoint", id: this.id, name }, signal);
  }

  async checkpoints({ signal }: CallOptions = {}): Promise<Checkpoint[]> {
    return this.#read({ command: "checkpoints", id: this.id }, signal);
  }

  /**
   * Makes all as it was: text, config, name, tags, metadata and random numbers.
   * What is generated next is what was generated then. The way back is recorded,
   * so nothing is lost.
   */
  async rollback(to: RollbackTarget, { signal }: CallOptions = {}): Promise<StateInfo> {
    requireTarget(to);
    let target: object;
    if (typeof to === "number") target = { steps: to };
    else if (typeof to !== "string") target = to;
    else target = REVISION.test(to) ? await this.#named(to, signal) : { checkpoint: to };
    return this.#change({ command: "rollback", id: this.id, to: target }, signal);
  }

  /** Changes config, name, tags or metadata; recorded like any change. */
  async update(changes: UpdateState): Promise<StateInfo> {
    requireKnown(changes, UPDATE, "update");
    requireKinds("update", changes, { config: "object", name: "textOrNull", tags: "texts", metadata: "object" });
    const { signal, ...others } = changes;
    return this.#change({ command: "update", id: this.id, ...others }, signal);
  }

  /** Begins the random numbers of another seed, so that the text goes another way. Default: a fresh one. */
  async reseed(seed?: number | bigint, { signal }: CallOptions = {}): Promise<StateInfo> {
    requireKinds("reseed", { seed }, { seed: "seed" });
    return this.#change({ command: "reseed", id: this.id, ...(seed === undefined ? {} : { seed }) }, signal);
  }

  /** Exempts it from clean-up, and its KV cache from eviction; `false`: no longer. */
  async pin(pinned = true, { signal }: CallOptions = {}): Promise<StateInfo> {
    requireKinds("pin", { pinned }, { pinned: "flag" });
    return this.#change({ command: "pin", id: this.id, pinned }, signal);
  }

  /** All that was done, newest first. */
  async history({ signal }: CallOptions = {}): Promise<HistoryEntry[]> {
    const history = await this.#read<HistoryEntry[]>({ command: "history", id: this.id }, signal);
    return history.map(withSeed);
  }

  /** Everything related, for drawing. */
  async graph({ signal }: CallOptions = {}): Promise<StateGraph> {
    return this.#read({ command: "graph", id: this.id }, signal);
  }

  diff(other: State | string, options?: DiffOptions): Promise<StateDiff> {
    return this.#states.diff(this, other, options);
  }

  export(options?: ExportOptions): Promise<Blob> {
    return this.#states.export([this], options);
  }

  delete(options?: CallOptions): Promise<void> {
    return this.#states.delete(this, options);
  }

  /** What looks like a revision's id may be a checkpoint's name. */
  async #named(name: string, signal: AbortSignal | undefined): Promise<{ checkpoint: string } | { revision: string }> {
    const checkpoints = await this.checkpoints({ ...(signal === undefined ? {} : { signal }) });
    return checkpoints.some((checkpoint) => checkpoint.name === name) ? { checkpoint: name } : { revision: name };
  }

  #tokens(revision: string | undefined, signal: AbortSignal | undefined): Promise<{ text: string; ids: number[]; offsets: number[] }> {
    return this.#read({ command: "tokens", id: this.id, ...(revision === undefined ? {} : { revision }) }, signal);
  }

  async #read<T>(command: StateCommand, signal: AbortSignal | undefined): Promise<T> {
    return (await this.#line.ask("read", { command }, { signal })) as T;
  }

  async #write<T>(command: StateCommand, signal: AbortSignal | undefined, evaluate = false): Promise<T> {
    return (await this.#line.ask("write", { id: this.id, command, evaluate }, { signal })) as T;
  }

  async #change(command: StateCommand, signal: AbortSignal | undefined, evaluate = false): Promise<StateInfo> {
    return this.#write<StateInfo>(command, signal, evaluate);
  }
}

function requireTarget(to: RollbackTarget): void {
  const target: unknown = typeof to === "number" ? { steps: to } : to;
  if (typeof target === "string") return;
  if (typeof target === "object" && target !== null) {
    requireKinds("rollback", target, { checkpoint: "text", revision: "text", steps: "count" });
    const given = Object.entries(target).filter(([, value]) => value !== undefined);
    if (given.length === 1 && TARGETS.includes(given[0]![0])) return;
  }
  throw new CacherError("invalid-argument", "to: must be a checkpoint's name, a revision's id, a number of steps, or an object that says which");
}

/**
 * `cacher.states`: makes states, finds them, and works on several at once.
 */

import { requireKnown, toTokenIds } from "../arguments.js";
import type { GenerationCache } from "../cache/generation-cache.js";
import type { CallSettings, Client } from "../client.js";
import { abortError, CacherError, toCacherError } from "../errors.js";
import type {
  CallOptions,
  CleanUpPolicy,
  CreateState,
  DiffOptions,
  ExportOptions,
  FileData,
  ImportOptions,
  ListStates,
  MergeConflict,
  MergeOptions,
  Resolution,
  StateComparison,
  StateDiff,
  StateGraph,
  StateInfo,
  StateList,
  StatesEvent,
  StatesUsage,
} from "../types.js";
import { requireKinds } from "./arguments.js";
import { withSeedOfChange, withSeeds } from "./json.js";
import type { StateRequest, StateRequestName, StateRequests } from "./requests.js";
import { requirePolicy } from "./settings.js";
import { State } from "./state.js";

/** A handle or an id. */
type StateOrId = State | string;

const CREATE = ["text", "tokens", "config", "name", "tags", "metadata", "persist", "evaluate", "signal"] as const satisfies (keyof CreateState)[];
const LIST = ["search", "tags", "pinned", "model", "sort", "order", "offset", "limit", "signal"] as const satisfies (keyof ListStates)[];
const MERGE = ["strategy", "onConflict", "name", "tags", "persist", "evaluate", "signal"] as const satisfies (keyof MergeOptions)[];
const EXPORT = ["format", "kv", "signal"] as const satisfies (keyof ExportOptions)[];

const IMPORT = ["persist", "signal", "onProgress"] as const satisfies (keyof ImportOptions)[];
const ATTRIBUTES = { config: "object", name: "text", tags: "texts", metadata: "object", persist: "flag", evaluate: "flag" } as const;

const CHANGES: ReadonlySet<StateRequestName> = new Set(["create", "write", "fork", "delete", "merge", "import", "cleanUp", "setCleanUp", "save"]);

/** Sends requests about states to the engine's host. */
export class StateLine {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async ask<Name extends StateRequestName>(
    name: Name,
    args: StateRequests[Name]["args"],
    settings: Pick<CallSettings<"states">, "signal" | "onAbort" | "flow"> & { onEvent?: (event: StateRequests[Name]["event"]) => void } = {},
  ): Promise<StateRequests[Name]["value"]> {
    const { onEvent, ...others } = settings;
    const { signal } = settings;
    // Of what changes states, only the host knows whether the abort came in time.
    const onAbort = CHANGES.has(name) ? "finish" : "reject";
    const answer = this.#client.call("states", { name, args } as StateRequest, {
      onAbort,
      ...others,
      ...(onEvent === undefined ? {} : { onEvent: onEvent as (event: unknown) => void }),
    });
    try {
      return (await answer) as StateRequests[Name]["value"];
    } catch (error) {
      // What comes from the host has no reason.
      throw toCacherError(error).code === "aborted" && signal?.aborted ? abortError(signal) : error;
    }
  }
}

export class States {
  readonly #line: StateLine;
  /** What an engine that is started anew does not know. */
  readonly #watches = new Set<() => void>();
  #cleanUp: CleanUpPolicy | null | undefined;
  /** @internal */
  readonly cache: GenerationCache;

  /** @internal */
  constructor(client: Client, cache: GenerationCache) {
    this.#line = new StateLine(client);
    this.cache = cache;
    client.onrestart(() => {
      if (this.#cleanUp !== undefined) this.#line.ask("setCleanUp", { policy: this.#cleanUp }).catch(() => undefined);
      for (const watch of this.#watches) watch();
    });
  }

  /** A new state of a text. */
  async create(options: CreateState = {}): Promise<State> {
    requireKnown(options, CREATE, "create");
    requireKinds("create", options, { text: "text", ...ATTRIBUTES });
    const { evaluate = true, signal, tokens, ...others } = options;
    const command = { command: "create", ...others, ...(tokens === undefined ? {} : { tokens: Array.from(toTokenIds("tokens", tokens)) }) };
    return this.#handle(await this.#line.ask("create", { command, evaluate }, { signal }));
  }

  /** The state of this id; rejects with `state-not-found`. */
  async get(id: string, { signal }: CallOptions = {}): Promise<State> {
    const info = await this.#line.ask("read", { command: { command: "info", id: idOf(id) } }, { signal });
    return this.#handle(info as StateInfo);
  }

  /** States as plain data, a page at a time. */
  async list(query: ListStates = {}): Promise<StateList> {
    requireKnown(query, LIST, "list");
    requireKinds("list", query, {
      search: "text",
      tags: "texts",
      pinned: "flag",
      model: "text",
      sort: ["updated", "created", "used", "name", "tokens"],
      order: ["asc", "desc"],
      offset: "count",
      limit: "count",
    });
    const { signal, ...others } = query;
    const list = (await this.#line.ask("read", { command: { command: "list", ...others } }, { signal })) as StateList;
    list.items.forEach(withSeeds);
    return list;
  }

  /** Deletes states, with what no other state shares of them. */
  async delete(states: StateOrId | readonly StateOrId[], { signal }: CallOptions = {}): Promise<void> {
    const ids = (Array.isArray(states) ? states : [states as StateOrId]).map(idOf);
    await this.#line.ask("delete", { ids: [...new Set(ids)].sort() }, { signal });
  }

  /** How two states differ. */
  async diff(a: StateOrId, b: StateOrId, { distributions = false, signal }: DiffOptions = {}): Promise<StateDiff> {
    requireKinds("diff", { distributions }, { distributions: "flag" });
    const diff = await this.#line.ask("diff", { a: idOf(a), b: idOf(b), distributions }, { signal });
    diff.config.forEach(withSeedOfChange);
    return diff;
  }

  /** How two states differ, and what the model makes of them. */
  async compare(a: StateOrId, b: StateOrId, { signal }: CallOptions = {}): Promise<StateComparison> {
    const comparison = await this.#line.ask("compare", { a: idOf(a), b: idOf(b) }, { signal });
    comparison.diff.config.forEach(withSeedOfChange);
    return comparison;
  }

  /** One new state of several, which stay as they are. */
  async merge(states: readonly StateOrId[], options: MergeOptions = {}): Promise<State> {
    requireKnown(options, MERGE, "merge");
    requireKinds("merge", options, { ...ATTRIBUTES, strategy: ["ours", "theirs", "concat", "best", "longest", "edit"] });
    if (typeof options.onConflict !== "function") {
      requireKinds("merge", options, { onConflict: ["error", "ours", "theirs", "base", "both"] });
    }
    if (!Array.isArray(states)) throw new CacherError("invalid-argument", "states: must be an array");
    const { strategy = "edit", onConflict = "error", evaluate = true, signal, ...others } = options;
    const command = { command: "merge", states: states.map(idOf), strategy, ...others };
    const merge = async (more: object) =>
      this.#handle(await this.#line.ask("merge", { command: { ...command, ...more }, evaluate }, { signal }));
    if (typeof onConflict !== "function") return merge({ onConflict });

    const resolutions: [step: number, index: number, resolution: Resolution][] = [];
    for (;;) {
      try {
        return await merge({ resolutions });
      } catch (error) {
        const { code, details } = toCacherError(error);
        if (code !== "merge-conflict") throw error;
        const { conflicts, step, keys } = details as { conflicts: MergeConflict[]; step: number; keys: string[] };
        // The text is settled; keys follow the first state.
        if (conflicts.length === 0 && keys.length > 0) return merge({ resolutions, onConflict: "ours" });
        for (const conflict of conflicts) resolutions.push([step, conflict.index, await onConflict(conflict)]);
      }
    }
  }

  /** The revisions of all states, for drawing. */
  async graph({ signal }: CallOptions = {}): Promise<StateGraph> {
    return this.#line.ask("read", { command: { command: "graph" } }, { signal }) as Promise<StateGraph>;
  }

  /** One, several or all states as a file, with their histories. */
  async export(states?: readonly StateOrId[], options: ExportOptions = {}): Promise<Blob> {
    requireKnown(options, EXPORT, "export");
    requireKinds("export", options, { format: ["binary", "json"], kv: "flag" });
    if (states !== undefined && !Array.isArray(states)) throw new CacherError("invalid-argument", "states: must be an array");
    const { format = "binary", kv = true, signal } = options;
    return this.#line.ask("export", { ids: states?.map(idOf) ?? null, format, kv }, { signal });
  }

  /**
   * Takes in the states of a file, all or none. An id that is taken here becomes
   * another. What the model has to compute anew, it computes when a state is used.
   */
  async import(file: FileData, options: ImportOptions = {}): Promise<State[]> {
    requireKnown(options, IMPORT, "import");
    requireKinds("import", options, { persist: "flag" });
    const { persist = true, signal, onProgress } = options;
    if (!(file instanceof Blob || file instanceof ArrayBuffer || file instanceof Uint8Array)) {
      throw new CacherError("invalid-argument", "file: must be a Blob, an ArrayBuffer or a Uint8Array");
    }
    const blob = file instanceof Blob ? file : new Blob([file as Uint8Array<ArrayBuffer>]);
    const settings = { signal, ...(onProgress === undefined ? {} : { onEvent: onProgress }) };
    const infos = await this.#line.ask("import", { file: blob, persist }, settings);
    return infos.map((info) => this.#handle(info));
  }

  /** What states take, in storage and in memory. */
  async usage({ signal }: CallOptions = {}): Promise<StatesUsage> {
    return this.#line.ask("usage", null, { signal });
  }

  /** Asks the browser not to evict what is stored; best called after the user did something. */
  async persist(): Promise<boolean> {
    const storage = typeof navigator === "undefined" ? undefined : navigator.storage;
    return storage?.persist === undefined ? false : storage.persist();
  }

  /** Cleans up now, by this policy or the one that is set; the ids of what was deleted. */
  async cleanUp(policy?: CleanUpPolicy, { signal }: CallOptions = {}): Promise<string[]> {
    const limits = policy === undefined ? null : requirePolicy("cleanUp", policy);
    return this.#line.ask("cleanUp", { policy: limits }, { signal });
  }

  /** Sets the policy by which old states are deleted from now on; `null`: none. */
  async setCleanUp(policy: CleanUpPolicy | null): Promise<void> {
    const limits = policy === null ? null : requirePolicy("setCleanUp", policy);
    await this.#line.ask("setCleanUp", { policy: limits });
    this.#cleanUp = limits;
  }

  /** Stores what could not be stored before; rejects with the reason where it still cannot. */
  async save({ signal }: CallOptions = {}): Promise<void> {
    await this.#line.ask("save", null, { signal });
  }

  /** Calls `listener` at every change, from this tab or another; returns the way out. */
  subscribe(listener: (event: StatesEvent) => void): () => void {
    if (typeof listener !== "function") throw new CacherError("invalid-argument", "listener: must be a function");
    const controller = new AbortController();
    const watch = () => {
      const end = this.#line.ask("watch", null, { signal: controller.signal, onEvent: listener });
      // It ends by the way out, or with the engine.
      end.catch(() => undefined);
    };
    this.#watches.add(watch);
    watch();
    return () => {
      this.#watches.delete(watch);
      controller.abort();
    };
  }

  #handle({ id }: StateInfo): State {
    return new State(id, this.#line, this);
  }
}

function idOf(state: StateOrId): string {
  const id: unknown = typeof state === "string" ? state : (state as State | undefined)?.id;
  if (typeof id !== "string") throw new CacherError("invalid-argument", "state: must be a state or the id of one");
  return id;
}

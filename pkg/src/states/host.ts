/**
 * Answers requests about states: the engine holds them and the model runs, the
 * shelf stores them, and the locks keep other tabs from writing meanwhile.
 *
 * Nothing is opened or read before the first request.
 */

import type { BeamHost } from "../beam/host.js";
import type { BeamStep } from "../beam/types.js";
import type { Engine, EngineEvent, EngineModule } from "../engine.js";
import { CacherError, messageOf, throwIfAborted, toCacherError } from "../errors.js";
import type { CleanUpPolicy, GenerationChunk, StateDiff, StateInfo, StatesEvent, StatesUsage } from "../types.js";
import { StateChannel } from "./channel.js";
import { CleanUpClock } from "./clean-up.js";
import { write, writeKept } from "./continuing.js";
import { openStateDatabase, type StateDatabase } from "./database.js";
import { exportStates, importStates } from "./files.js";
import { optionsToJson, toJson, toStateInfo } from "./json.js";
import { StateLocks } from "./locks.js";
import type { StateCommand, StateRequest, StateRequestName, StateRequests, StateSettings } from "./requests.js";
import { LIST_ALL, STORAGE_ERRORS, StateShelf } from "./shelf.js";
import { type EngineUsage, readUsage } from "./usage.js";
import type { Sink } from "../streaming/sink.js";

/** What the host of the engine does for states. */
export interface StateHostEnvironment {
  module: EngineModule;
  /** The engine, where calling it is allowed. */
  engine(): Engine;
  /** Runs a job to its end: the event that ended it. `sink`: for a generation's chunks. */
  run(job: number, signal: AbortSignal, sink?: Sink<GenerationChunk>): Promise<EngineEvent>;
  beams: BeamHost;
}

type Answer<Name extends StateRequestName> = StateRequests[Name]["value"];

interface Opened {
  database: StateDatabase | undefined;
  /** Why nothing is stored, where nothing is. */
  reason: string | null;
  shelf: StateShelf;
  locks: StateLocks;
  channel: StateChannel;
}

export class StateHost {
  readonly #environment: StateHostEnvironment;
  readonly #settings: StateSettings;
  readonly #listeners = new Set<(event: StatesEvent) => void>();
  /** States that are being written here. */
  readonly #busy = new Map<string, number>();
  #opened: Promise<Opened> | undefined;
  readonly #clock = new CleanUpClock(async (policy) => this.#cleanUpNow(await this.#open(), policy, new AbortController().signal));

  constructor(settings: StateSettings, environment: StateHostEnvironment) {
    this.#settings = settings;
    this.#environment = environment;
    if (settings.kvCacheBytes !== undefined) environment.engine().setKvBudget(settings.kvCacheBytes);
  }

  close(): void {
    this.#clock.stop();
    void this.#opened?.then(
      ({ channel, database }) => {
        channel.close();
        database?.close();
      },
      () => undefined,
    );
  }

  /** Answers a request; the sink's signal ends it early, and a generation's chunks go there. */
  async answer(request: StateRequest, sink: Sink<GenerationChunk>, onEvent: (event: never) => void): Promise<Answer<StateRequestName>> {
    const { signal } = sink;
    const opened = await this.#open();
    throwIfAborted(signal);
    const { name, args } = request;
    switch (name) {
      case "read":
        return JSON.parse(this.#command(args.command)) as unknown;
      case "create":
        return this.#make(opened, args.command, args.evaluate, signal);
      case "write":
        return this.#write(opened, args, signal);
      case "fork": {
        const forks = JSON.parse(this.#command(args.command)) as StateInfo[];
        const ids = forks.map(({ id }) => id);
        await this.#keepNew(opened, ids);
        return ids.map((id) => this.#info(id));
      }
      case "delete":
        await this.#delete(opened, args.ids, signal);
        return null;
      case "generate":
        return this.#generate(opened, args, sink);
      case "beamSearch": {
        await opened.shelf.fetchBlocks(args.id);
        throwIfAborted(signal);
        const job = this.#environment.engine().addStateBeamSearch(args.id, optionsToJson(args.options), args.asks !== null);
        return this.#environment.beams.search(job, args.asks, { ...sink, give: onEvent as (step: BeamStep) => void });
      }
      case "merge":
        return this.#merge(opened, args.command, args.evaluate, signal);
      case "diff":
        return this.#diff(opened, args.a, args.b, args.distributions, signal);
      case "compare":
        return this.#compare(opened, args.a, args.b, signal);
      case "export":
        return exportStates(
          this.#environment.engine,
          opened.shelf,
          { ...args, ids: args.ids ?? this.#infos().map(({ id }) => id) },
          signal,
        );
      case "import":
        return this.#import(opened, args, signal, onEvent as (progress: { loaded: number; total: number }) => void);
      case "usage":
        return this.#usage(opened);
      case "cleanUp":
        return this.#cleanUpNow(opened, args.policy ?? this.#clock.policy ?? {}, signal);
      case "setCleanUp":
        this.#clock.set(args.policy);
        return null;
      case "save":
        await this.#save(opened, signal);
        return null;
      case "watch":
        return this.#watch(signal, onEvent as (event: StatesEvent) => void);
    }
  }

  /** What states take, and the bytes of each stored KV block; nothing where no state has been used: to look opens nothing. */
  async inspect(): Promise<{ usage: StatesUsage; blocks: Map<string, number> | undefined } | undefined> {
    const opened = await this.#opened;
    if (opened === undefined) return undefined;
    const [usage, blocks] = await Promise.all([this.#usage(opened), opened.database?.readBlockSizes()]);
    return { usage, blocks };
  }

  #usage({ database, reason }: Opened): Promise<StatesUsage> {
    return readUsage(JSON.parse(this.#command({ command: "usage" })) as EngineUsage, database, reason);
  }

  /** Has what is stored of a state's KV cache in memory. */
  async fetchBlocks(id: string): Promise<void> {
    await (await this.#open()).shelf.fetchBlocks(id);
  }

  /** What decides the answer to a state's generation, as the engine's JSON. */
  async describe(id: string, options: string): Promise<string> {
    await this.#open();
    return this.#environment.engine().describeStateGeneration(id, options);
  }

  #open(): Promise<Opened> {
    this.#opened ??= this.#openOnce().catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  async #openOnce(): Promise<Opened> {
    const { database: name, persist, lockWaitMs } = this.#settings;
    let database: StateDatabase | undefined;
    let reason: string | null = null;
    try {
      if (persist) database = await openStateDatabase(name);
      else reason = "storing was switched off";
    } catch (error) {
      // A newer version's states are left alone; to go on without them would hide them.
      if (toCacherError(error).code !== "storage-error") throw error;
      reason = messageOf(error);
    }
    const channel = new StateChannel(name);
    const locks = new StateLocks(name, channel, { waitMs: lockWaitMs });
    const announce = (changed: string[], deleted: string[]) => {
      channel.announce({ changed, deleted });
      this.#tell(changed, deleted, "this-tab");
    };
    const tellHere = (changed: string[]) => this.#tell(changed, [], "this-tab");
    const shelf = new StateShelf(this.#environment.engine, database, announce, tellHere);
    const opened: Opened = { database, reason, shelf, locks, channel };
    try {
      await shelf.load();
      for (const id of shelf.draftIds) await locks.ifFree(id, () => shelf.recover(id));
    } catch (error) {
      channel.close();
      database?.close();
      throw error;
    }
    channel.onchange(({ changed, deleted }) => void this.#follow(opened, changed, deleted));
    this.#clock.set(this.#settings.cleanUp);
    return opened;
  }

  /** Another tab has written: reads what it wrote, but for states that are being written here, where the write will tell. */
  async #follow({ shelf }: Opened, changed: string[], deleted: string[]): Promise<void> {
    try {
      await shelf.refresh([...changed, ...deleted].filter((id) => !this.#busy.has(id)));
    } catch {
      // Whoever needs the state next reads it again, and is told what is wrong.
    }
    this.#tell(changed, deleted, "other-tab");
  }

  #tell(changed: string[], deleted: string[], origin: StatesEvent["origin"]): void {
    for (const listener of this.#listeners) {
      if (changed.length > 0) listener({ type: "changed", states: changed, origin });
      if (deleted.length > 0) listener({ type: "deleted", states: deleted, origin });
    }
  }

  #watch(signal: AbortSignal, listener: (event: StatesEvent) => void): Promise<null> {
    this.#listeners.add(listener);
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        this.#listeners.delete(listener);
        resolve(null);
      });
    });
  }

  #command(command: StateCommand): string {
    // What is wrong among them is an option's fault.
    if ("config" in command && typeof command.config === "object" && command.config !== null) optionsToJson(command.config);
    return this.#environment.engine().stateCommand(toJson(command));
  }

  #info(id: string): StateInfo {
    return toStateInfo(this.#command({ command: "info", id }));
  }

  #infos(): StateInfo[] {
    return (JSON.parse(this.#environment.engine().stateCommand(LIST_ALL)) as { items: StateInfo[] }).items;
  }

  /** Stores the states, and tells of those that are only in memory: of what is stored, the shelf tells. */
  async #commit({ shelf }: Opened, ids: readonly string[]): Promise<void> {
    try {
      await shelf.commit(ids);
    } finally {
      const unsaved = new Set(this.#infos().flatMap(({ id, saved }) => (saved ? [] : [id])));
      this.#tell(ids.filter((id) => unsaved.has(id)), [], "this-tab");
    }
  }

  /** Stores new states; those that cannot be are taken back, since nobody has their ids yet. */
  async #keepNew(opened: Opened, ids: readonly string[], finish?: () => Promise<void>): Promise<void> {
    try {
      await finish?.();
      await opened.shelf.commit(ids);
    } catch (error) {
      this.#command({ command: "delete", ids });
      throw error;
    }
    const inMemory = ids.filter((id) => !this.#environment.engine().stateVersion(id));
    this.#tell(inMemory, [], "this-tab");
  }

  /** As the writer of each, lest a change that is made meanwhile count as stored. */
  async #save(opened: Opened, signal: AbortSignal): Promise<void> {
    const unsaved = this.#infos().filter(({ persist, saved }) => persist && !saved);
    for (const { id } of unsaved) {
      await this.#asWriter(opened, [id], signal, () => opened.shelf.commit([id]));
    }
    await opened.shelf.commit([]);
  }

  /** Runs `work` as the only writer of the states, on what storage has of them. */
  async #asWriter<T>(opened: Opened, ids: readonly string[], signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { locks, shelf, database } = opened;
    const [id, ...others] = ids;
    if (id === undefined) return work();
    return locks.withWriter(id, signal, async ({ stolen }) => {
      this.#busy.set(id, (this.#busy.get(id) ?? 0) + 1);
      try {
        if (stolen) await database?.takeOver(id);
        await shelf.refresh([id]);
        await shelf.recover(id);
        return await this.#asWriter(opened, others, signal, work);
      } finally {
        const left = (this.#busy.get(id) ?? 1) - 1;
        if (left === 0) this.#busy.delete(id);
        else this.#busy.set(id, left);
      }
    });
  }

  async #make(opened: Opened, command: StateCommand, evaluate: boolean, signal: AbortSignal): Promise<StateInfo> {
    const { id } = toStateInfo(this.#command(command));
    let tokensEvaluated = 0;
    // Locked, lest it be cleaned up before it is finished.
    await opened.locks.withWriter(id, undefined, () =>
      this.#keepNew(opened, [id], async () => {
        if (evaluate) tokensEvaluated = await this.#evaluate(opened, id, signal);
      }),
    );
    return { ...this.#info(id), tokensEvaluated };
  }

  async #write(opened: Opened, { id, command, evaluate }: StateRequests["write"]["args"], signal: AbortSignal): Promise<unknown> {
    return this.#asWriter(opened, [id], signal, async () => {
      this.#environment.engine().holdState(id);
      let undo = false;
      let answer: object;
      let tokensEvaluated = 0;
      try {
        answer = JSON.parse(this.#command(command)) as object;
        try {
          if (evaluate) tokensEvaluated = await this.#evaluate(opened, id, signal);
        } finally {
          await this.#commit(opened, [id]);
        }
      } catch (error) {
        // So that who tries again does not make the change twice.
        undo = STORAGE_ERRORS.has(toCacherError(error).code);
        throw error;
      } finally {
        this.#environment.engine().releaseState(id, undo);
      }
      return "rng" in answer ? { ...this.#info(id), tokensEvaluated } : answer;
    });
  }

  /** Has the KV cache of a state's text in memory; how many tokens the model was run for. */
  async #evaluate({ shelf }: Opened, id: string, signal: AbortSignal): Promise<number> {
    await shelf.fetchBlocks(id);
    const job = this.#environment.engine().addStateReading(id, undefined);
    return (await this.#told<{ tokensEvaluated: number }>(job, signal)).tokensEvaluated;
  }

  /** The answer of a job that gives one. */
  async #told<T>(job: number, signal: AbortSignal): Promise<T> {
    const event = await this.#environment.run(job, signal);
    if (event.type !== "told") throw new CacherError("internal", `a job ended with "${event.type}"`);
    return JSON.parse(event.answer) as T;
  }

  async #delete(opened: Opened, ids: string[], signal: AbortSignal): Promise<void> {
    // So that a wrong id is told before another tab's lock is waited for.
    for (const id of ids) this.#command({ command: "info", id });
    await this.#asWriter(opened, ids, signal, async () => {
      const engine = this.#environment.engine();
      const inMemory = ids.filter((id) => engine.stateVersion(id) === 0);
      this.#command({ command: "delete", ids });
      this.#tell([], inMemory, "this-tab");
      await opened.shelf.commit([]);
    });
  }

  async #generate(
    opened: Opened,
    { id, options: given, kept }: StateRequests["generate"]["args"],
    sink: Sink<GenerationChunk>,
  ): Promise<Answer<"generate">> {
    const environment = this.#environment;
    const options = optionsToJson(given);
    return this.#asWriter(opened, [id], sink.signal, async () => {
      const { result, state } =
        kept === null
          ? await write({ environment, shelf: opened.shelf, saveIntervalMs: this.#settings.saveIntervalMs }, id, options, sink)
          : writeKept(environment, id, options, kept, sink);
      const { tokensEvaluated } = toStateInfo(state);
      try {
        await this.#commit(opened, [id]);
      } catch (error) {
        // The text is there, and `saved` says that it is not stored.
        if (!STORAGE_ERRORS.has(toCacherError(error).code)) throw error;
      }
      return { ...result, state: { ...this.#info(id), tokensEvaluated } };
    });
  }

  async #merge(opened: Opened, command: StateCommand, evaluate: boolean, signal: AbortSignal): Promise<StateInfo> {
    const states = command.states as string[];
    let scores: (number | null)[] = [];
    if (command.strategy === "best") scores = await this.#scores(opened, states, signal);
    return this.#make(opened, { ...command, scores }, evaluate, signal);
  }

  /** Mean log-probability of what each state has after the beginning that all share; `null` where it has nothing. */
  async #scores({ shelf }: Opened, ids: readonly string[], signal: AbortSignal): Promise<(number | null)[]> {
    const from = Number(this.#command({ command: "commonLength", ids }));
    const scores: (number | null)[] = [];
    for (const id of ids) {
      await shelf.fetchBlocks(id);
      const job = this.#environment.engine().addStateReading(id, from);
      const { logProb, tokensScored } = await this.#told<{ logProb: number; tokensScored: number }>(job, signal);
      scores.push(tokensScored === 0 ? null : logProb / tokensScored);
    }
    return scores;
  }

  async #diff({ shelf }: Opened, a: string, b: string, distributions: boolean, signal: AbortSignal): Promise<StateDiff> {
    const diff = JSON.parse(this.#command({ command: "diff", a, b })) as StateDiff;
    if (!distributions) return diff;
    await shelf.fetchBlocks(a);
    await shelf.fetchBlocks(b);
    const job = this.#environment.engine().addStateComparison(a, b);
    return { ...diff, distributions: await this.#told(job, signal) };
  }

  async #compare(opened: Opened, a: string, b: string, signal: AbortSignal): Promise<Answer<"compare">> {
    const diff = await this.#diff(opened, a, b, true, signal);
    const [meanA = null, meanB = null] = await this.#scores(opened, [a, b], signal);
    const kvBytes = JSON.parse(this.#command({ command: "kvBytes", a, b })) as Answer<"compare">["kvBytes"];
    return { diff, meanLogProb: { a: meanA, b: meanB }, kvBytes };
  }

  async #import(
    opened: Opened,
    { file, persist }: StateRequests["import"]["args"],
    signal: AbortSignal,
    onProgress: (progress: { loaded: number; total: number }) => void,
  ): Promise<StateInfo[]> {
    const { module, engine } = this.#environment;
    // An id that another tab has just taken becomes another here.
    await opened.shelf.load();
    const ids = await importStates({ module, engine, file, persist, signal, onProgress });
    await this.#keepNew(opened, ids);
    return ids.map((id) => this.#info(id));
  }

  async #cleanUpNow(opened: Opened, policy: CleanUpPolicy, signal: AbortSignal): Promise<string[]> {
    const { intervalMs: _, ...limits } = policy;
    const doomed = JSON.parse(this.#command({ command: "toCleanUp", policy: limits })) as string[];
    const deleted: string[] = [];
    for (const id of doomed) {
      throwIfAborted(signal);
      // One that is being written, here or elsewhere, is in use.
      await opened.locks.ifFree(id, async () => {
        await opened.shelf.refresh([id]);
        // Another tab may have deleted or pinned it.
        if (this.#infos().find((info) => info.id === id)?.pinned !== false) return;
        this.#command({ command: "delete", ids: [id] });
        deleted.push(id);
      });
    }
    await opened.shelf.commit([]);
    return deleted;
  }
}

/**
 * The engine's states and their storage, kept in step.
 *
 * The engine holds all states in memory and says what is to be written; the
 * database may be written by other tabs at any time. So before a state is
 * changed it is read again where another tab has written it, and a write that
 * was overtaken is never forced: what was new here becomes a state of its own.
 */

import type { Engine } from "../engine.js";
import { CacherError, toCacherError } from "../errors.js";
import type { Commit, RecordName, StateDatabase, StoredState } from "./database.js";
import { Turns } from "./turns.js";

/** KV blocks that are read from storage at a time. */
const BLOCKS_AT_ONCE = 8;
/** How often a commit is tried that meets another tab's. */
const ATTEMPTS = 4;

export class StateShelf {
  readonly #engine: () => Engine;
  readonly #database: StateDatabase | undefined;
  readonly #announce: (changed: string[], deleted: string[]) => void;
  /** Readings and commits, which must not cross. */
  readonly #turns = new Turns();
  /** What crashed or closed tabs have left, by state. */
  readonly #drafts = new Map<string, Uint8Array>();

  constructor(
    engine: () => Engine,
    database: StateDatabase | undefined,
    announce: (changed: string[], deleted: string[]) => void,
  ) {
    this.#engine = engine;
    this.#database = database;
    this.#announce = announce;
  }

  get draftIds(): string[] {
    return [...this.#drafts.keys()];
  }

  /** Reads all records; damaged ones are put aside. */
  async load(): Promise<void> {
    await this.#alone(async (database) => {
      const { states, revisions, drafts, blocks } = await database.readAll();
      const engine = this.#engine();
      const damaged: RecordName[] = [];
      engine.readBlockNames(blocks);
      for (const { id, bytes } of revisions) attempt({ store: "revisions", id }, damaged, () => engine.readRevision(id, bytes));
      engine.connectRevisions();
      const stored = new Set(states.map(({ id }) => id));
      for (const state of states) {
        const { id, version, fence, bytes } = state;
        if (engine.stateVersion(id) === version && engine.stateFence(id) === fence) continue;
        attempt({ store: "states", id }, damaged, () => this.#take(state, bytes));
      }
      for (const id of this.#storedIds()) if (!stored.has(id)) engine.loseState(id);
      for (const { id, bytes } of drafts) this.#drafts.set(id, bytes);
      if (damaged.length > 0) await database.quarantine(damaged);
    });
  }

  /** Reads again what other tabs have written of these states; those that they deleted. */
  async refresh(ids: readonly string[]): Promise<string[]> {
    const deleted: string[] = [];
    await this.#alone(async (database) => {
      const stored = new Map((await database.readStates(ids)).map((state) => [state.id, state]));
      for (const id of ids) {
        const state = stored.get(id);
        const engine = this.#engine();
        if (state === undefined) {
          if (engine.stateVersion(id) === 0) continue;
          deleted.push(id);
          engine.loseState(id);
        } else if (engine.stateVersion(id) !== state.version || engine.stateFence(id) !== state.fence) {
          await this.#readAnew(database, state);
        }
      }
      if (deleted.length > 0) this.#engine().readBlockNames((await database.readAll()).blocks);
    });
    return deleted;
  }

  /** Takes up what a tab had left of a generation; whoever calls holds the state's lock. */
  async recover(id: string): Promise<void> {
    const draft = this.#drafts.get(id);
    if (draft === undefined) return;
    this.#drafts.delete(id);
    const damaged: RecordName[] = [];
    attempt({ store: "drafts", id }, damaged, () => this.#engine().recoverDraft(id, draft));
    if (damaged.length > 0) await this.#database?.quarantine(damaged);
    await this.commit([id]);
  }

  /** Keeps what there is of a generation in case the tab ends. */
  async saveDraft(id: string, job: number): Promise<void> {
    const engine = this.#engine();
    const bytes = engine.stateDraft(job);
    if (bytes === undefined || engine.stateVersion(id) === 0) return;
    const drafts = [{ id, fence: engine.stateFence(id), bytes }];
    await this.#database?.commit({ ...EMPTY, drafts });
  }

  /** Stores the states, those of them that are to be kept, and all deletions. */
  async commit(ids: readonly string[]): Promise<void> {
    for (let attempts = 1; ; attempts++) {
      const outcome = await this.#alone((database) => this.#commitOnce(database, ids));
      if (outcome === undefined || outcome.kind === "done") return;
      if (outcome.kind === "conflict") return this.#giveWay(outcome.states);
      if (attempts === ATTEMPTS) throw new CacherError("storage-error", "other tabs write without pause");
      if (outcome.kind === "missing") this.#engine().revisionsMissing(outcome.revisions);
      else await this.load();
    }
  }

  async #commitOnce(database: StateDatabase, ids: readonly string[]) {
    const engine = this.#engine();
    const commit = engine.stateCommit([...ids]);
    if (commit === undefined) return undefined;
    const { handle, ...writes } = commit;
    let done = false;
    try {
      const drafts = commit.states.map(({ id, fence }) => ({ id, fence, bytes: null }));
      const outcome = await database.commit({ ...writes, drafts });
      done = outcome.kind === "done";
      return outcome;
    } finally {
      this.#engine().committed(handle, done);
      if (done) {
        const of = (deleted: boolean) => commit.states.filter(({ bytes }) => (bytes === null) === deleted).map(({ id }) => id);
        this.#announce(of(false), of(true));
      }
    }
  }

  /** Another tab was first: its version stands, and what was new here goes on as a state of its own. */
  async #giveWay(ids: readonly string[]): Promise<never> {
    const copies: string[] = [];
    for (const id of ids) {
      const copy = this.#engine().loseState(id);
      if (copy !== undefined) copies.push(copy);
    }
    await this.refresh(ids);
    await this.#alone(async (database) => {
      for (const state of await database.readStates(ids)) await this.#readAnew(database, state);
    });
    if (copies.length > 0) await this.commit(copies);
    const [id, savedAs] = [ids[0], copies[0] ?? null];
    throw new CacherError("state-conflict", `another tab has changed the state ${id}`, { id, savedAs });
  }

  /** Fetches the KV blocks of a state's text that are stored and not in memory. */
  async fetchBlocks(id: string): Promise<void> {
    if (this.#database === undefined) return;
    const names = this.#engine().missingBlocks(id);
    const damaged: RecordName[] = [];
    for (let at = 0; at < names.length; at += BLOCKS_AT_ONCE) {
      const wanted = names.slice(at, at + BLOCKS_AT_ONCE);
      const blocks = new Map((await this.#database.readBlocks(wanted)).map(({ name, bytes }) => [name, bytes]));
      for (const name of wanted) {
        attempt({ store: "blocks", id: name }, damaged, () => this.#engine().readBlock(name, blocks.get(name)));
      }
    }
    if (damaged.length > 0) await this.#database.quarantine(damaged);
  }

  /** A stored block's record; empty where there is none. */
  async storedBlock(name: string): Promise<Uint8Array> {
    const [block] = (await this.#database?.readBlocks([name])) ?? [];
    return block?.bytes ?? new Uint8Array(0);
  }

  /** Reads a state with the revisions that are not here yet. */
  async #readAnew(database: StateDatabase, state: StoredState): Promise<void> {
    const damaged: RecordName[] = [];
    let wanted: string[] = [];
    attempt({ store: "states", id: state.id }, damaged, () => {
      wanted = this.#engine().revisionsOf(state.bytes);
    });
    const asked = new Set<string>();
    while (wanted.length > 0) {
      wanted.forEach((id) => asked.add(id));
      for (const { id, bytes } of await database.readRevisions(wanted)) {
        attempt({ store: "revisions", id }, damaged, () => this.#engine().readRevision(id, bytes));
      }
      wanted = this.#engine()
        .wantedRevisions()
        .filter((id) => !asked.has(id));
    }
    this.#engine().connectRevisions();
    if (damaged.length === 0) attempt({ store: "states", id: state.id }, damaged, () => this.#take(state, state.bytes));
    if (damaged.length > 0) await database.quarantine(damaged);
  }

  #take({ id, version, fence }: StoredState, bytes: Uint8Array): void {
    const engine = this.#engine();
    // What was not stored of it here goes on as a state of its own.
    if (engine.stateVersion(id) > 0) engine.loseState(id);
    engine.readState(id, version, fence, bytes);
  }

  /** Ids of the states that were in storage when last seen. */
  #storedIds(): string[] {
    const { items } = JSON.parse(this.#engine().stateCommand(LIST_ALL)) as { items: { id: string }[] };
    return items.map(({ id }) => id).filter((id) => this.#engine().stateVersion(id) > 0);
  }

  async #alone<T>(work: (database: StateDatabase) => Promise<T>): Promise<T | undefined> {
    if (this.#database === undefined) return undefined;
    const leave = await this.#turns.take("database", undefined);
    try {
      return await work(this.#database);
    } finally {
      leave();
    }
  }
}

/** The engine counts in 32 bits. */
export const LIST_ALL = JSON.stringify({ command: "list", limit: 0xffff_ffff });

const EMPTY: Commit = { states: [], revisions: [], requires: [], blocks: [], drafts: [], expects: null };

/** A record that cannot be read is noted; one of a newer version is left where it is. */
function attempt(record: RecordName, damaged: RecordName[], read: () => unknown): void {
  try {
    read();
  } catch (error) {
    const { code } = toCacherError(error);
    if (code === "engine-crashed") throw error;
    if (code !== "unsupported-version" && code !== "out-of-memory") damaged.push(record);
  }
}

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
  readonly #tellHere: (changed: string[]) => void;
  /** Readings and commits, which must not cross. */
  readonly #turns = new Turns();
  /** States that had drafts when all was read: of tabs that work on them, or have crashed. */
  #draftIds: string[] = [];
  /** States in storage that are not for this version to read. What they need is not known. */
  readonly #foreign = new Set<string>();
  /** States that were overtaken by other tabs before they could be stored, as states of their own. */
  readonly #overtaken: string[] = [];

  constructor(
    engine: () => Engine,
    database: StateDatabase | undefined,
    announce: (changed: string[], deleted: string[]) => void,
    tellHere: (changed: string[]) => void,
  ) {
    this.#engine = engine;
    this.#database = database;
    this.#announce = announce;
    this.#tellHere = tellHere;
  }

  get draftIds(): string[] {
    return this.#draftIds;
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
      this.#foreign.clear();
      for (const state of states) {
        const { id, version, fence } = state;
        if (engine.stateVersion(id) === version && engine.stateFence(id) === fence) continue;
        this.#attemptToTake(state, damaged);
      }
      for (const id of this.#storedIds()) if (!stored.has(id)) this.#lose(id);
      this.#draftIds = drafts.map(({ id }) => id);
      if (damaged.length > 0) await database.quarantine(damaged);
    });
    await this.#keepOvertaken();
  }

  /** Reads again what other tabs have written of these states; those that they deleted. */
  async refresh(ids: readonly string[]): Promise<string[]> {
    const deleted: string[] = [];
    let isNews = false;
    await this.#alone(async (database) => {
      const stored = new Map((await database.readStates(ids)).map((state) => [state.id, state]));
      for (const id of ids) {
        const state = stored.get(id);
        const engine = this.#engine();
        if (state === undefined) {
          if (engine.stateVersion(id) === 0) continue;
          deleted.push(id);
          this.#lose(id);
        } else if (engine.stateVersion(id) !== state.version || engine.stateFence(id) !== state.fence) {
          await this.#readAnew(database, state);
          isNews = true;
        }
      }
      // With the states, their KV cache comes and goes.
      if (isNews || deleted.length > 0) this.#engine().readBlockNames(await database.readBlockNames());
    });
    await this.#keepOvertaken();
    return deleted;
  }

  /** Takes up what a tab had left of a generation; whoever calls holds the state's lock. */
  async recover(id: string): Promise<void> {
    const [draft] = (await this.#database?.readDrafts([id])) ?? [];
    if (draft === undefined || this.#engine().stateVersion(id) === 0) return;
    const damaged: RecordName[] = [];
    let isOfNow = true;
    const isForeign = attempt({ store: "drafts", id }, damaged, () => {
      isOfNow = this.#engine().recoverDraft(id, draft.bytes);
    });
    if (isForeign) return;
    if (damaged.length > 0) await this.#database?.quarantine(damaged);
    else if (isOfNow) await this.commit([id]);
    else await this.dropDraft(id);
  }

  /** Keeps what there is of a generation in case the tab ends. */
  async saveDraft(id: string, job: number): Promise<void> {
    const engine = this.#engine();
    const bytes = engine.stateDraft(job);
    if (bytes === undefined || engine.stateVersion(id) === 0) return;
    const drafts = [{ id, fence: engine.stateFence(id), bytes }];
    await this.#database?.commit({ ...EMPTY, drafts });
  }

  /** Forgets the draft of a generation that has failed. */
  async dropDraft(id: string): Promise<void> {
    const fence = this.#engine().stateFence(id);
    await this.#database?.commit({ ...EMPTY, drafts: [{ id, fence, bytes: null }] });
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
    const { handle, ...all } = commit;
    const writes = this.#foreign.size === 0 ? all : withoutShared(all);
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
    if (damaged.length === 0) this.#attemptToTake(state, damaged);
    if (damaged.length > 0) await database.quarantine(damaged);
  }

  #attemptToTake({ id, version, fence, bytes }: StoredState, damaged: RecordName[]): void {
    const isForeign = attempt({ store: "states", id }, damaged, () => {
      if (this.#engine().stateVersion(id) > 0) this.#lose(id);
      this.#engine().readState(id, version, fence, bytes);
    });
    if (isForeign) this.#foreign.add(id);
    else this.#foreign.delete(id);
  }

  /** What was not stored of a state here goes on as a state of its own. */
  #lose(id: string): void {
    const copy = this.#engine().loseState(id);
    if (copy !== undefined) this.#overtaken.push(copy);
  }

  async #keepOvertaken(): Promise<void> {
    const ids = this.#overtaken.splice(0);
    if (ids.length === 0) return;
    try {
      await this.commit(ids);
    } catch (error) {
      if (!STORAGE_ERRORS.has(toCacherError(error).code)) throw error;
      // They are listed as what could not be stored yet.
      this.#tellHere(ids);
    }
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

/** Failures of storage after which the states in memory are still good. */
export const STORAGE_ERRORS: ReadonlySet<string> = new Set(["storage-full", "storage-error"]);

/** Deletes states alone: what else would go may be needed by states that cannot be read, and goes another time. */
function withoutShared<Writes extends Omit<Commit, "drafts">>(commit: Writes): Writes {
  const kept = <Item extends { bytes: Uint8Array | null }>(items: Item[]) => items.filter(({ bytes }) => bytes !== null);
  return { ...commit, revisions: kept(commit.revisions), blocks: kept(commit.blocks), expects: null };
}

/** A record that cannot be read is noted; one of a newer version is left where it is, which is then told. */
function attempt(record: RecordName, damaged: RecordName[], read: () => unknown): boolean {
  try {
    read();
  } catch (error) {
    const { code } = toCacherError(error);
    if (code === "engine-crashed") throw error;
    if (code === "unsupported-version" || code === "out-of-memory") return true;
    damaged.push(record);
  }
  return false;
}

/**
 * The states of the loaded model: the list, the one that is open, and all that
 * can be done to them. What goes wrong is kept as words for the panel.
 */

import { describeStateFailure, errorCode, type Failure } from "../failure.ts";
import type { CreateState, ExportOptions, State, StateInfo, States, StatesUsage } from "cacher-wasm";
import { exportName, saveFile } from "./files.ts";
import { OpenState } from "./open-state.svelte.ts";
import { stateName } from "./words.ts";

/** How many states the list shows at first, and how many more each time. */
const PAGE = 50;

export class StateLibrary {
  items = $state.raw<readonly StateInfo[]>([]);
  /** Of all that match the search. */
  total = $state(0);
  search = $state("");
  usage = $state.raw<StatesUsage | null>(null);
  current = $state.raw<OpenState | null>(null);
  failure = $state.raw<Failure | null>(null);
  /** What was done last, for the status line. */
  done = $state("");

  #states = $state.raw<States | null>(null);
  #limit = PAGE;
  #unsubscribe: () => void = () => {};
  #refreshing: Promise<void> | null = null;
  #stale = false;
  readonly #changed: (open: OpenState | null) => void;

  /** `changed` is told when another state, or another text of it, is open. */
  constructor(changed: (open: OpenState | null) => void) {
    this.#changed = changed;
  }

  /** Whether a model is loaded, without which there are no states. */
  get attached(): boolean {
    return this.#states !== null;
  }

  async attach(states: States): Promise<void> {
    this.detach();
    this.#states = states;
    this.#unsubscribe = states.subscribe(() => void this.refresh());
    await this.refresh();
  }

  detach(): void {
    this.#unsubscribe();
    this.#unsubscribe = () => {};
    this.#states = null;
    this.current = null;
    this.items = [];
    this.total = 0;
    this.usage = null;
    this.failure = null;
    this.done = "";
  }

  /** Reads everything shown; calls while it is at it become one more reading. */
  refresh(): Promise<void> {
    this.#stale = true;
    this.#refreshing ??= this.#readWhileStale().finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  async #readWhileStale(): Promise<void> {
    while (this.#stale && this.#states) {
      this.#stale = false;
      const states = this.#states;
      try {
        const [{ items, total }, usage] = await Promise.all([
          states.list({ search: this.search.trim(), limit: this.#limit }),
          states.usage(),
        ]);
        if (this.#states !== states) return;
        this.items = items;
        this.total = total;
        this.usage = usage;
        await this.#refreshCurrent();
      } catch (error) {
        if (this.#states === states) this.failure = describeStateFailure(error);
      }
    }
  }

  async #refreshCurrent(): Promise<void> {
    const open = this.current;
    if (!open) return;
    const before = open.reading;
    try {
      await open.refresh();
    } catch (error) {
      if (errorCode(error) !== "state-not-found") throw error;
      // Deleted here or in another tab.
      if (this.current === open) this.#show(null);
      return;
    }
    if (this.current === open && open.reading !== before) this.#changed(open);
  }

  showMore(): void {
    this.#limit += PAGE;
    void this.refresh();
  }

  /** Does something to the states and shows the outcome, `done` in words; false where it failed. */
  async attempt(done: string, work: (states: States) => Promise<unknown>): Promise<boolean> {
    if (!this.#states) return false;
    this.failure = null;
    this.done = "";
    try {
      await work(this.#states);
      await this.refresh();
      this.done = done;
      return true;
    } catch (error) {
      this.failure = describeStateFailure(error);
      // Another tab may be why; the list then is out of date.
      await this.refresh();
      return false;
    }
  }

  /** Makes a state and opens it; for the writing, which shows failures itself. */
  async create(options: CreateState): Promise<OpenState> {
    const open = await OpenState.from(await this.#states!.create(options));
    this.#show(open);
    return open;
  }

  open(id: string): Promise<boolean> {
    return this.attempt("State opened.", async (states) => this.openHandle(await states.get(id)));
  }

  async openHandle(state: State): Promise<void> {
    this.#show(await OpenState.from(state));
  }

  #show(open: OpenState | null): void {
    this.current = open;
    this.#changed(open);
  }

  remove(info: StateInfo): Promise<boolean> {
    return this.attempt(`Deleted “${stateName(info)}”.`, (states) => states.delete(info.id));
  }

  pin(info: StateInfo): Promise<boolean> {
    const done = info.pinned ? "No longer pinned." : "Pinned: clean-up leaves it alone.";
    return this.attempt(done, async (states) => (await states.get(info.id)).pin(!info.pinned));
  }

  rename(info: StateInfo, name: string): Promise<boolean> {
    const wanted = name.trim();
    return this.attempt("Renamed.", async (states) => (await states.get(info.id)).update({ name: wanted === "" ? null : wanted }));
  }

  /** Of the open state, at its head or a former revision, with all tokens or the first `keep`. The fork is then open. */
  fork(open: OpenState, { revision, keep, fresh }: { revision?: string; keep?: number; fresh: boolean }): Promise<boolean> {
    return this.attempt("Forked. The fork is open now; the original stays as it is.", async () => {
      const fork = await forkAt(open.handle, revision, keep);
      if (fresh) await fork.reseed();
      await this.openHandle(fork);
    });
  }

  /** Saves a file: one state, or all. */
  export(which: StateInfo | null, options: ExportOptions): Promise<boolean> {
    return this.attempt("Exported. The browser saves the file.", async (states) => {
      const file = await states.export(which ? [which.id] : undefined, options);
      saveFile(file, exportName(which ? stateName(which) : "all states", options.format ?? "binary"));
    });
  }

  import(files: readonly File[]): Promise<boolean> {
    return this.attempt(files.length === 1 ? "Imported." : `Imported ${files.length} files.`, async (states) => {
      const imported: State[] = [];
      for (const file of files) imported.push(...(await states.import(file)));
      if (imported[0]) await this.openHandle(imported[0]);
    });
  }

  keep(): Promise<boolean> {
    return this.attempt("", async (states) => {
      if (await states.persist()) return;
      throw new Error("the browser did not agree; using this page often or bookmarking it may change that");
    });
  }

  /** Stores what could not be stored before. */
  save(): Promise<boolean> {
    return this.attempt("Everything is stored.", (states) => states.save());
  }
}

async function forkAt(state: State, revision: string | undefined, keep: number | undefined): Promise<State> {
  const at = revision ?? keep;
  const fork = await state.fork(at === undefined ? {} : { at });
  if (revision === undefined || keep === undefined) return fork;
  // The tokens of a former revision can only be counted in a state that stands there.
  try {
    return await fork.fork({ at: keep });
  } finally {
    await fork.delete();
  }
}

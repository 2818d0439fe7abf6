/**
 * The response cache of the loaded model as the panel shows it: its figures
 * and how they came about over the visit, its entries, and all that can be
 * done to them. What goes wrong is kept as words for the panel.
 */

import type { CacheEntry, CacheStats, ExplainedGeneration, GenerationCache, Invalidation, ListCacheEntries } from "cacher-wasm";
import { describeCacheFailure, type Failure } from "../failure.ts";
import { saveFile } from "../states/files.ts";
import type { CacheTuning } from "./cache-settings.svelte.ts";
import { pageOf } from "./paging.ts";
import { addSample, toSample, type Sample } from "./samples.ts";
import { countEntries } from "./words.ts";

/** How many entries the table shows. */
export const PAGE_SIZE = 20;
/** A stream of events is read at most so often. */
const INTERVAL_MS = 400;

export type Sort = NonNullable<ListCacheEntries["sort"]>;

export interface Inspected {
  entry: CacheEntry;
  value: unknown;
  /** What the key is the hash of; `null` where this visit did not ask for it. */
  request: string | null;
}

export class AnswerCache {
  stats = $state.raw<CacheStats | null>(null);
  /** Of the whole visit, whichever models were loaded. */
  samples = $state.raw<readonly Sample[]>([]);
  items = $state.raw<readonly CacheEntry[]>([]);
  /** Of all that match the search. */
  total = $state(0);
  search = $state("");
  sort = $state<Sort>("used");
  order = $state<"asc" | "desc">("desc");
  page = $state(0);
  remote = $state(false);
  inspected = $state.raw<Inspected | null>(null);
  failure = $state.raw<Failure | null>(null);
  /** What was done last, for the status line. */
  done = $state("");
  /** SHA-256 of the loaded model's weights; empty while there is none. */
  model = $state("");

  #cache = $state.raw<GenerationCache | null>(null);
  #unsubscribe: () => void = () => {};
  #tuning: Partial<CacheTuning> = {};
  #timer: ReturnType<typeof setTimeout> | undefined;
  #refreshing: Promise<void> | null = null;
  #stale = false;
  readonly #requests = new Map<string, string>();

  /** Whether a model is loaded, whose cache this is. */
  get attached(): boolean {
    return this.#cache !== null;
  }

  /** `tuning`: what it was opened with; `model`: SHA-256 of the weights. */
  async attach(cache: GenerationCache, tuning: CacheTuning, model: string): Promise<void> {
    this.detach();
    this.#cache = cache;
    this.model = model;
    this.#tuning = tuning;
    this.#unsubscribe = cache.subscribe(() => this.#refreshSoon());
    await this.refresh();
  }

  detach(): void {
    this.#unsubscribe();
    this.#unsubscribe = () => {};
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#cache = null;
    this.stats = null;
    this.items = [];
    this.total = 0;
    this.inspected = null;
    this.failure = null;
    this.done = "";
    this.model = "";
  }

  #refreshSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.refresh();
    }, INTERVAL_MS);
  }

  /** Reads everything shown; calls while it is at it become one more reading. */
  refresh(): Promise<void> {
    this.#stale = true;
    this.#refreshing ??= this.#readWhileStale().finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  async #readWhileStale(): Promise<void> {
    while (this.#stale && this.#cache) {
      this.#stale = false;
      const cache = this.#cache;
      const { sort, order, page, remote } = this;
      try {
        const search = this.search.trim();
        const query = { ...(search === "" ? {} : { search }), sort, order, offset: page * PAGE_SIZE, limit: PAGE_SIZE, remote };
        const [stats, { items, total }] = await Promise.all([cache.stats(), cache.entries(query)]);
        if (this.#cache !== cache) return;
        this.stats = stats;
        this.samples = addSample(this.samples, toSample(stats, Date.now()));
        this.items = items;
        this.total = total;
        // Deleting may have emptied the last page.
        const { index } = pageOf(this.page, PAGE_SIZE, total);
        if (index !== this.page) this.turnTo(index);
      } catch (error) {
        if (this.#cache === cache) this.failure = describeCacheFailure(error);
      }
    }
  }

  /** `remote`: the list has what lies on servers alone, too. */
  listRemote(remote: boolean): void {
    this.remote = remote;
    this.failure = null;
    this.find();
  }

  find(): void {
    this.page = 0;
    void this.refresh();
  }

  /** The largest or latest first; asked for again, the other way round. */
  sortBy(sort: Sort): void {
    this.order = this.sort === sort && this.order === "desc" ? "asc" : "desc";
    this.sort = sort;
    this.find();
  }

  turnTo(page: number): void {
    this.page = page;
    void this.refresh();
  }

  /** Does something to the cache and shows the outcome, `done` in words; false where it failed. */
  async attempt(done: string, work: (cache: GenerationCache) => Promise<unknown>): Promise<boolean> {
    if (!this.#cache) return false;
    this.failure = null;
    this.done = "";
    try {
      await work(this.#cache);
      await this.refresh();
      this.done = done;
      return true;
    } catch (error) {
      this.failure = describeCacheFailure(error);
      return false;
    }
  }

  /** Takes over settings that can change while it is open. */
  async tune(tuning: CacheTuning): Promise<void> {
    const names = Object.keys(tuning) as (keyof CacheTuning)[];
    const changed = names.filter((name) => JSON.stringify(tuning[name]) !== JSON.stringify(this.#tuning[name]));
    if (changed.length === 0) return;
    this.#tuning = tuning;
    await this.attempt("Applied.", (cache) => cache.configure(Object.fromEntries(changed.map((name) => [name, tuning[name]]))));
  }

  /** Keeps what a request's key is the hash of, to show it with the entry. */
  noteRequest(explained: ExplainedGeneration | null): void {
    if (explained) this.#requests.set(explained.key, explained.json);
  }

  inspect(key: string): Promise<boolean> {
    return this.attempt("", async (cache) => {
      const found = await cache.entry(key);
      if (!found) throw Object.assign(new Error("The entry is gone"), { code: "not-found" });
      const { value, ...entry } = found;
      this.inspected = { entry, value, request: this.#requests.get(key) ?? null };
    });
  }

  async pin({ key, pinned, tags }: CacheEntry): Promise<void> {
    const byTag = tags.some((tag) => this.#tuning.pinnedTags?.includes(tag));
    const done = !pinned ? "Pinned: it stays when room runs short." : byTag ? "Still pinned, by its tag: see Settings." : "No longer pinned.";
    if (!(await this.attempt(done, (cache) => cache.pin(key, !pinned)))) return;
    const { inspected } = this;
    if (inspected?.entry.key === key) this.inspected = { ...inspected, entry: { ...inspected.entry, pinned: byTag || !pinned } };
  }

  async remove({ key }: CacheEntry): Promise<void> {
    this.inspected = null;
    await this.attempt("Deleted.", (cache) => cache.delete(key));
  }

  invalidate(invalidation: Invalidation): Promise<void> {
    return this.#attemptCounted("Deleted", (cache) => cache.invalidate(invalidation));
  }

  /** `remote`: the servers shared with others too. */
  clear(remote: boolean): Promise<boolean> {
    return this.attempt("The cache is empty.", (cache) => cache.clear({ remote }));
  }

  resetStats(): Promise<boolean> {
    return this.attempt("Counting begins anew.", (cache) => cache.resetStats());
  }

  export(): Promise<boolean> {
    return this.attempt("Exported. The browser saves the file.", async (cache) => saveFile(await cache.export(), "answers.cacher-cache"));
  }

  import(file: Blob): Promise<void> {
    return this.#attemptCounted("Imported", (cache) => cache.import(file));
  }

  async #attemptCounted(done: string, work: (cache: GenerationCache) => Promise<number>): Promise<void> {
    let count = 0;
    if (await this.attempt("", async (cache) => (count = await work(cache)))) this.done = `${done} ${countEntries(count)}.`;
  }

  /** The figures in the text format of Prometheus. */
  async prometheus(): Promise<string> {
    return (await this.#cache?.prometheus()) ?? "";
  }
}

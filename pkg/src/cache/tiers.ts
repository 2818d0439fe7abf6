/**
 * Memory and the layers behind it as one place: read through with promotion,
 * written back.
 *
 * Memory is the core's. What a layer gives is checked by the core before it
 * counts; what it refuses is deleted where it is on this device, and the next
 * layer is asked.
 * A layer that fails is passed over: nothing here rejects because of one.
 */

import type { LocalLayer } from "../cache-layers/layer.js";
import type { OpenedLayer } from "../cache-layers/open.js";
import { toCacherError } from "../errors.js";
import { isKey } from "./channel.js";
import { Found, type Core, type CoreStatics, type NewEntry } from "./core.js";
import type { CacheEntry, Invalidation } from "./types.js";

/** What layers do for a request is wanted by all who wait for it, so none may end it. */
const NEVER = new AbortController().signal;

/** Of no request. */
const NO_KEY = "0".repeat(64);

export interface Hit {
  /** Expired, and given while it is computed anew. */
  stale: boolean;
  /** To be computed anew before it expires. */
  due: boolean;
  layer: string;
  entry: CacheEntry;
  value: string | Uint8Array;
}

export interface FindSettings {
  stale: boolean;
  /** As a use, and in the figures. */
  count: boolean;
}

export class Tiers {
  readonly #core: Core;
  readonly #statics: CoreStatics;
  readonly #tiers: readonly OpenedLayer[];
  /** By layer: keys that were deleted while it was down. */
  readonly #owed = new Map<string, Set<string>>();
  readonly #onRejected: (layer: string, key: string, reason: string) => void;

  constructor(
    core: Core,
    statics: CoreStatics,
    tiers: readonly OpenedLayer[],
    onRejected: (layer: string, key: string, reason: string) => void,
  ) {
    this.#core = core;
    this.#statics = statics;
    this.#tiers = tiers;
    this.#onRejected = onRejected;
  }

  get all(): readonly OpenedLayer[] {
    return this.#tiers;
  }

  /** Those that keep facts. */
  get local(): { name: string; local: LocalLayer }[] {
    return this.#tiers.flatMap(({ name, local }) => (local === undefined ? [] : [{ name, local }]));
  }

  /** Has local layers open what they open when they are first asked, which takes longer than the asking. */
  open(): void {
    for (const { layer, local } of this.#tiers) if (local !== undefined) void layer.get(NO_KEY, NEVER, true);
  }

  async find(key: string, settings: FindSettings): Promise<Hit | undefined> {
    const found = this.#core.find(key, Date.now(), Math.random(), settings.stale, settings.count);
    return found === Found.Miss ? this.#findBehind(key, this.#tiers, settings) : this.#hit(found, "memory");
  }

  /** Once more, in memory and on this device, after a miss. */
  async findAgain(key: string): Promise<Hit | undefined> {
    const found = this.#core.find(key, Date.now(), 0, false, false);
    if (found !== Found.Miss) return this.#hit(found, "memory");
    return this.#findBehind(key, this.#tiers.filter(({ local }) => local !== undefined), { stale: false, count: false });
  }

  async #findBehind(key: string, tiers: readonly OpenedLayer[], settings: FindSettings): Promise<Hit | undefined> {
    for (const [index, tier] of tiers.entries()) {
      const bytes = await tier.layer.get(key, NEVER, !settings.count);
      if (bytes === undefined || this.#owed.get(tier.name)?.has(key) === true) continue;
      const hit = this.#admit(key, bytes, tier, settings);
      if (hit === "refused") {
        // Waited for, lest it take what is put in its place. Elsewhere it may be good
        // for others, who have another secret; an answer of ours takes its place.
        if (tier.local !== undefined) await tier.layer.delete([key], NEVER);
      } else if (hit !== undefined) {
        void this.#write(key, hit.entry, this.#core.foundRecord(), tiers.slice(0, index));
        return hit;
      }
    }
    return undefined;
  }

  /** A record that another tab has sent. */
  take(key: string, record: Uint8Array, settings: Pick<FindSettings, "stale">): Hit | undefined {
    const hit = this.#admit(key, record, undefined, settings);
    return hit === "refused" ? undefined : hit;
  }

  /** Puts a new entry into memory; `local` once it is on this device, `written` once it is in all layers. */
  put(entry: NewEntry, value: string | Uint8Array, vector: Float32Array | undefined): {
    entry: CacheEntry;
    record: Uint8Array;
    local: Promise<void>;
    written: Promise<void>;
  } {
    this.#core.insert(JSON.stringify(entry), value, vector, Date.now(), Math.random());
    const facts = this.#entry();
    const record = this.#core.foundRecord();
    const { semantic } = entry;
    const isLocal = (tier: OpenedLayer) => tier.local !== undefined;
    const local = this.#write(entry.key, facts, record, this.#tiers.filter(isLocal)).then(async () => {
      if (semantic === null || vector === undefined) return;
      for (const { local } of this.local) await local.setVector?.({ key: entry.key, ...semantic, vector }).catch(() => undefined);
    });
    const elsewhere = this.#write(entry.key, facts, record, this.#tiers.filter((tier) => !isLocal(tier)));
    const written = Promise.all([local, elsewhere]).then(() => undefined);
    return { entry: facts, record, local, written };
  }

  /**
   * Takes a record as it is into memory and onto this device, and not to others,
   * for whom it would be signed; its key, or nothing where it is expired.
   * Error: `invalid-cache-record`.
   */
  async adopt(record: Uint8Array): Promise<string | undefined> {
    const { key } = JSON.parse(this.#statics.inspect(record)) as CacheEntry;
    const found = this.#core.admit(key, record, "import", Date.now(), Math.random(), true);
    if (found === Found.Miss) return undefined;
    await this.#write(key, this.#entry(), record, this.#tiers.filter(({ local }) => local !== undefined));
    return key;
  }

  /** From everywhere. */
  async delete(keys: readonly string[]): Promise<void> {
    this.#core.delete([...keys]);
    const remove = async ({ name, layer }: OpenedLayer) => {
      const done = await layer.delete(keys, NEVER);
      if (done || layer.health.health === "ok") return;
      const owed = this.#owed.get(name) ?? new Set();
      for (const key of keys) owed.add(key);
      this.#owed.set(name, owed);
    };
    await Promise.all(this.#tiers.map(remove));
  }

  /** Deletes from a layer that is well again what was to be deleted while it was down. */
  async settle(name: string): Promise<void> {
    const owed = this.#owed.get(name);
    const tier = this.#tiers.find((each) => each.name === name);
    if (owed === undefined || tier === undefined) return;
    const keys = [...owed];
    // Until then they count as deleted.
    if (await tier.layer.delete(keys, NEVER)) for (const key of keys) owed.delete(key);
  }

  /** Rejects where a layer could not be cleared, once the others are. */
  async clear(remote: boolean): Promise<void> {
    this.#core.clear();
    const wanted = this.#tiers.filter(({ local }) => remote || local !== undefined);
    const outcomes = await Promise.allSettled(wanted.map(({ layer }) => layer.clear(NEVER)));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** Keys, in all layers, of the entries that are meant; and why a layer could not be searched. */
  async matching(invalidation: Invalidation): Promise<{ keys: string[]; fault: unknown }> {
    let fault: unknown;
    const now = Date.now();
    const keys = new Set(this.#core.matching(JSON.stringify(invalidation), now));
    for (const { layer, local, secret } of this.#tiers) {
      if (local !== undefined) {
        for (const entry of await this.#factsOf(local)) if (isMeant(entry, invalidation, now)) keys.add(entry.key);
        continue;
      }
      try {
        for await (const [key, entry] of this.#searched(layer, secret)) if (isMeant(entry, invalidation, now)) keys.add(key);
      } catch (error) {
        fault ??= error;
      }
    }
    return { keys: [...keys], fault };
  }

  /** Facts of all entries in memory and on this device; `remote`: in all layers. Rejects where one of the others cannot be listed. */
  async entries(remote = false): Promise<CacheEntry[]> {
    const entries = new Map<string, CacheEntry>();
    for (const entry of JSON.parse(this.#core.entries()) as CacheEntry[]) entries.set(entry.key, entry);
    const add = (name: string, stored: CacheEntry) => {
      const known = entries.get(stored.key);
      // Redis may tell a key twice.
      if (known?.layers.includes(name)) return;
      entries.set(stored.key, {
        ...(known ?? stored),
        lastUsed: Math.max(stored.lastUsed, known?.lastUsed ?? 0),
        hits: Math.max(stored.hits, known?.hits ?? 0),
        pinned: stored.pinned || known?.pinned === true,
        layers: [...(known?.layers ?? []), name],
      });
    };
    for (const { name, layer, local, secret } of this.#tiers) {
      if (local !== undefined) for (const stored of await this.#factsOf(local)) add(name, stored);
      else if (remote) {
        // What lies under another's key is nobody's answer.
        for await (const [key, stored] of this.#searched(layer, secret)) if (stored.key === key) add(name, stored);
      }
    }
    return [...entries.values()];
  }

  /** Everything that is in memory or on this device, as records. */
  async *records(): AsyncGenerator<Uint8Array> {
    for (const { key } of await this.entries()) {
      if (this.#core.find(key, Date.now(), 0, true, false) !== Found.Miss) {
        yield this.#core.foundRecord();
        continue;
      }
      for (const { layer, local, secret } of this.#tiers) {
        const bytes = local === undefined ? undefined : await layer.get(key, NEVER);
        if (bytes === undefined || this.#inspect(bytes, secret) === undefined) continue;
        yield bytes;
        break;
      }
    }
  }

  /** Keys and facts of a layer that knows keys alone, so each record has to be looked into. */
  async *#searched(layer: OpenedLayer["layer"], secret: string | null): AsyncGenerator<[key: string, entry: CacheEntry]> {
    for await (const batch of layer.keys(NEVER)) {
      for (const key of batch.filter(isKey)) {
        const entry = this.#inspect(await layer.get(key, NEVER), secret);
        if (entry !== undefined) yield [key, entry];
      }
    }
  }

  async #factsOf(local: LocalLayer): Promise<CacheEntry[]> {
    const facts: CacheEntry[] = [];
    try {
      for await (const batch of local.entries(NEVER)) facts.push(...batch);
    } catch {
      // Its health says so; what there is of it is told.
    }
    return facts;
  }

  #admit(key: string, bytes: Uint8Array, tier: OpenedLayer | undefined, { stale }: Pick<FindSettings, "stale">): Hit | "refused" | undefined {
    const name = tier?.name ?? "other-tab";
    try {
      const record = verified(this.#statics, bytes, tier?.secret);
      const found = this.#core.admit(key, record, name, Date.now(), Math.random(), stale);
      if (found === Found.Miss) return undefined;
      return this.#hit(found, name);
    } catch (error) {
      const { code, message } = toCacherError(error);
      if (code !== "invalid-cache-record") throw error;
      this.#onRejected(name, key, message);
      return "refused";
    }
  }

  #inspect(bytes: Uint8Array | undefined, secret: string | null): CacheEntry | undefined {
    if (bytes === undefined) return undefined;
    try {
      return JSON.parse(this.#statics.inspect(verified(this.#statics, bytes, secret))) as CacheEntry;
    } catch {
      return undefined;
    }
  }

  #hit(found: number, layer: string): Hit {
    return {
      stale: found === Found.Stale,
      due: found === Found.Due,
      layer,
      entry: this.#entry(),
      value: this.#core.foundValue(),
    };
  }

  #entry(): CacheEntry {
    return JSON.parse(this.#core.foundEntry()) as CacheEntry;
  }

  async #write(key: string, entry: CacheEntry, record: Uint8Array, tiers: readonly OpenedLayer[]): Promise<void> {
    // Pins by tag are the settings' affair; those by key the layers know.
    const facts = { ...entry, pinned: false };
    const write = async ({ name, layer, secret }: OpenedLayer) => {
      const done = await layer.set(key, secret === null ? record : this.#statics.sign(record, secret), facts, NEVER);
      if (done) this.#owed.get(name)?.delete(key);
    };
    await Promise.all(tiers.map(write));
  }
}

function verified(statics: CoreStatics, bytes: Uint8Array, secret: string | null | undefined): Uint8Array {
  return secret === null || secret === undefined ? bytes : statics.verify(bytes, secret);
}

function isMeant(entry: CacheEntry, { keys, tags, model, olderThanMs }: Invalidation, now: number): boolean {
  return (
    (keys === undefined || keys.includes(entry.key)) &&
    (tags === undefined || tags.some((tag) => entry.tags.includes(tag))) &&
    (model === undefined || entry.model === model) &&
    (olderThanMs === undefined || now - entry.created > olderThanMs)
  );
}

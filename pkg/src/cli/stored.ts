/**
 * `cache-stats`, `cache-list` and `cache-clear`: what was kept by earlier runs.
 *
 * They work without a model. A process that has just begun has no hits of its
 * own, so what is told of hits are those that the entries themselves have counted,
 * which those on a server do not.
 */

import type { CacheEntry, Invalidation } from "../cache/types.js";
import { abortError } from "../errors.js";
import type { Api, Cache, Io } from "./api.js";
import { lastingBackendOf, type Backend } from "./backend.js";
import { bytes, json, line, plural, table, time } from "./format.js";
import { usageError, type Values } from "./parse.js";
import { count, duration } from "./values.js";

/** Entries that are asked for at a time: as many as a folder has by default, since each asking reads all of them. */
const PAGE = 10_000;
/** The largest limit that there is. */
const MOST = 0xffff_ffff;
const DEFAULT_LIMIT = 20;

export async function stats(values: Values, api: Api, io: Io): Promise<number> {
  return withCache(values, api, io, async (cache, backend) => {
    const total = totals(await allEntries(cache, isRemote(backend)));
    const used = isRemote(backend) ? { hits: null, savedMs: null, savedTokens: null } : {};
    const { layers } = await cache.stats();
    const layer = layers.find(({ name }) => name !== "memory");
    if (values.json === true) {
      io.out(json({ backend: backend.kind, place: backend.place, ...total, ...used, layer: layer ?? null }));
      return 0;
    }
    const rows = [
      [backend.kind, line(backend.place, 200)],
      ["answers", String(total.entries)],
      ["size", `${bytes(total.bytes)}, ${bytes(total.rawBytes)} before compression`],
      ...(isRemote(backend) ? [] : [["hits", String(total.hits)], ["saved", `${time(total.savedMs)}, ${plural(total.savedTokens, "token")}`]]),
      ...total.models.map(({ model, entries }) => ["model", `${model}, ${plural(entries, "answer")}`]),
    ];
    if (layer?.health === "down") rows.push(["out of order", line(layer.reason ?? "", 200)]);
    io.out(table(rows));
    return 0;
  });
}

export async function list(values: Values, api: Api, io: Io): Promise<number> {
  const { search } = values;
  const limit = values.limit === undefined ? DEFAULT_LIMIT : count("limit", values.limit);
  return withCache(values, api, io, async (cache, backend) => {
    const { items, total } = await cache.entries({ limit, remote: isRemote(backend), ...(search === undefined ? {} : { search }) });
    if (values.json === true) {
      io.out(json({ total, items }));
      return 0;
    }
    const now = Date.now();
    const rows = items.map((entry) => [
      entry.key.slice(0, 12),
      time(Math.max(0, now - entry.created)),
      bytes(entry.bytes),
      ...(isRemote(backend) ? [] : [plural(entry.hits, "hit")]),
      line(entry.title, 60),
    ]);
    io.out(table(rows));
    if (total === 0) io.err("no answers\n");
    if (total > items.length) io.err(`${items.length} of ${plural(total, "answer")}; more with --limit\n`);
    return 0;
  });
}

export async function clear(values: Values, api: Api, io: Io): Promise<number> {
  const invalidation: Invalidation = {
    ...(values.tag === undefined ? {} : { tags: values.tag }),
    ...(values.model === undefined ? {} : { model: sha256(values.model) }),
    ...(values["older-than"] === undefined ? {} : { olderThanMs: duration("older-than", values["older-than"]) }),
  };
  const { kind } = lastingBackendOf(values, io);
  const remote = values.remote === true;
  if (remote && kind !== "redis") throw usageError("--remote: needs --cache-backend redis");
  if (!remote && kind === "redis") throw usageError("cache-clear: others may use the answers in Redis too; add --remote to delete them");
  return withCache(values, api, io, async (cache) => {
    let here: number;
    if (Object.keys(invalidation).length > 0) {
      here = await cache.invalidate(invalidation);
    } else {
      here = (await cache.entries({ limit: 1 })).total;
      await cache.clear({ remote });
    }
    // Only what is on this device is counted.
    const deleted = remote ? null : here;
    if (values.json === true) io.out(json({ deleted }));
    else io.err(deleted === null ? "deleted\n" : `${plural(deleted, "answer")} deleted\n`);
    return 0;
  });
}

async function withCache(
  values: Values,
  api: Api,
  io: Io,
  use: (cache: Cache, backend: Backend) => Promise<number>,
): Promise<number> {
  const backend = lastingBackendOf(values, io);
  const cache = await api.openCache(backend.options);
  try {
    return await Promise.race([use(cache, backend), interruption(io.interrupted)]);
  } finally {
    // Ends what is in progress, too.
    await cache.close();
  }
}

function interruption(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(abortError(signal));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** A server tells nothing by itself: its answers are looked into, and uses are not counted there. */
function isRemote({ kind }: Backend): boolean {
  return kind === "redis";
}

async function allEntries(cache: Cache, remote: boolean): Promise<CacheEntry[]> {
  const all: CacheEntry[] = [];
  // Each page would fetch all of them anew.
  const limit = remote ? MOST : PAGE;
  for (;;) {
    const { items } = await cache.entries({ sort: "created", order: "asc", offset: all.length, limit, remote });
    all.push(...items);
    if (items.length < limit) return all;
  }
}

function totals(entries: readonly CacheEntry[]) {
  const sum = (valueOf: (entry: CacheEntry) => number) => entries.reduce((total, entry) => total + valueOf(entry), 0);
  const models = new Map<string, number>();
  for (const { model } of entries) if (model !== null) models.set(model, (models.get(model) ?? 0) + 1);
  return {
    entries: entries.length,
    bytes: sum((entry) => entry.bytes),
    rawBytes: sum((entry) => entry.rawBytes),
    hits: sum((entry) => entry.hits),
    savedMs: sum((entry) => entry.hits * entry.costMs),
    savedTokens: sum((entry) => entry.hits * entry.tokens),
    models: [...models].map(([model, entries]) => ({ model, entries })),
  };
}

function sha256(text: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw usageError("--model: must be the SHA-256 of the weights, 64 hexadecimal digits; cache-stats tells it");
  return text.toLowerCase();
}

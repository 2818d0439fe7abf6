/**
 * Which entries a list shows, and in which order.
 */

import type { CacheEntry, ListCacheEntries } from "./types.js";

/** What each order goes by; entries that never expire come after all that do. */
const SORT_BY: Record<NonNullable<ListCacheEntries["sort"]>, (entry: CacheEntry) => number> = {
  used: ({ lastUsed }) => lastUsed,
  created: ({ created }) => created,
  expires: ({ expires }) => expires ?? Infinity,
  bytes: ({ bytes }) => bytes,
  hits: ({ hits }) => hits,
  cost: ({ costMs }) => costMs,
};

export function listEntries(
  entries: readonly CacheEntry[],
  { search = "", tags = [], sort = "used", order = "desc", offset = 0, limit = 100 }: ListCacheEntries,
): { items: CacheEntry[]; total: number } {
  const wanted = search.toLowerCase();
  const shows = ({ title, tags: has, key }: CacheEntry) =>
    tags.every((tag) => has.includes(tag)) && [title, key, ...has].some((text) => text.toLowerCase().includes(wanted));
  const by = SORT_BY[sort];
  const compare = (a: CacheEntry, b: CacheEntry) => {
    const [x, y] = [by(a), by(b)];
    // By key where they are equal, so that pages do not overlap.
    return x === y ? (a.key < b.key ? -1 : 1) : (x < y ? -1 : 1) * (order === "asc" ? 1 : -1);
  };
  const shown = entries.filter(shows).sort(compare);
  return { items: shown.slice(offset, offset + limit), total: shown.length };
}

/**
 * Pages that use the cache's layers by themselves.
 */
import { openLibrary } from "./library.mjs";

/** Opens a page with `cache` (see in-page/cache-layers.js) as a global, and a layer of this kind open. */
export async function openLayer(browserOrContext, server, kind, limits) {
  const opened = await openLibrary(browserOrContext, server);
  await startLayer(opened.page, kind, limits);
  return opened;
}

/** Also after a reload. */
export async function startLayer(page, kind, limits) {
  await page.evaluate(
    async ([kind, limits]) => {
      globalThis.cache = await import("/in-page/cache-layers.js");
      cache.open(kind, limits);
    },
    [kind, limits],
  );
}

export const told = (page) => page.evaluate(() => cache.told);

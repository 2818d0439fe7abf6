/**
 * Pages with a loaded model, whose states are kept.
 */
import { openLibrary, startKit } from "./library.mjs";

/** Opens a page with `kept` (see in-page/kept.js), `cacher` and `states` as globals. */
export async function openStates(browserOrContext, server, options = {}) {
  const opened = await openLibrary(browserOrContext, server);
  await startStates(opened.page, options);
  return opened;
}

/** Loads the model in a page that is open; `null`: loads none yet. */
export async function startStates(page, options = {}) {
  await page.evaluate(async (options) => {
    globalThis.kept = await import("/in-page/kept.js");
    if (options !== null) await kept.load(options);
  }, options);
}

/** A reload: all that was not stored is gone. */
export async function reload(page, options = {}) {
  await page.reload();
  await startKit(page);
  await startStates(page, options);
}

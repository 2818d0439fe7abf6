/**
 * Pages that use the storage of states by itself, without an engine.
 */
import { openLibrary } from "./library.mjs";

/** Opens a page with `vault` (see in-page/states.js) as a global, and the database open unless told not to. */
export async function openVault(browserOrContext, server, { open = true } = {}) {
  const opened = await openLibrary(browserOrContext, server);
  await startVault(opened.page, { open });
  return opened;
}

/** Also after a reload. */
export async function startVault(page, { open = true } = {}) {
  await page.evaluate(async (open) => {
    globalThis.vault = await import("/in-page/states.js");
    if (open) await vault.open();
  }, open);
}

export const commit = (page, parts) => page.evaluate((parts) => vault.commit(parts), parts);
export const readAll = (page) => page.evaluate(() => vault.readAll());

/** A state whose revision and block are stored with it. */
export const firstCommit = {
  states: [{ id: "s1", bytes: "head r1" }],
  revisions: [{ id: "r1", bytes: "revision 1" }],
  requires: ["r1"],
  blocks: [{ name: "b1", bytes: "block 1" }],
  drafts: [{ id: "s1", bytes: "draft 1" }],
};

/** What `readAll` gives after it. */
export const afterFirst = {
  states: [{ id: "s1", version: 1, fence: 0, text: "head r1" }],
  revisions: [{ id: "r1", text: "revision 1" }],
  drafts: [{ id: "s1", text: "draft 1" }],
  blocks: [{ name: "b1", text: "block 1" }],
  quarantined: 0,
};

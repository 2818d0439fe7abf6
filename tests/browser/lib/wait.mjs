/**
 * Waiting for a state that nothing announces.
 */
import { setTimeout as delay } from "node:timers/promises";
import { TIMEOUT_MS } from "./browser.mjs";

/** Resolves once `condition` gives true; rejects, naming it, where it does not in good time. */
export async function waitUntil(condition, limit = TIMEOUT_MS / 2) {
  const end = Date.now() + limit;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`this never came true: ${condition}`);
    await delay(50);
  }
}

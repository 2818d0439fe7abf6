/**
 * Chooses the model store: the first backend that proves to work here.
 */

import { CacherError, messageOf } from "../errors.js";
import type { LoadOptions } from "../types.js";
import { openIndexedDbStore } from "./indexed-db.js";
import { openOpfsStore } from "./opfs.js";
import type { ModelStore } from "./store.js";

/** The store that `preference` asks for; a reason in words where there is none. */
export async function openStore(preference: NonNullable<LoadOptions["store"]>): Promise<ModelStore | string> {
  if (preference === "memory") return "storing was switched off";
  const reasons: string[] = [];
  for (const [name, open] of [["opfs", openOpfsStore], ["indexeddb", openIndexedDbStore]] as const) {
    if (preference !== "auto" && preference !== name) continue;
    try {
      return await open();
    } catch (error) {
      reasons.push(`${name}: ${messageOf(error)}`);
    }
  }
  const reason = `this browser or window has no storage for models (${reasons.join("; ")})`;
  if (preference !== "auto") throw new CacherError("storage-error", reason);
  return reason;
}

/** Free bytes of the page's quota; `null` where the browser does not tell. */
export async function freeBytes(): Promise<number | null> {
  if (typeof navigator === "undefined" || typeof navigator.storage?.estimate !== "function") return null;
  const { quota, usage } = await navigator.storage.estimate().catch((): StorageEstimate => ({}));
  return quota === undefined ? null : Math.max(0, quota - (usage ?? 0));
}

/**
 * Makes the layers that live on the page, whatever thread the host is on:
 * localStorage, which workers do not have, and the caller's own objects.
 */

import type { CacheLayer, LayerOptions } from "../cache/types.js";
import { CacherError } from "../errors.js";
import { LocalStorageLayer } from "./local-storage.js";
import type { LayerPlan } from "./plan.js";

const METHODS = ["get", "set", "delete", "keys", "clear"] as const;

/** The layer of a plan and the options that it was made of; `undefined` for those that the host makes. */
export function pageLayer(plan: LayerPlan, options: LayerOptions, cacheName: string): CacheLayer | undefined {
  if (plan.kind === "localstorage") {
    // What it drops by itself shows when the host lists it.
    const notices = { onrejected: () => undefined, onevicted: () => undefined };
    return new LocalStorageLayer(cacheName, plan, notices);
  }
  if (plan.kind !== "custom") return undefined;
  const layer = typeof options === "object" && options.kind === "custom" ? options.layer : undefined;
  for (const method of METHODS) {
    if (typeof layer?.[method] !== "function") {
      throw new CacherError("invalid-argument", `layers: the layer "${plan.name}" has no method ${method}`);
    }
  }
  return layer;
}

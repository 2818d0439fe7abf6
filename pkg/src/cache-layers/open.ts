/**
 * Makes the layers that a cache asks for, each with its guard.
 */

import type { CacheLayer } from "../cache/types.js";
import { CacherError } from "../errors.js";
import type { LayerNotices, Limits } from "./facts.js";
import { GuardedLayer, type GuardOptions } from "./guarded.js";
import { IndexedDbLayer } from "./indexed-db.js";
import type { LocalLayer } from "./layer.js";
import type { LayerPlan } from "./plan.js";
import { RemoteLayer } from "./remote.js";
import { LOCAL_TIMEOUT_MS } from "./time-limit.js";
import { Upstash } from "./upstash.js";
import { Webdis } from "./webdis.js";

/** What tells of layers; the first argument is the layer's name. */
interface LayerWatch {
  observe(name: string, ...seen: Parameters<GuardOptions["observe"]>): void;
  onhealth(name: string, ...health: Parameters<GuardOptions["onhealth"]>): void;
  /** Rows were none of this library's making, and have been deleted. */
  onrejected(name: string, count: number): void;
  /** Entries were deleted because the browser had no room for another. */
  onevicted(name: string, keys: string[]): void;
}

export interface LayersContext extends LayerWatch {
  cacheName: string;
  /** The layer at this index of the options, which lives on the page; see `pageLayer`. */
  askPage(index: number): CacheLayer;
  /** Where there are files. */
  openFileLayer?(folder: string, limits: Limits, notices: LayerNotices): LocalLayer;
}

export interface OpenedLayer {
  name: string;
  kind: LayerPlan["kind"];
  layer: GuardedLayer;
  /** The layer itself where it is on this device; its calls beside the five are not guarded, and reject. */
  local: LocalLayer | undefined;
  /** What records in it are signed with. */
  secret: string | null;
}

/** Layers in the order of their plans. What goes wrong with them is the guards' affair. */
export function openLayers(plans: readonly LayerPlan[], context: LayersContext): OpenedLayer[] {
  return plans.map((plan, index) => {
    const { name, kind } = plan;
    const layer = open(plan, index, context);
    const remote = layer instanceof RemoteLayer;
    const guarded = new GuardedLayer(layer, {
      timeoutMs: remote ? null : LOCAL_TIMEOUT_MS,
      writable: !("access" in plan) || plan.access === "read-write",
      observe: (...seen) => context.observe(name, ...seen),
      onhealth: (...health) => context.onhealth(name, ...health),
    });
    const local = kind === "custom" || remote ? undefined : (layer as LocalLayer);
    return { name, kind, layer: guarded, local, secret: "secret" in plan ? plan.secret : null };
  });
}

function open(plan: LayerPlan, index: number, context: LayersContext): CacheLayer {
  switch (plan.kind) {
    case "indexeddb":
      return new IndexedDbLayer(context.cacheName, plan, noticesOf(plan.name, context));
    case "localstorage":
    case "custom":
      return context.askPage(index);
    case "file":
      if (context.openFileLayer === undefined) {
        throw new CacherError("invalid-argument", `layers[${index}]: files are for Node; a browser has "indexeddb"`);
      }
      return context.openFileLayer(plan.folder, plan, noticesOf(plan.name, context));
    default: {
      const server = { url: new URL(plan.url), headers: plan.headers, timeoutMs: plan.timeoutMs };
      return new RemoteLayer(plan.kind === "webdis" ? new Webdis(server) : new Upstash(server), plan.prefix);
    }
  }
}

function noticesOf(name: string, watch: Pick<LayerWatch, "onrejected" | "onevicted">): LayerNotices {
  return {
    onrejected: (count) => watch.onrejected(name, count),
    onevicted: (keys) => watch.onevicted(name, keys),
  };
}

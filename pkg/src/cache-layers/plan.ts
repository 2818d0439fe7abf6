/**
 * Checks the options of layers and brings them into a form that can cross to a
 * worker: plain data, with the defaults in it.
 */

import { requireKnown } from "../arguments.js";
import type { LayerOptions, RemoteLayerOptions } from "../cache/types.js";
import { CacherError } from "../errors.js";
import type { Limits } from "./facts.js";

export type LayerPlan =
  | ({ kind: "indexeddb" | "localstorage"; name: string } & Limits)
  /** `folder`: a path, or the text of a URL. */
  | ({ kind: "file"; name: string; folder: string } & Limits)
  | { kind: "custom"; name: string }
  | RemotePlan;

export interface RemotePlan {
  kind: RemoteLayerOptions["kind"];
  name: string;
  url: string;
  headers: Record<string, string>;
  prefix: string;
  timeoutMs: number;
  secret: string | null;
  access: "read" | "read-write";
}

const LARGE: Limits = { maxEntries: 10_000, maxBytes: 256 << 20 };
const SMALL: Limits = { maxEntries: 200, maxBytes: 1 << 20 };
const MAX_TIMEOUT_MS = 600_000;

/** Throws `invalid-argument`, naming the option. */
export function planLayers(options: readonly LayerOptions[]): LayerPlan[] {
  if (!Array.isArray(options)) throw invalid("layers", "must be an array");
  const plans = options.map((each: LayerOptions, index) => planLayer(each, `layers[${index}]`));
  const names = plans.map(({ name }) => name);
  const twice = names.find((name, index) => name === "memory" || names.indexOf(name) < index);
  if (twice !== undefined) throw invalid("layers", `the name "${twice}" is taken`);
  return plans;
}

function planLayer(given: LayerOptions, where: string): LayerPlan {
  const options: Exclude<LayerOptions, string> = typeof given === "string" ? { kind: given } : given;
  const known = (...names: string[]) => requireKnown(options, ["kind", ...names], where);
  switch (options?.kind) {
    case "indexeddb":
    case "localstorage":
      known("maxEntries", "maxBytes");
      return { kind: options.kind, name: options.kind, ...limits(options, options.kind === "indexeddb" ? LARGE : SMALL, where) };
    case "file":
      known("folder", "maxEntries", "maxBytes");
      if (!(options.folder instanceof URL) && !isText(options.folder)) throw invalid(`${where}.folder`, "must be a path or a URL");
      return { kind: "file", name: "file", folder: String(options.folder), ...limits(options, LARGE, where) };
    case "custom":
      known("name", "layer");
      if (!isText(options.name) || options.name.length > 64) throw invalid(`${where}.name`, "must be a text of 1 to 64 characters");
      return { kind: "custom", name: options.name };
    case "webdis":
    case "upstash":
      known("url", "headers", "prefix", "timeoutMs", "secret", "access");
      return planRemote(options, where);
    default:
      throw invalid(where, `there is no such layer (there are indexeddb, localstorage, webdis, upstash, file, custom)`);
  }
}

function planRemote(options: RemoteLayerOptions, where: string): RemotePlan {
  const { kind, url, headers = {}, prefix = "cacher:", timeoutMs = 1_000, secret = null, access = "read-write" } = options;
  // Without one, what `clear` deletes would be everything.
  if (!isText(prefix)) throw invalid(`${where}.prefix`, "must be a text that is not empty");
  if (!(timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS)) throw invalid(`${where}.timeoutMs`, `must be a number from 1 to ${MAX_TIMEOUT_MS}`);
  if (secret !== null && !isText(secret)) throw invalid(`${where}.secret`, "must be a text that is not empty");
  if (access !== "read" && access !== "read-write") throw invalid(`${where}.access`, 'must be "read" or "read-write"');
  const server = { url: serverUrl(url, where), headers: plainHeaders(headers, where) };
  return { kind, name: kind, ...server, prefix, timeoutMs, secret, access };
}

function serverUrl(given: string | URL, where: string): string {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw invalid(`${where}.url`, "must be a whole URL");
  }
  if (!/^https?:$/.test(url.protocol)) throw invalid(`${where}.url`, "must begin with https:// or http://");
  // `fetch` would refuse it, and say it in its error.
  if (url.username !== "" || url.password !== "") throw invalid(`${where}.url`, "must be without a password, which goes into headers");
  return url.href;
}

/** Its errors leave the values out: one of them may be a token. */
function plainHeaders(given: Readonly<Record<string, string>>, where: string): Record<string, string> {
  try {
    return Object.fromEntries(new Headers(given));
  } catch {
    throw invalid(`${where}.headers`, "must be names and values of HTTP headers");
  }
}

function limits(given: Partial<Limits>, defaults: Limits, where: string): Limits {
  const limit = (name: keyof Limits) => {
    const value = given[name] ?? defaults[name];
    if (!Number.isSafeInteger(value) || value < 1) throw invalid(`${where}.${name}`, "must be a whole number from 1");
    return value;
  };
  return { maxEntries: limit("maxEntries"), maxBytes: limit("maxBytes") };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function invalid(name: string, must: string): CacherError {
  return new CacherError("invalid-argument", `${name}: ${must}`);
}

/**
 * Where answers are kept, by the options and the environment.
 *
 * Secrets come from the environment alone: everybody on a machine can read the
 * arguments of its processes.
 */

import { join } from "node:path";
import type { CacheOptions, LayerOptions } from "../cache/types.js";
import type { Io } from "./api.js";
import { usageError, type Values } from "./parse.js";
import { oneOf } from "./values.js";

export interface Backend {
  kind: "memory" | "file" | "redis";
  /** The folder or the server, for people. */
  place: string;
  options: CacheOptions;
}

type Surroundings = Pick<Io, "env" | "platform" | "home">;

export function backendOf(values: Values, io: Surroundings): Backend {
  const kind = oneOf("cache-backend", values["cache-backend"] ?? "file", ["memory", "file", "redis"]);
  for (const option of ["cache-dir", "redis-url", "redis-kind", "redis-prefix"] as const) {
    const needed = option === "cache-dir" ? "file" : "redis";
    if (values[option] !== undefined && kind !== needed) throw usageError(`--${option}: needs --cache-backend ${needed}`);
  }
  // No process but this one sees its memory, so there is nobody to agree with.
  const options = (layer: LayerOptions[]): CacheOptions => ({ layers: layer, acrossTabs: false });
  if (kind === "memory") return { kind, place: "this process", options: options([]) };
  if (kind === "redis") {
    const layer = redis(values, io.env);
    return { kind, place: String(layer.url), options: options([layer]) };
  }
  const folder = values["cache-dir"] ?? defaultFolder(io);
  return { kind, place: folder, options: options([{ kind: "file", folder }]) };
}

/** For commands about what was kept before, which nothing is in memory. */
export function lastingBackendOf(values: Values, io: Surroundings): Backend {
  const backend = backendOf(values, io);
  if (backend.kind === "memory") throw usageError("--cache-backend memory: ends with each process, so there is nothing in it");
  return backend;
}

function redis(values: Values, env: Io["env"]) {
  const given = values["redis-url"];
  if (given === undefined) throw usageError("--redis-url: is needed for --cache-backend redis");
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw usageError(`--redis-url: must be the http:// or https:// address of a Webdis or Upstash-style server`);
  }
  if (url.username !== "" || url.password !== "") {
    throw usageError("--redis-url: everybody on the machine sees arguments; put user:password into CACHER_REDIS_AUTH");
  }
  const { CACHER_REDIS_TOKEN: token, CACHER_REDIS_AUTH: login, CACHER_CACHE_SECRET: secret } = env;
  if (token && login) throw usageError("CACHER_REDIS_TOKEN and CACHER_REDIS_AUTH exclude each other");
  const authorization = token ? `Bearer ${token}` : login ? `Basic ${Buffer.from(login).toString("base64")}` : undefined;
  const prefix = values["redis-prefix"];
  return {
    kind: oneOf("redis-kind", values["redis-kind"] ?? "webdis", ["webdis", "upstash"]),
    url,
    ...(authorization === undefined ? {} : { headers: { authorization } }),
    ...(prefix === undefined ? {} : { prefix }),
    ...(secret ? { secret } : {}),
  };
}

/** Where each system keeps what programs can make again. */
function defaultFolder({ env, platform, home }: Surroundings): string {
  const own = (base: string) => join(base, "cacher-wasm", "answers");
  if (platform === "win32") return own(env.LOCALAPPDATA || join(home, "AppData", "Local"));
  if (platform === "darwin") return own(join(home, "Library", "Caches"));
  // The standard has relative paths ignored.
  return own(env.XDG_CACHE_HOME?.startsWith("/") ? env.XDG_CACHE_HOME : join(home, ".cache"));
}

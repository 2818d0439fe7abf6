/**
 * Service worker: keeps the page itself on the device, so that it opens with
 * the network cut, and isolates it where the server does not (sw/isolate.ts).
 * It serves only the files of its own build. Models are not its business (the
 * engine's store keeps those), nor is any other origin.
 *
 * Of the engine's builds a visitor needs one, seldom two. The likely one is
 * fetched with the page, any other is kept once it was used.
 *
 * A new version waits until the last page of the old one has closed. A page
 * fetches its worker and wasm late; taking the old files away under it would
 * break it.
 */

import { likelyBuild } from "./sw/engine-build.ts";
import { isolate, needsIsolation } from "./sw/isolate.ts";

declare const self: ServiceWorkerGlobalScope;
/** Both are written by the build, see `build/precache.ts`. */
declare const __PRECACHE_FILES__: readonly string[];
declare const __PRECACHE_VERSION__: string;

const CACHE_PREFIX = "cacher-page-";
const CACHE = CACHE_PREFIX + __PRECACHE_VERSION__;
const page = new URL("./", self.registration.scope).href;
const files = new Set(__PRECACHE_FILES__.map((file) => new URL(file, page).href));
const builds = [...files].filter((file) => file.endsWith(".wasm"));

self.addEventListener("install", (event) => {
  event.waitUntil(fill());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(removeOldVersions().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const url = new URL(request.url);
  url.hash = "";
  if (request.mode === "navigate" ? isPage(url) : files.has(url.href)) event.respondWith(respond(event));
});

async function respond(event: FetchEvent): Promise<Response> {
  const { request } = event;
  const response = await (request.mode === "navigate" ? networkFirst(request) : cacheFirst(event));
  return needsIsolation(request) ? isolate(response) : response;
}

/** The page under any of its names: the folder, `index.html`, either with a query. */
function isPage(url: URL): boolean {
  const address = url.origin + url.pathname;
  return address === page || address === `${page}index.html`;
}

async function fill(): Promise<void> {
  const cache = await caches.open(CACHE);
  const unlikely = new Set(builds);
  unlikely.delete(likelyBuild(builds) ?? "");
  const wanted = [...files].filter((file) => !unlikely.has(file));
  // The page past the HTTP cache: a stale one would name files that this version lacks.
  await cache.addAll(wanted.map((file) => new Request(file, { cache: file === page ? "no-cache" : "default" })));
}

async function removeOldVersions(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(CACHE_PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function networkFirst(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await (await caches.open(CACHE)).match(page);
    if (kept) return kept;
    throw error;
  }
}

/** Names carry a hash of the content, so a kept file is never out of date. */
async function cacheFirst(event: FetchEvent): Promise<Response> {
  const { request } = event;
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request.url, { ignoreVary: true });
  if (kept) return kept;
  const response = await fetch(request);
  // Where there is no room, it is fetched again next time.
  if (response.status === 200) event.waitUntil(cache.put(request.url, response.clone()).catch(() => {}));
  return response;
}

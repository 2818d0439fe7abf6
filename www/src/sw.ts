/**
 * Service worker: keeps the page itself on the device, so that it opens with
 * the network cut. It serves only the files of its own build. Models are not
 * its business (the engine's store keeps those), nor is any other origin.
 *
 * A response is kept whole, headers included, so a page that a server isolates
 * by COOP and COEP stays isolated when it comes from here.
 *
 * A new version waits until the last page of the old one has closed. A page
 * fetches its worker and wasm late; taking the old files away under it would
 * break it.
 */

export {};

declare const self: ServiceWorkerGlobalScope;
/** Both are written by the build, see `build/precache.ts`. */
declare const __PRECACHE_FILES__: readonly string[];
declare const __PRECACHE_VERSION__: string;

const CACHE_PREFIX = "cacher-page-";
const CACHE = CACHE_PREFIX + __PRECACHE_VERSION__;
const page = new URL("./", self.registration.scope).href;
const files = new Set(__PRECACHE_FILES__.map((file) => new URL(file, page).href));

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
  if (request.mode === "navigate") {
    if (isPage(url)) event.respondWith(networkFirst(request));
  } else if (files.has(url.href)) {
    event.respondWith(cacheFirst(request));
  }
});

/** The page under any of its names: the folder, `index.html`, either with a query. */
function isPage(url: URL): boolean {
  const address = url.origin + url.pathname;
  return address === page || address === `${page}index.html`;
}

async function fill(): Promise<void> {
  const cache = await caches.open(CACHE);
  // Past the HTTP cache: a stale page would name files that this version lacks.
  await cache.addAll([...files].map((file) => new Request(file, { cache: "no-cache" })));
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
async function cacheFirst(request: Request): Promise<Response> {
  const kept = await (await caches.open(CACHE)).match(request.url, { ignoreVary: true });
  return kept ?? fetch(request);
}

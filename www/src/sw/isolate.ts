/**
 * Cross-origin isolation on servers that cannot be told to send its headers,
 * as static hosts cannot. Only an isolated page has shared memory, and with it
 * threads.
 *
 * A page is isolated or not from the moment it is loaded. So the first visit,
 * which the service worker only watches, is not; every later one comes through
 * it and is. Nothing here or in the page ever reloads by itself to get there
 * sooner: where isolation fails for another reason (a frame, a browser that
 * lacks it), such a page would reload for ever.
 *
 * What a server says itself is left as it is.
 */

const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  // Not `credentialless`, which not every browser knows. Models of other sites
  // load all the same: they are fetched with CORS.
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/** Pages, and the workers of isolated pages, which do not start without the same policy. */
export function needsIsolation(request: Request): boolean {
  return request.mode === "navigate" || request.destination === "worker";
}

/** `response` with the headers that it lacks. */
export function isolate(response: Response): Response {
  // A redirect is the browser's to follow, and cannot be copied.
  if (response.type === "opaqueredirect") return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) {
    if (!headers.has(name)) headers.set(name, value);
  }
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

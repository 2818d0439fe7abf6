/**
 * One request, with every way it can fail as a typed error naming the URL.
 */

import { abortError, CacherError, messageOf } from "../errors.js";

/** `fetch`, or a stand-in that also knows `file:` URLs. */
export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

/** An answer of any status; failing to get one is `network-error`. */
export async function request(fetch: Fetch, url: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw abortError(init.signal);
    throw networkError(url, error);
  }
}

export function networkError(url: string, error: unknown): CacherError {
  return new CacherError("network-error", `${url}: no connection or it broke (${messageOf(error)})`, { url }, { cause: error });
}

export function statusError(url: string, status: number): CacherError {
  return status === 404 || status === 410
    ? new CacherError("not-found", `${url}: not found`, { url, status })
    : new CacherError("http-error", `${url}: the server answered with status ${status}`, { url, status });
}

/** True for web pages, which servers of single-page apps give for any path. */
export function isHtml(response: Response): boolean {
  return /^text\/html\b/i.test(response.headers.get("content-type") ?? "");
}

/** The body's length, where the header means it: with compression it does not. */
export function contentLength(response: Response): number | null {
  const header = response.headers.get("content-length");
  if (header === null || response.headers.has("content-encoding")) return null;
  return /^\d+$/.test(header) ? Number(header) : null;
}

/**
 * What changes when the file does, for resuming. Weak ETags promise only
 * "equivalent" content, so the date is better than they are.
 */
export function validatorOf(response: Response): string | null {
  const etag = response.headers.get("etag");
  if (etag !== null && !etag.startsWith("W/")) return etag;
  return response.headers.get("last-modified");
}

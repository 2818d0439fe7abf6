/**
 * Downloads one file into a sink, resuming where the sink already holds bytes.
 *
 * A partial file is continued only when the server shows that it is still the
 * same file: the answer's start, total length and ETag or date must agree with
 * what is held. Otherwise the file is fetched anew.
 */

import { abortError, CacherError } from "../errors.js";
import {
  contentLength,
  isHtml,
  networkError,
  request,
  statusError,
  validatorOf,
  type Fetch,
} from "../models/http.js";
import type { RemoteFile } from "../models/resolve.js";
import { checkHead, HEAD_BYTES } from "./check.js";

/** Where the bytes go. */
export interface Sink {
  /** Bytes held, in order from the file's start. */
  readonly size: number;
  /** Identifies the version of the file that they belong to. */
  readonly validator: string | null;
  /** Bytes follow: after those held, or in place of them. */
  begin(mode: "append" | "restart", validator: string | null): Promise<void>;
  write(bytes: Uint8Array): Promise<void>;
}

export interface DownloadContext {
  fetch: Fetch;
  signal: AbortSignal;
  /** `held` bytes of `total` are there now; `total` is `null` while unknown. */
  onProgress(held: number, total: number | null): void;
}

/** Configs and tokenizers are held in memory as a whole; the largest known have a few megabytes. */
const MAX_SMALL_FILE_BYTES = 64 << 20;

/** Once a load, a broken connection is resumed without asking. */
const ATTEMPTS = 2;

export async function download(file: RemoteFile, sink: Sink, context: DownloadContext): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await transfer(file, sink, context);
    } catch (error) {
      const broken = error instanceof CacherError && ["network-error", "truncated-file"].includes(error.code);
      if (!broken || attempt === ATTEMPTS) throw error;
    }
  }
}

async function transfer(file: RemoteFile, sink: Sink, context: DownloadContext): Promise<void> {
  const { url } = file;
  if (sink.size > 0 && sink.size === file.bytes) return context.onProgress(sink.size, file.bytes);

  let { response, total, resumed } = await open(file, sink, context);
  if (isHtml(response)) {
    await response.body?.cancel();
    throw new CacherError("not-a-model-file", `${url}: the server answered with a web page`, { url });
  }
  await sink.begin(resumed ? "append" : "restart", validatorOf(response));
  context.onProgress(sink.size, total);

  // The head is looked at as a whole before any of it is kept.
  let head: Uint8Array | null = resumed ? null : new Uint8Array(0);
  for await (let chunk of bodyOf(response, url, context.signal)) {
    if (head !== null) {
      chunk = concat(head, chunk);
      if (chunk.length < HEAD_BYTES) {
        head = chunk;
        continue;
      }
      checkHead(file.role, chunk.subarray(0, HEAD_BYTES), url);
      head = null;
    }
    if (file.exact && file.bytes !== null && sink.size + chunk.length > file.bytes) {
      throw new CacherError("checksum-mismatch", `${url}: longer than the ${file.bytes} bytes it should have`, { url });
    }
    if (file.role !== "weights" && sink.size + chunk.length > MAX_SMALL_FILE_BYTES) {
      throw new CacherError("invalid-model-file", `${url}: too long for a ${file.role} file`, { url });
    }
    await sink.write(chunk);
    context.onProgress(sink.size, total);
  }
  if (head !== null) {
    if (total === null || head.length >= total) checkHead(file.role, head, url);
    await sink.write(head);
    context.onProgress(sink.size, total);
  }
  if (total !== null && sink.size < total) {
    throw new CacherError("truncated-file", `${url}: ended after ${sink.size} of ${total} bytes`, {
      url,
      got: sink.size,
      expected: total,
    });
  }
}

interface Opened {
  response: Response;
  total: number | null;
  resumed: boolean;
}

async function open(file: RemoteFile, sink: Sink, context: DownloadContext): Promise<Opened> {
  const offset = sink.size;
  // Without a sign of the file's version, and without a hash to find out by, bytes could be mixed.
  if (offset > 0 && (sink.validator !== null || file.sha256 !== null)) {
    const response = await get(file.url, context, rangeHeaders(file.url, offset, sink.validator));
    const total = response.status === 206 ? continuedTotal(response, file, sink) : null;
    if (total !== null) return { response, total, resumed: true };
    if (response.status === 200) return opened(response, file);
    await response.body?.cancel();
    if (response.status !== 206 && response.status !== 416) throw statusError(file.url, response.status);
  }
  const response = await get(file.url, context, {});
  if (response.status === 200) return opened(response, file);
  await response.body?.cancel();
  throw statusError(file.url, response.status);
}

/** `no-store`: the file has its own place, a second copy in the HTTP cache would be waste. */
function get(url: string, { fetch, signal }: DownloadContext, headers: Record<string, string>): Promise<Response> {
  return request(fetch, url, { headers, signal, cache: "no-store" });
}

function opened(response: Response, file: RemoteFile): Opened {
  return { response, total: file.bytes ?? contentLength(response), resumed: false };
}

function rangeHeaders(url: string, offset: number, validator: string | null): Record<string, string> {
  const headers: Record<string, string> = { Range: `bytes=${offset}-` };
  // Across origins this header needs a preflight that hosts may refuse; the answer is checked anyway.
  const sameOrigin = typeof location === "undefined" || new URL(url).origin === location.origin;
  if (validator !== null && sameOrigin) headers["If-Range"] = validator;
  return headers;
}

/** The file's whole length, where a 206 answer continues what is held; else `null`. */
function continuedTotal(response: Response, file: RemoteFile, sink: Sink): number | null {
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  if (range === null || Number(range[1]) !== sink.size) return null;
  const total = Number(range[2]);
  if (file.bytes !== null && total !== file.bytes) return null;
  return file.sha256 !== null || validatorOf(response) === sink.validator ? total : null;
}

async function* bodyOf(response: Response, url: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      let part;
      try {
        part = await reader.read();
      } catch (error) {
        throw signal.aborted ? abortError(signal) : networkError(url, error);
      }
      if (signal.aborted) throw abortError(signal);
      if (part.done) return;
      yield part.value;
    }
  } finally {
    // After an error, or when the consumer gave up: stop the transfer.
    reader.cancel().catch(() => undefined);
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

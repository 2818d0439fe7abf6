/**
 * One request to a server in front of Redis, of which nothing is believed: how
 * long it takes, how much it sends, and whether that is JSON.
 *
 * Its errors name the server, never what was sent to it: headers carry tokens.
 */

import { CacherError, messageOf } from "../errors.js";
import { contentLength } from "../models/http.js";
import { withinTime } from "./time-limit.js";

/** Longer answers are refused. */
const MAX_ANSWER_BYTES = 64 << 20;

export interface Server {
  url: URL;
  headers: Readonly<Record<string, string>>;
  /** For one request. */
  timeoutMs: number;
}

/** Posts `body`; what was answered, parsed. */
export async function postForJson(server: Server, body: string, signal: AbortSignal): Promise<unknown> {
  const { url, headers, timeoutMs } = server;
  const late = () => failure(server, "network-error", `no answer within ${timeoutMs} ms`);
  const text = await withinTime(timeoutMs, late, signal, async (signal) => {
    const request: RequestInit = { method: "POST", headers, body, signal, redirect: "error", credentials: "omit", cache: "no-store" };
    try {
      const response = await fetch(url, request);
      if (!response.ok) throw refusal(server, response);
      return await readText(server, response);
    } catch (error) {
      if (error instanceof CacherError) throw error;
      throw failure(server, "network-error", `no connection or it broke (${messageOf(error)})`);
    }
  });
  try {
    return JSON.parse(text);
  } catch {
    throw unexpected(server);
  }
}

/** The error for an answer that is not of the form it must have. */
export function unexpected(server: Server): CacherError {
  return failure(server, "http-error", "the answer is none of Redis");
}

/** The error for Redis' own words. */
export function redisError(server: Server, message: unknown): CacherError {
  const words = String(message).slice(0, 200);
  if (words.startsWith("OOM")) return failure(server, "storage-full", words);
  if (words.startsWith("WRONGTYPE")) return failure(server, "invalid-cache-record", words);
  return failure(server, "http-error", `Redis says ${words}`);
}

function refusal(server: Server, response: Response): CacherError {
  const { status } = response;
  response.body?.cancel().catch(() => undefined);
  if (status === 413) return failure(server, "storage-full", "the record is too large for the server", { status });
  const what = status === 401 || status === 403 ? "the server refuses access" : "the server failed";
  return failure(server, "http-error", `${what} (status ${status})`, { status });
}

async function readText(server: Server, response: Response): Promise<string> {
  const tooLong = () => failure(server, "http-error", `the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
  const reader = response.body?.getReader();
  if (reader === undefined) return "";
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  try {
    if ((contentLength(response) ?? 0) > MAX_ANSWER_BYTES) throw tooLong();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      length += value.length;
      if (length > MAX_ANSWER_BYTES) throw tooLong();
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    reader.cancel().catch(() => undefined);
    throw error;
  }
}

function failure({ url }: Server, code: CacherError["code"], what: string, details = {}): CacherError {
  return new CacherError(code, `${url.origin}: ${what}`, { url: url.origin, ...details });
}

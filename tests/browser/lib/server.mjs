/**
 * A web server of files in memory, with the faults that downloads meet.
 *
 * It is the tests' own because it must break: stop within a file, lie about its
 * length, or serve a page in its place, and tell afterwards what was asked for.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** A file to serve: bytes, or a text as it is. */
const contentOf = (body) => (typeof body === "string" ? Buffer.from(body) : body);

/**
 * @param {object} site
 * @param {Record<string, string>} site.folders path prefix → folder on disk
 * @param {Record<string, Buffer | string | object>} site.files path → content, or
 *   `{ body, type, headers, holdAt }`. `holdAt` lists positions in the file: each answer that gets to
 *   the next of them stops there until `cut()` breaks its connection
 * @param {Record<string, string>} site.headers of every answer
 */
export async function startServer({ folders = {}, files = {}, headers = {} } = {}) {
  const requests = [];
  const held = new Set();

  const find = (path) => {
    const file = files[path];
    if (file !== undefined) return Buffer.isBuffer(file) || typeof file === "string" ? { body: file } : file;
    const prefix = Object.keys(folders).find((start) => path.startsWith(start));
    if (prefix === undefined) return undefined;
    try {
      return { body: readFileSync(join(folders[prefix], normalize(`/${path.slice(prefix.length)}`))) };
    } catch {
      return undefined;
    }
  };

  const server = createServer((request, response) => {
    const { pathname: path } = new URL(request.url, "http://localhost");
    const range = request.headers.range;
    const entry = { method: request.method, path, range, sent: 0 };
    requests.push(entry);
    const file = find(path);
    if (file === undefined) return response.writeHead(404, headers).end();

    const bytes = contentOf(file.body);
    const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
    const answer = {
      "Content-Type": file.type ?? TYPES[extname(path)] ?? "application/octet-stream",
      "Cache-Control": "no-store",
      ETag: etag,
      ...headers,
      ...file.headers,
    };
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    if (start > 0 && start >= bytes.length) {
      return response.writeHead(416, { ...answer, "Content-Range": `bytes */${bytes.length}` }).end();
    }
    if (start > 0) answer["Content-Range"] = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
    response.writeHead(start > 0 ? 206 : 200, { "Content-Length": bytes.length - start, ...answer });
    if (request.method === "HEAD") return response.end();

    const stop = file.holdAt?.find((position) => position > start);
    const part = bytes.subarray(start, stop);
    entry.sent = part.length;
    if (stop === undefined) return response.end(part);
    file.holdAt.splice(file.holdAt.indexOf(stop), 1);
    held.add(response);
    response.on("close", () => held.delete(response));
    return response.write(part);
  });

  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    files,
    /** `{ method, path, range, sent }` of every request since the last `forget`. */
    requests,
    forget() {
      requests.length = 0;
    },
    /** Breaks the connections that stand still. */
    cut() {
      for (const response of held) response.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Bytes of `path` that the requests got in all. */
export function bytesSent(requests, path) {
  return requests.filter((request) => request.path === path).reduce((sum, { sent }) => sum + sent, 0);
}

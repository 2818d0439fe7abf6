/**
 * A small HTTP server with files, ranges, validators, and faults on demand.
 */

import { createServer } from "node:http";

/**
 * `files`: path → bytes, or `{ body, type, etag, fault }`. Faults: `status`
 * answers so; `cutAt` breaks the connection there, `times` times; `noRange`
 * ignores ranges; `wrongRange` answers another range than was asked for.
 */
export async function serve(files) {
  const requests = [];
  const server = createServer((request, response) => {
    const path = request.url.split("?")[0];
    requests.push({ method: request.method, path, range: request.headers.range, ifRange: request.headers["if-range"] });
    const entry = files[path];
    if (entry === undefined) return response.writeHead(404).end();
    const { body = entry, type = "application/octet-stream", etag, fault = {}, status = 200 } = Buffer.isBuffer(entry) || typeof entry === "string" ? {} : entry;
    const bytes = Buffer.from(body);
    const headers = { "content-type": type, ...(etag ? { etag } : {}) };
    if (status !== 200) return response.writeHead(status, headers).end();
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const ifRange = request.headers["if-range"];
    let start = 0;
    if (range && !fault.noRange && (ifRange === undefined || ifRange === etag)) {
      start = Number(range[1]) - (fault.wrongRange ? 1 : 0);
      if (start >= bytes.length) return response.writeHead(416, headers).end();
      headers["content-range"] = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
    }
    const part = bytes.subarray(start);
    if (fault.chunked) response.writeHead(start > 0 ? 206 : 200, headers);
    else response.writeHead(headers["content-range"] ? 206 : 200, { ...headers, "content-length": part.length });
    if (request.method === "HEAD") return response.end();
    if (fault.cutAt !== undefined && (fault.times ??= 1) > 0) {
      fault.times--;
      response.write(part.subarray(0, fault.cutAt), () => setTimeout(() => response.destroy(), 20));
      return undefined;
    }
    if (fault.slow) {
      let at = 0;
      const timer = setInterval(() => {
        response.write(part.subarray(at, (at += 1000)));
        if (at >= part.length) response.end(clearInterval(timer));
      }, 5);
      response.on("close", () => clearInterval(timer));
      return undefined;
    }
    return response.end(part);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    files,
    close: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(resolve);
    }),
  };
}

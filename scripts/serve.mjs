/**
 * Serves a folder of static files to browsers on this machine.
 *
 * Its headers are what the demo needs wherever it is hosted: cross-origin
 * isolation, the condition for shared memory and precise timers, and types that
 * are never guessed. Ranges, ETags and types come from `send`.
 */
import { createServer } from "node:http";
import send from "send";

const HEADERS = {
  "X-Content-Type-Options": "nosniff",
};

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  // Model files of another site still load: they are fetched with CORS.
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/** Vite puts a hash of its contents into the name of each of these. */
const HASHED = /\/assets\/.*-[\w-]{8}\.\w+$/;

/**
 * Starts the server.
 *
 * @param {string} folder what to serve
 * @param {{ port?: number, headers?: Record<string, string>, isolated?: boolean }} options port 0,
 *   the default, is any free one; `headers` are added to those of every answer; with
 *   `isolated: false` no answer isolates a page, as on hosts that let nobody set headers
 * @returns {Promise<{ url: string, close: () => Promise<void> }>} rejects with code `EADDRINUSE`
 *   where the port is taken
 */
export async function serve(folder, { port = 0, headers = {}, isolated = true } = {}) {
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries({ ...HEADERS, ...(isolated ? ISOLATION : {}), ...headers })) {
      response.setHeader(name, value);
    }
    const notFound = () => {
      response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" });
      response.end("Not found\n");
    };
    const [pathname] = request.url.split("?");
    const cache = HASHED.test(pathname) ? "public, max-age=31536000, immutable" : "no-cache";
    send(request, pathname, { root: folder, cacheControl: false })
      .on("headers", () => response.setHeader("Cache-Control", cache))
      .on("directory", notFound)
      .on("error", (error) => {
        if (error.status < 500 && error.status !== 416) return notFound();
        response.writeHead(error.status, error.headers);
        response.end();
      })
      .pipe(response);
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

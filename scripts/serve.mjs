/**
 * Serves a folder of static files to browsers on this machine.
 *
 * Its headers are what the demo needs wherever it is hosted: cross-origin
 * isolation, the condition for shared memory and precise timers, and types that
 * are never guessed. Ranges and ETags come from sirv.
 */
import { createServer } from "node:http";
import { extname } from "node:path";
import sirv from "sirv";

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  // Model files of another site still load: they are fetched with CORS.
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
};

/** Types sirv does not know. */
const TYPES = { ".gguf": "application/octet-stream", ".safetensors": "application/octet-stream" };

/** Vite puts a hash of its contents into the name of each of these. */
const HASHED = /^\/assets\/.*-[\w-]{8}\.\w+$/;

/**
 * Starts the server. The folder is listed once: files added or changed later are not seen.
 *
 * @param {string} folder what to serve
 * @param {{ port?: number, headers?: Record<string, string> }} options port 0, the default, is any
 *   free one; `headers` are added to those of every answer
 * @returns {Promise<{ url: string, close: () => Promise<void> }>} rejects with code `EADDRINUSE`
 *   where the port is taken
 */
export async function serve(folder, { port = 0, headers = {} } = {}) {
  const files = sirv(folder, {
    etag: true,
    setHeaders(response, pathname) {
      const type = TYPES[extname(pathname)];
      if (type !== undefined) response.setHeader("Content-Type", type);
      response.setHeader(
        "Cache-Control",
        HASHED.test(pathname) ? "public, max-age=31536000, immutable" : "no-cache",
      );
    },
  });
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries({ ...ISOLATION, ...headers })) {
      response.setHeader(name, value);
    }
    files(request, response, () => {
      response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" });
      response.end("Not found\n");
    });
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

/**
 * Builds what is missing and serves the demo.
 *
 *     npm start            on port 8080, or the next free one
 *     PORT=3000 npm start  on this port and no other
 */
import { join } from "node:path";
import { build } from "./build.mjs";
import { Failure, root, runAsScript } from "./lib/process.mjs";

const FIRST_PORT = 8080;
const LAST_PORT = 8099;

/** The ports to try, in order. */
function ports() {
  const asked = process.env.PORT;
  if (!asked) {
    return Array.from({ length: LAST_PORT - FIRST_PORT + 1 }, (_, i) => FIRST_PORT + i);
  }
  const port = Number(asked);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new Failure(`PORT must be a port number, not "${asked}".`);
  }
  return [port];
}

async function listen() {
  const candidates = ports();
  // Imported late: it needs npm packages, which a fresh clone has only by now.
  const { serve } = await import("./serve.mjs");
  for (const port of candidates) {
    try {
      return await serve(join(root, "www", "dist"), { port });
    } catch (error) {
      if (error.code !== "EADDRINUSE" && error.code !== "EACCES") throw error;
    }
  }
  throw new Failure(
    `No port is free among ${candidates.join(", ")}: choose another, for instance \`PORT=3000 npm start\`.`,
  );
}

await runAsScript(import.meta, async () => {
  await build();
  const server = await listen();
  console.log(`\nCacher is running at ${server.url} (Ctrl-C stops it)\n`);
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => void server.close());
  }
});

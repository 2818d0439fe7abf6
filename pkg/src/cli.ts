#!/usr/bin/env node
/**
 * The command `cacher`: the process around `main`.
 */

import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { addAbortSignal } from "node:stream";
import { text } from "node:stream/consumers";
import type { Api } from "./cli/api.js";
import { main } from "./cli/main.js";

const interrupt = new AbortController();
// The second Ctrl-C meets no listener and ends the process.
process.once("SIGINT", () => interrupt.abort());

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // Who reads has gone, as `head` does: nobody is left to work for, and nothing is wrong.
    if (error.code === "EPIPE") process.exit(0);
    if (stream === process.stdout) process.stderr.write(`cacher: the output cannot be written: ${error.message}\n`);
    process.exit(1);
  });
}

/** Imported when it is needed: `--help` need not wait for it. */
const engine = async () => (await import("./node.js")) as unknown as {
  Cacher: { load: Api["load"] };
  ResponseCache: { open: Api["openCache"] };
};

const api: Api = {
  load: async (options) => (await engine()).Cacher.load(options),
  openCache: async (options) => (await engine()).ResponseCache.open(options),
  async version() {
    const file = await readFile(new URL("../package.json", import.meta.url), "utf8");
    return (JSON.parse(file) as { version: string }).version;
  },
};

// The process ends by itself once all is written, where `process.exit` would cut it off.
process.exitCode = await main(process.argv.slice(2), api, {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  outIsTerminal: process.stdout.isTTY === true,
  errIsTerminal: process.stderr.isTTY === true,
  stdin: () => text(addAbortSignal(interrupt.signal, process.stdin)),
  readFile: (path) => readFile(path, "utf8"),
  env: process.env,
  platform: process.platform,
  home: homedir(),
  interrupted: interrupt.signal,
});

/**
 * A real Redis for tests, and a real Webdis in front of it. Redis listens on a
 * socket of its own folder, so that it can be stopped and started again without
 * losing its place to another program, and keeps nothing on the disk.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { redisServer, webdis } from "../../scripts/lib/tools.mjs";
import { connectRedis } from "./resp.mjs";

const START_LIMIT_MS = 30_000;

/** Starts a program that serves once `answers` resolves; `stop` ends it. */
async function startProgram(path, args, answers) {
  const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const exited = new Promise((resolve) => {
    child.once("error", resolve);
    child.once("exit", resolve);
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const stop = async () => {
    process.removeListener("exit", kill);
    kill();
    await exited;
  };
  const end = Date.now() + START_LIMIT_MS;
  for (;;) {
    try {
      await answers();
      return { stop };
    } catch (error) {
      if (child.exitCode !== null || child.pid === undefined || Date.now() > end) {
        await stop();
        throw new Error(`${path} does not serve (${error.message}): ${output}`, { cause: error });
      }
    }
    await delay(20);
  }
}

/**
 * Gives `socket`, `command(...values)`, which rejects with Redis' errors,
 * `stop()` and `start()` for while a test runs, and `close()`. Started anew it is empty.
 */
export async function startRedis() {
  const folder = await mkdtemp(join(tmpdir(), "cacher-redis-"));
  const socket = join(folder, "redis.sock");
  const settings = { port: 0, unixsocket: socket, save: "", appendonly: "no", dir: folder };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  let program;
  let client;
  const redis = {
    socket,
    async start() {
      program = await startProgram(await redisServer(), args, async () => {
        const connected = await connectRedis(socket);
        const [answer] = await connected.run([["PING"]]);
        if (answer !== "PONG") throw answer;
        client = connected;
      });
    },
    async stop() {
      client.close();
      await program.stop();
    },
    async command(...values) {
      const [answer] = await client.run([values]);
      if (answer instanceof Error) throw answer;
      return answer;
    },
    async close() {
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await redis.start();
  return redis;
}

/** A port of the loopback interface that is free now. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Gives `url` and `close()`. With `password`, `"user:password"`, all others are refused. */
export async function startWebdis(redis, { password } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "cacher-webdis-"));
  const port = await freePort();
  const all = ["*"];
  const acl = password === undefined ? [] : [{ disabled: all }, { http_basic_auth: password, enabled: all }];
  const config = {
    ...{ redis_host: redis.socket, redis_port: 0, redis_auth: null, database: 0 },
    ...{ http_host: "127.0.0.1", http_port: port, threads: 2, daemonize: false },
    ...{ acl, verbosity: 0, logfile: join(folder, "webdis.log") },
  };
  const file = join(folder, "webdis.json");
  await writeFile(file, JSON.stringify(config));
  const url = `http://127.0.0.1:${port}/`;
  const { stop } = await startProgram(await webdis(), [file], async () => {
    // 403 where a password is asked for, which is an answer too.
    const { status } = await fetch(url, { method: "POST", body: "PING" });
    if (status >= 500) throw new Error(`status ${status}`);
  });
  return {
    url,
    async close() {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Upstash's REST interface to Redis, as far as the package uses it: a list of
 * commands for `/pipeline`, a bearer token, and other origins allowed.
 */
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { connectRedis } from "./resp.mjs";

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Methods": "GET, POST",
  "Access-Control-Allow-Headers": "Authorization, Content-Type",
};

/** Gives `url`, `token` and `close()`. It finds Redis again after that was away. */
export async function startUpstash(redis, { token = "a-token" } = {}) {
  let client;
  const run = async (commands) => {
    if (client === undefined || client.isLost()) client = await connectRedis(redis.socket);
    return client.run(commands);
  };
  const answer = async (request) => {
    if (request.headers.authorization !== `Bearer ${token}`) return [401, { error: "Unauthorized" }];
    if (request.method !== "POST" || request.url !== "/pipeline") return [404, { error: "Not found" }];
    let commands;
    try {
      commands = JSON.parse(await text(request));
    } catch {
      return [400, { error: "ERR failed to parse pipeline request" }];
    }
    try {
      const answers = await run(commands);
      return [200, answers.map((each) => (each instanceof Error ? { error: each.message } : { result: each }))];
    } catch (error) {
      return [500, { error: error.message }];
    }
  };
  const server = createServer(async (request, response) => {
    if (request.method === "OPTIONS") return response.writeHead(204, CORS).end();
    const [status, body] = await answer(request);
    return response.writeHead(status, { ...CORS, "Content-Type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    token,
    close: () => {
      client?.close();
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

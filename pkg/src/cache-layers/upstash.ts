/**
 * Redis through Upstash's REST interface, or one like it: a list of commands as
 * JSON, and `{result}` or `{error}` for each.
 */

import { postForJson, redisError, unexpected, type Server } from "./json-request.js";
import type { Command, RedisHttp } from "./remote.js";

export class Upstash implements RedisHttp {
  readonly #server: Server;

  constructor(server: Server) {
    const url = new URL(server.url);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/pipeline`;
    this.#server = { ...server, url };
  }

  async pipeline(commands: readonly Command[], signal: AbortSignal): Promise<unknown[]> {
    const answers = await postForJson(this.#server, JSON.stringify(commands), signal);
    if (!Array.isArray(answers) || answers.length !== commands.length) throw unexpected(this.#server);
    return answers.map((answer: { result?: unknown; error?: unknown } | null) => {
      if (answer?.error !== undefined) throw redisError(this.#server, answer.error);
      if (answer?.result === undefined) throw unexpected(this.#server);
      return answer.result;
    });
  }
}

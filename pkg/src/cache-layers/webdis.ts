/**
 * Redis through Webdis: one command a request, `COMMAND/value/value` in its body.
 */

import { postForJson, redisError, unexpected, type Server } from "./json-request.js";
import type { Command, RedisHttp } from "./remote.js";

/** `SCAN` with its answer in one list: the cursor, then the keys. */
const FLAT_SCAN =
  'local found = redis.call("SCAN", ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]) ' +
  "table.insert(found[2], 1, found[1]) return found[2]";

export class Webdis implements RedisHttp {
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  async pipeline(commands: readonly Command[], signal: AbortSignal): Promise<unknown[]> {
    const answers: unknown[] = [];
    for (const command of commands) answers.push(await this.#run(command, signal));
    return answers;
  }

  async #run(command: Command, signal: AbortSignal): Promise<unknown> {
    const [name, ...values] = command;
    const answer = await this.#send(command, signal);
    // Older versions (0.1.9 of Debian 12 is one) say `null` for a list within a list.
    if (name !== "SCAN" || !Array.isArray(answer) || answer[1] !== null) return answer;
    const flat = await this.#send(["EVAL", FLAT_SCAN, 0, ...values], signal);
    if (!Array.isArray(flat)) throw unexpected(this.#server);
    return [flat[0], flat.slice(1)];
  }

  async #send(command: Command, signal: AbortSignal): Promise<unknown> {
    const reply = await postForJson(this.#server, command.map(encode).join("/"), signal);
    const answer = (reply as Record<string, unknown> | null)?.[command[0]];
    if (answer === undefined) throw unexpected(this.#server);
    if (!Array.isArray(answer) || typeof answer[0] !== "boolean") return answer;
    // A status: whether it went well, and Redis' words.
    if (!answer[0]) throw redisError(this.#server, answer[1]);
    return answer[1];
  }
}

/** What follows a dot would be taken for the format to answer in. */
function encode(value: string | number): string {
  return encodeURIComponent(value).replaceAll(".", "%2E");
}

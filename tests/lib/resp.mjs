/**
 * A client of Redis that knows what the tests need: commands of texts, and
 * every kind of answer of protocol version 2.
 */
import { once } from "node:events";
import { connect } from "node:net";

class RedisError extends Error {}

/** One answer at `at`, as `{ value, end }`; `undefined` where it has not come whole yet. */
function parse(bytes, at) {
  const lineEnd = bytes.indexOf("\r\n", at);
  if (lineEnd < 0) return undefined;
  const kind = String.fromCharCode(bytes[at]);
  const line = bytes.toString("utf8", at + 1, lineEnd);
  let end = lineEnd + 2;
  if (kind === "+") return { value: line, end };
  if (kind === "-") return { value: new RedisError(line), end };
  const number = Number(line);
  if (kind === ":") return { value: number, end };
  if (number < 0) return { value: null, end };
  if (kind === "$") {
    if (bytes.length < end + number + 2) return undefined;
    return { value: bytes.toString("utf8", end, end + number), end: end + number + 2 };
  }
  const value = [];
  for (let count = 0; count < number; count++) {
    const element = parse(bytes, end);
    if (element === undefined) return undefined;
    value.push(element.value);
    end = element.end;
  }
  return { value, end };
}

/** Connects to a Redis at `path`, a socket. Gives `run(commands)`: their answers in order, an `Error` for one that failed. */
export async function connectRedis(path) {
  const socket = connect(path);
  await once(socket, "connect");
  const waiting = [];
  let bytes = Buffer.alloc(0);
  socket.on("data", (part) => {
    bytes = Buffer.concat([bytes, part]);
    for (let answer; (answer = parse(bytes, 0)) !== undefined; bytes = bytes.subarray(answer.end)) {
      waiting.shift().resolve(answer.value);
    }
  });
  socket.on("error", () => undefined);
  socket.on("close", () => waiting.splice(0).forEach(({ reject }) => reject(new Error("the connection to Redis was lost"))));
  const send = (command) =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error("the connection to Redis was lost"));
      waiting.push({ resolve, reject });
      const values = command.map((value) => Buffer.from(String(value)));
      socket.write(`*${values.length}\r\n`);
      for (const value of values) socket.write(Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from("\r\n")]));
      return undefined;
    });
  return {
    run: (commands) => Promise.all(commands.map(send)),
    isLost: () => socket.destroyed,
    close: () => socket.destroy(),
  };
}

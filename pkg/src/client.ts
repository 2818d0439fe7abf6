/**
 * Calls to an engine host, over whatever connection, with abort, disposal and
 * recovery.
 *
 * The client owns the wish "this model is loaded". When the engine crashes, all
 * calls in progress fail, and the next call starts a new engine and loads the
 * model again: once a minute at most, lest a model that always crashes be
 * loaded for ever.
 */

import { abortError, CacherError, fromErrorData, messageOf, throwIfAborted } from "./errors.js";
import type { Call, Connection, FromHost, Method, Methods } from "./protocol.js";
import { type Flow, UNLIMITED } from "./streaming/flow.js";
import { STOPPED } from "./streaming/sink.js";

export interface CallSettings<M extends Method> {
  signal?: AbortSignal | undefined;
  onEvent?(event: Methods[M]["event"]): void;
  /** What an abort does to a call in progress: end it, or ask for what there is. Default: `"reject"`. */
  onAbort?: "reject" | "finish";
  /** How many chunks a generation may give. Default: all. */
  flow?: Flow | undefined;
}

/** The call that makes a host ready. */
type First = "load" | "open";

export interface ClientSettings<M extends First = First> {
  connect(): Promise<Connection>;
  method: M;
  request: Methods[M]["args"];
  /** Why the model could not be loaded again after a crash; `null`: it can. */
  unrepeatable: string | null;
}

interface Pending {
  resolve(value: never): void;
  reject(error: CacherError): void;
  onEvent?(event: never): void;
}

const RESTART_INTERVAL_MS = 60_000;
/** How long an aborted load may take to put its partial download away. */
const ABORT_GRACE_MS = 1_000;

export class Client {
  readonly #settings: ClientSettings;
  readonly #pending = new Map<number, Pending>();
  #connection: Connection | undefined;
  #restarting: Promise<Connection> | undefined;
  #restartedAt = -Infinity;
  readonly #onrestart = new Set<() => void>();
  #crash = "";
  #disposed = false;
  #lastId = 0;

  private constructor(settings: ClientSettings) {
    this.#settings = settings;
  }

  /** Connects and loads the model. */
  static async start<M extends First>(
    settings: ClientSettings<M>,
    call: Pick<CallSettings<M>, "signal" | "onEvent">,
  ): Promise<{ client: Client; value: Methods[M]["value"] }> {
    throwIfAborted(call.signal);
    const client = new Client(settings);
    const connection = await client.#connect();
    const loading = client.#send(connection, settings.method, settings.request, { onEvent: call.onEvent }, call.signal);
    try {
      const value = await untilAborted(loading, call.signal);
      client.#connection = connection;
      return { client, value };
    } catch (error) {
      void settled(loading, ABORT_GRACE_MS).then(() => connection.close());
      throw error;
    }
  }

  async call<M extends Method>(method: M, args: Methods[M]["args"], settings: CallSettings<M>): Promise<Methods[M]["value"]> {
    const { signal, onEvent, onAbort = "reject", flow } = settings;
    throwIfAborted(signal);
    // Sent at once where that is possible, so that calls arrive in the order in which they are made.
    const connection = this.#connection ?? (await untilAborted(this.#ready(), signal));
    throwIfAborted(signal);
    const answer = this.#send(connection, method, args, { onEvent, flow }, signal);
    return onAbort === "reject" ? untilAborted(answer, signal) : answer;
  }

  /** Calls `listener` when an engine that crashed has been started anew; returns the way out. */
  onrestart(listener: () => void): () => void {
    this.#onrestart.add(listener);
    return () => this.#onrestart.delete(listener);
  }

  /** Ends everything; calls in progress reject with `disposed`. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#connection?.close();
    this.#connection = undefined;
    this.#rejectAll(disposedError());
  }

  #send<M extends Method>(
    connection: Connection,
    method: M,
    args: Methods[M]["args"],
    { onEvent, flow = UNLIMITED }: { onEvent: ((event: Methods[M]["event"]) => void) | undefined; flow?: Flow | undefined },
    signal: AbortSignal | undefined,
  ): Promise<Methods[M]["value"]> {
    const id = ++this.#lastId;
    const cancel = () => connection.post({ type: "cancel", id, ...(signal?.reason === STOPPED ? { reason: "callback" } : {}) });
    const unfollow = flow.onchange(() => connection.post({ type: "flow", id, allowed: flow.allowed }));
    const answer = new Promise<Methods[M]["value"]>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, ...(onEvent === undefined ? {} : { onEvent }) });
      try {
        connection.post({ type: "call", id, method, args, allowed: flow.allowed } as Call);
      } catch (error) {
        // What structured cloning refuses: functions among the options, say.
        reject(new CacherError("invalid-argument", `${method}: ${messageOf(error)}`, {}, { cause: error }));
      }
      signal?.addEventListener("abort", cancel, { once: true });
    });
    return answer.finally(() => {
      this.#pending.delete(id);
      unfollow();
      signal?.removeEventListener("abort", cancel);
    });
  }

  async #connect(): Promise<Connection> {
    const connection = await this.#settings.connect();
    connection.onmessage = (message) => this.#receive(connection, message);
    connection.onfailure = (message, started) =>
      started
        ? this.#crashed(connection, message)
        : this.#lost(connection, new CacherError("engine-unavailable", `the worker did not start: ${message}`));
    return connection;
  }

  #receive(connection: Connection, message: FromHost): void {
    if (message.type === "crashed") return this.#crashed(connection, message.message);
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    switch (message.type) {
      case "value":
        return pending.resolve(message.value as never);
      case "error":
        return pending.reject(fromErrorData(message.error));
      case "event":
        return pending.onEvent?.(message.event as never);
    }
  }

  #crashed(connection: Connection, message: string): void {
    this.#crash = message;
    this.#lost(connection, new CacherError("engine-crashed", `the engine crashed: ${message}`));
  }

  #lost(connection: Connection, error: CacherError): void {
    connection.close();
    if (this.#connection === connection) this.#connection = undefined;
    this.#rejectAll(error);
  }

  #rejectAll(error: CacherError): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  /** The connection to a loaded engine, started anew where the last one crashed. */
  async #ready(): Promise<Connection> {
    if (this.#disposed) throw disposedError();
    if (this.#connection !== undefined) return this.#connection;
    this.#restarting ??= this.#restart().finally(() => {
      this.#restarting = undefined;
    });
    return this.#restarting;
  }

  async #restart(): Promise<Connection> {
    const failed = (why: string, cause?: unknown) =>
      new CacherError("engine-crashed", `the engine crashed (${this.#crash}) and ${why}`, {}, { cause });
    const { unrepeatable, method, request } = this.#settings;
    if (unrepeatable !== null) throw failed(`cannot be started again: ${unrepeatable}; load the model anew`);
    if (Date.now() - this.#restartedAt < RESTART_INTERVAL_MS) {
      throw failed("was started again less than a minute ago");
    }
    this.#restartedAt = Date.now();
    let connection: Connection | undefined;
    try {
      connection = await this.#connect();
      await this.#send(connection, method, request, { onEvent: undefined }, undefined);
    } catch (error) {
      connection?.close();
      if (this.#disposed) throw disposedError();
      throw failed(`could not be started again: ${messageOf(error)}`, error);
    }
    if (this.#disposed) {
      connection.close();
      throw disposedError();
    }
    this.#connection = connection;
    for (const listener of [...this.#onrestart]) listener();
    return connection;
  }
}

function disposedError(): CacherError {
  return new CacherError("disposed", "dispose() was called");
}

/** `promise`, or the abort error as soon as `signal` fires. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortError(signal));
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Resolves when `promise` is settled, after `limit` milliseconds at the latest. */
function settled(promise: Promise<unknown>, limit: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limit);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    promise.then(done, done);
  });
}

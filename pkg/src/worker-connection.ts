/**
 * The line to an engine host in a Web Worker.
 */

import { CacherError, messageOf } from "./errors.js";
import type { Connection, FromHost, ToHost } from "./protocol.js";

/** What a host has for closing before its worker is terminated. */
const CLOSE_MS = 200;

/** Starts the package's worker, from `url` where it is given. */
export function startWorker(url: string | undefined): Worker {
  try {
    return url === undefined
      ? // Written out so that bundlers see the worker and build it.
        new Worker(new URL("./worker.js", import.meta.url), { type: "module" })
      : new Worker(url, { type: "module" });
  } catch (error) {
    throw new CacherError("engine-unavailable", `the worker did not start: ${messageOf(error)}`, {}, { cause: error });
  }
}

export class WorkerConnection implements Connection {
  readonly #worker: Worker;
  #started = false;
  onmessage: Connection["onmessage"] = () => undefined;
  onfailure: Connection["onfailure"] = () => undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<FromHost>) => {
      this.#started = true;
      this.onmessage(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      // A script that cannot be fetched or parsed fails with a plain event, without a message.
      this.onfailure(event.message ?? "its script could not be loaded", this.#started);
    };
    worker.onmessageerror = () => this.onfailure("a message could not be read", this.#started);
  }

  post(message: ToHost): void {
    this.#worker.postMessage(message);
  }

  /**
   * Asks first, so that the host stops its threads. Browsers end a thread that
   * waits for work only after seconds, and keep all memory until then.
   */
  close(): void {
    this.onmessage = () => undefined;
    this.onfailure = () => undefined;
    this.post({ type: "close" });
    setTimeout(() => this.#worker.terminate(), CLOSE_MS);
  }
}

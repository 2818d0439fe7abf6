/**
 * The line to an engine host on this very thread.
 *
 * Messages are delivered in later tasks, as a worker's are: a caller never
 * sees an answer before its call has returned.
 */

import { EngineHost, type HostEnvironment } from "./engine-host.js";
import type { Connection, ToHost } from "./protocol.js";

export class LocalConnection implements Connection {
  readonly #host: EngineHost;
  onmessage: Connection["onmessage"] = () => undefined;
  onfailure: Connection["onfailure"] = () => undefined;

  constructor(environment: HostEnvironment) {
    this.#host = new EngineHost(environment, (message) => queueMicrotask(() => this.onmessage(message)));
  }

  post(message: ToHost): void {
    queueMicrotask(() => this.#host.receive(message));
  }

  close(): void {
    this.#host.close();
  }
}

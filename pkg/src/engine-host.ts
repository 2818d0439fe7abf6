/**
 * Owns one engine: takes calls, runs the step loop, answers.
 *
 * Runs in the worker, or on the caller's own thread, and knows no difference.
 * A call into the engine is always short and never spans an `await`: work is
 * queued as jobs and taken forward step by step, and between steps the event
 * loop gets in, so that aborts, other calls and other jobs do too.
 */

import type { Engine, EngineEvent, Runtime, StartedRuntime } from "./engine.js";
import { abortError, CacherError, isTrap, messageOf, toErrorData } from "./errors.js";
import { yieldToEventLoop } from "./event-loop.js";
import { loadModel } from "./loading/load.js";
import type { Fetch } from "./models/http.js";
import type { Call, FromHost, LoadRequest, Methods, RuntimeRequest, ToHost } from "./protocol.js";
import { openStore } from "./store/open.js";

/** What differs between browser, Node and tests. */
export interface HostEnvironment {
  fetch: Fetch;
  /** `onCrash`: one of its threads has trapped. */
  runtime(fetch: Fetch, request: RuntimeRequest, onCrash: (message: string) => void): Promise<StartedRuntime>;
  openStore?: typeof openStore;
}

export type Post = (message: FromHost, transfer?: Transferable[]) => void;

/** A call that the engine has queued. */
interface Job {
  id: number;
  method: "generate" | "logits";
}

export class EngineHost {
  readonly #environment: HostEnvironment;
  readonly #post: Post;
  readonly #jobs = new Map<number, Job>();
  readonly #loads = new Map<number, AbortController>();
  #runtime: Runtime | undefined;
  #engine: Engine | undefined;
  #stepping = false;
  #closed = false;

  constructor(environment: HostEnvironment, post: Post) {
    this.#environment = environment;
    this.#post = post;
  }

  receive(message: ToHost): void {
    if (message.type === "close") return this.close();
    try {
      if (message.type === "cancel") this.#cancel(message.id);
      else this.#call(message);
    } catch (error) {
      this.#fail(message.id, error);
    }
  }

  /** Frees the engine; nothing is posted any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const load of this.#loads.values()) load.abort();
    if (this.#runtime?.alive === true) this.#engine?.free();
    this.#engine = undefined;
    this.#runtime?.close?.();
  }

  #call(call: Call): void {
    switch (call.method) {
      case "load":
        void this.#load(call.id, call.args);
        return;
      case "tokenize":
        return this.#value(call.id, this.#live().encode(call.args.text, call.args.parseSpecial));
      case "detokenize":
        return this.#value(call.id, this.#live().decode(call.args.ids));
      case "generate":
        return this.#queue(call, this.#live().addGeneration(call.args.prompt, call.args.options));
      case "logits":
        return this.#queue(call, this.#live().addLogits(call.args.tokens, call.args.positions));
      case "memory":
        return this.#value(call.id, {
          weightBytes: this.#live().info().weightBytes,
          wasmBytes: (this.#runtime as Runtime).memory.buffer.byteLength,
        });
    }
  }

  /** The engine, where calling it is allowed. */
  #live(): Engine {
    if (this.#engine === undefined) throw new CacherError("internal", "no model is loaded");
    if (this.#runtime?.alive === false) throw new WebAssembly.RuntimeError("the wasm instance was lost");
    return this.#engine;
  }

  async #load(id: number, { source, store, ...wanted }: LoadRequest): Promise<void> {
    const controller = new AbortController();
    this.#loads.set(id, controller);
    const { fetch, runtime, openStore: open = openStore } = this.#environment;
    try {
      const { runtime: started, info } = await runtime(fetch, wanted, (message) => this.#crash(message));
      this.#runtime = started;
      const { engine, storage } = await loadModel(source, store, {
        module: started.module,
        memory: started.memory,
        dtype: wanted.dtype,
        fetch,
        signal: controller.signal,
        onProgress: (event) => this.#send({ type: "event", id, event }),
        openStore: open,
      });
      if (this.#closed) return engine.free();
      this.#engine = engine;
      this.#value(id, { model: engine.info(), storage, runtime: await info });
    } catch (error) {
      this.#fail(id, error);
    } finally {
      this.#loads.delete(id);
    }
  }

  #queue({ id, method }: Call & { method: Job["method"] }, job: number): void {
    this.#jobs.set(job, { id, method });
    if (!this.#stepping) void this.#stepAll();
  }

  async #stepAll(): Promise<void> {
    this.#stepping = true;
    try {
      // A first yield lets calls made together join the same first step.
      await yieldToEventLoop();
      while (!this.#closed && this.#live().busy()) {
        for (const event of this.#live().step()) this.#dispatch(event);
        await yieldToEventLoop();
      }
    } catch (error) {
      if (!this.#closed) for (const { id } of [...this.#jobs.values()]) this.#fail(id, error);
      this.#jobs.clear();
    } finally {
      this.#stepping = false;
    }
  }

  #dispatch(event: EngineEvent): void {
    const job = this.#jobs.get(event.job);
    if (job === undefined) return;
    const { id } = job;
    switch (event.type) {
      case "chunk":
        return this.#send({ type: "event", id, event: { text: event.text, tokens: event.tokens } });
      case "done":
        this.#jobs.delete(event.job);
        return this.#value(id, event.result);
      case "logits": {
        this.#jobs.delete(event.job);
        const { data, shape, tokens } = event;
        return this.#value(id, { data, shape, tokens }, [data.buffer as ArrayBuffer]);
      }
      case "error":
        this.#jobs.delete(event.job);
        return this.#fail(id, event.error);
    }
  }

  #cancel(id: number): void {
    this.#loads.get(id)?.abort();
    for (const [job, { id: jobId, method }] of this.#jobs) {
      if (jobId !== id) continue;
      this.#live().cancel(job);
      if (method === "logits") {
        this.#jobs.delete(job);
        this.#fail(id, abortError());
      }
    }
  }

  #value(id: number, value: Methods[keyof Methods]["value"], transfer?: Transferable[]): void {
    this.#send({ type: "value", id, value }, transfer);
  }

  /** A trap ends the whole host, any other error its own call. */
  #fail(id: number, error: unknown): void {
    if (isTrap(error)) this.#crash(messageOf(error));
    else this.#send({ type: "error", id, error: toErrorData(error) });
  }

  #crash(message: string): void {
    if (this.#runtime !== undefined) this.#runtime.alive = false;
    this.#send({ type: "crashed", message });
    this.close();
  }

  #send(message: FromHost, transfer?: Transferable[]): void {
    if (!this.#closed) this.#post(message, transfer);
  }
}

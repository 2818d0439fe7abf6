/**
 * Owns one engine: takes calls, runs the step loop, answers.
 *
 * Runs in the worker, or on the caller's own thread, and knows no difference.
 * A call into the engine is always short and never spans an `await`: work is
 * queued as jobs and taken forward step by step, and between steps the event
 * loop gets in, so that aborts, other calls and other jobs do too.
 */

import type { AnalysisCall } from "./analysis/messages.js";
import type { AnalysisProgress } from "./analysis/types.js";
import type { Engine, EngineEvent, Runtime, StartedRuntime } from "./engine.js";
import { BeamHost } from "./beam/host.js";
import type { BeamStep } from "./beam/types.js";
import { type CacheEnvironment, CacheHost } from "./cache/host.js";
import type { CacheStats } from "./cache/types.js";
import { abortError, CacherError, isTrap, messageOf, throwIfAborted, toErrorData } from "./errors.js";
import { yieldToEventLoop } from "./event-loop.js";
import { type EngineReport, type HostInspection, kvInspection } from "./inspection/inspect.js";
import { loadModel } from "./loading/load.js";
import type { Fetch } from "./models/http.js";
import type { Call, FromHost, LoadRequest, Methods, OpenRequest, RuntimeRequest, ToHost } from "./protocol.js";
import { StateHost } from "./states/host.js";
import { openStore } from "./store/open.js";
import { FlowValue, UNLIMITED } from "./streaming/flow.js";
import { type Sink, STOPPED } from "./streaming/sink.js";
import type { GenerationChunk } from "./types.js";

/** What differs between browser, Node and tests. */
export interface HostEnvironment {
  fetch: Fetch;
  /** `onCrash`: one of its threads has trapped. */
  runtime(fetch: Fetch, request: RuntimeRequest, onCrash: (message: string) => void): Promise<StartedRuntime>;
  openStore?: typeof openStore;
  /** In Node: a cache's layer in a folder. */
  openFileLayer?: CacheEnvironment["openFileLayer"];
}

export type Post = (message: FromHost, transfer?: Transferable[]) => void;

/** What jobs give while they run. */
type Given = GenerationChunk | BeamStep;

/** Work that the engine has queued, and who waits for it. */
interface Job {
  /** Of a generation, or of a beam search. */
  sink?: Sink<Given> | undefined;
  /** Chunks given. */
  given: number;
  paused: boolean;
  /** Of an analysis. */
  onProgress: ((progress: AnalysisProgress) => void) | undefined;
  /** With the event that ends it. */
  end(event: EngineEvent): void;
  fail(error: unknown): void;
}

export class EngineHost {
  readonly #environment: HostEnvironment;
  readonly #post: Post;
  readonly #jobs = new Map<number, Job>();
  /** Calls that are not answered at once. */
  readonly #running = new Map<number, { controller: AbortController; flow: FlowValue }>();
  readonly #beams = new BeamHost({
    engine: () => this.#live(),
    run: (job, signal, sink) => this.#run(job, signal, sink as Sink<Given>),
  });
  #states: StateHost | undefined;
  /** Opened when it is first asked: a page that does not use it pays nothing. */
  #cache: CacheHost | undefined;
  #openCache = (): CacheHost => {
    throw new CacherError("internal", "no cache is open");
  };
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
      if (message.type === "cancel") this.#running.get(message.id)?.controller.abort(message.reason === "callback" ? STOPPED : undefined);
      else if (message.type === "flow") this.#regulate(message.id, message.allowed);
      else this.#call(message);
    } catch (error) {
      this.#fail(message.id, error);
    }
  }

  /** Frees the engine; nothing is posted any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { controller } of this.#running.values()) controller.abort();
    this.#states?.close();
    this.#cache?.close(this.#runtime?.alive === true);
    if (this.#runtime?.alive === true) this.#engine?.free();
    this.#engine = undefined;
    this.#runtime?.close?.();
  }

  #call(call: Call): void {
    switch (call.method) {
      case "load":
        return this.#begin(call, ({ signal }) => this.#load(call.id, call.args, signal));
      case "tokenize":
        return this.#value(call.id, this.#live().encode(call.args.text, call.args.parseSpecial));
      case "detokenize":
        return this.#value(call.id, this.#live().decode(call.args.ids));
      case "generate": {
        const job = this.#live().addGeneration(call.args.prompt, call.args.options);
        return this.#begin(call, (sink) => this.#generate(call.id, job, sink));
      }
      case "beamSearch": {
        const { prompt, options, asks } = call.args;
        const job = this.#live().addBeamSearch(prompt, options, asks !== null);
        return this.#begin(call, async (sink) => this.#value(call.id, await this.#beams.search(job, asks, sink)));
      }
      case "allowTokens":
        this.#beams.allow(call.args);
        return this.#value(call.id, null);
      case "logits": {
        const job = this.#live().addLogits(call.args.tokens, call.args.positions);
        return this.#begin(call, ({ signal }) => this.#logits(call.id, job, signal));
      }
      case "analyse":
        return this.#begin(call, ({ signal }) => this.#analyse(call.id, call.args, signal));
      case "memory":
        return this.#value(call.id, {
          weightBytes: this.#live().info().weightBytes,
          wasmBytes: (this.#runtime as Runtime).memory.buffer.byteLength,
        });
      case "inspect":
        return this.#begin(call, async ({ signal }) => this.#value(call.id, await this.#inspect(signal)));
      case "open":
        return this.#begin(call, ({ signal }) => this.#open(call.id, call.args, signal));
      case "cache":
        return this.#begin(call, async ({ signal }) => {
          if (this.#runtime?.alive === false) this.#live();
          this.#cache ??= this.#openCache();
          const onEvent = (event: unknown) => this.#send({ type: "event", id: call.id, event });
          this.#value(call.id, await this.#cache.answer(call.args, signal, onEvent));
        });
      case "states":
        return this.#begin(call, async (sink) => {
          this.#live();
          if (this.#states === undefined) throw new CacherError("internal", "no model is loaded");
          const onEvent = (event: unknown) => this.#send({ type: "event", id: call.id, event });
          this.#value(call.id, await this.#states.answer(call.args, sink, onEvent));
        });
    }
  }

  /** Runs `work`, which answers the call in its own time; a cancellation of the call aborts the sink's signal. */
  #begin({ id, allowed }: Call, work: (sink: Sink<Given>) => Promise<void>): void {
    const controller = new AbortController();
    const flow = new FlowValue(allowed);
    this.#running.set(id, { controller, flow });
    const sink: Sink<Given> = {
      give: (event) => this.#send({ type: "event", id, event }),
      readPrompt: (prompt) => this.#send({ type: "event", id, event: { prompt } }),
      flow,
      signal: controller.signal,
    };
    void work(sink)
      .catch((error: unknown) => this.#fail(id, error))
      .finally(() => this.#running.delete(id));
  }

  #regulate(id: number, allowed: number): void {
    const running = this.#running.get(id);
    if (running !== undefined) running.flow.allowed = allowed;
  }

  /** The engine, where calling it is allowed. */
  #live(): Engine {
    if (this.#engine === undefined) throw new CacherError("internal", "no model is loaded");
    if (this.#runtime?.alive === false) throw new WebAssembly.RuntimeError("the wasm instance was lost");
    return this.#engine;
  }

  async #open(id: number, { cache, ...wanted }: OpenRequest, signal: AbortSignal): Promise<void> {
    const { fetch, runtime, openFileLayer } = this.#environment;
    const { runtime: started } = await runtime(fetch, wanted, (message) => this.#crash(message));
    throwIfAborted(signal);
    this.#runtime = started;
    const unavailable = async () => {
      throw new CacherError("internal", "this cache was opened without a model");
    };
    const environment = { module: started.module, engine: undefined, openFileLayer, describeState: unavailable, embed: unavailable };
    this.#cache = new CacheHost(cache, environment);
    this.#value(id, null);
  }

  async #load(id: number, { source, store, states, cache, ...wanted }: LoadRequest, signal: AbortSignal): Promise<void> {
    const { fetch, runtime, openStore: open = openStore } = this.#environment;
    const { runtime: started, info } = await runtime(fetch, wanted, (message) => this.#crash(message));
    this.#runtime = started;
    this.#openCache = () => {
      if (cache === null) throw new CacherError("invalid-argument", "cache: this model was loaded with `cache: false`");
      return new CacheHost(cache, {
        ...{ module: started.module, engine: () => this.#live(), openFileLayer: this.#environment.openFileLayer },
        describeState: (id, options) => this.#states!.describe(id, options),
        embed: (text, embedSignal) => this.#embed(text, embedSignal),
      });
    };
    // While the model loads, its database is opened; and settings that cannot be are told here, not by the first request.
    if (cache?.use === "reproducible") this.#cache = this.#openCache();
    const { engine, storage } = await loadModel(source, store, {
      module: started.module,
      memory: started.memory,
      dtype: wanted.dtype,
      fetch,
      signal,
      onProgress: (event) => this.#send({ type: "event", id, event }),
      openStore: open,
    });
    if (this.#closed) return engine.free();
    this.#engine = engine;
    this.#states = new StateHost(states, {
      module: started.module,
      engine: () => this.#live(),
      run: (job, jobSignal, sink) => this.#run(job, jobSignal, sink as Sink<Given> | undefined),
      beams: this.#beams,
    });
    this.#value(id, { model: engine.info(), storage, runtime: await info });
  }

  async #generate(id: number, job: number, sink: Sink<GenerationChunk>): Promise<void> {
    const event = await this.#run(job, sink.signal, sink);
    if (event.type === "done") this.#value(id, event.result);
  }

  async #embed(text: string, signal: AbortSignal): Promise<Float32Array> {
    const event = await this.#run(this.#live().addEmbedding(text, false), signal);
    if (event.type !== "embedding") throw new CacherError("internal", `a job ended with "${event.type}"`);
    return event.data;
  }

  async #logits(id: number, job: number, signal: AbortSignal): Promise<void> {
    const event = await this.#run(job, signal);
    if (event.type !== "logits") return;
    const { data, shape, tokens } = event;
    this.#value(id, { data, shape, tokens }, [data.buffer as ArrayBuffer]);
  }

  async #analyse(id: number, { request, subjects }: AnalysisCall, signal: AbortSignal): Promise<void> {
    this.#live();
    for (const subject of subjects) {
      if (typeof subject === "object" && "state" in subject) await this.#states?.fetchBlocks(subject.state);
      throwIfAborted(signal);
    }
    const job = this.#live().addAnalysis(request, subjects);
    const event = await this.#run(job, signal, undefined, (progress) => this.#send({ type: "event", id, event: progress }));
    if (event.type !== "analysed") return;
    const { value, arrays } = event;
    this.#value(id, { value, arrays }, arrays.map(({ data }) => data.buffer as ArrayBuffer));
  }

  async #inspect(signal: AbortSignal): Promise<HostInspection> {
    this.#live();
    const [states, cache] = await Promise.all([
      this.#states?.inspect(),
      this.#cache?.answer({ name: "stats", args: null }, signal, () => undefined) as Promise<CacheStats> | undefined,
    ]);
    const report = JSON.parse(this.#live().inspect()) as EngineReport;
    return { memory: report.memory, kv: kvInspection(report, states?.blocks), states: states?.usage ?? null, cache: cache ?? null };
  }

  /**
   * Runs a job to the event that ends it. Aborted, a job that reports chunks
   * ends with what there is by then; any other is dropped.
   */
  #run(job: number, signal: AbortSignal, sink?: Sink<Given>, onProgress?: (progress: AnalysisProgress) => void): Promise<EngineEvent> {
    const flow = sink?.flow ?? UNLIMITED;
    return new Promise<EngineEvent>((end, fail) => {
      const cancel = () => {
        try {
          this.#live().cancel(job, signal.reason === STOPPED ? "callback" : undefined);
        } catch (error) {
          return fail(error);
        }
        if (sink !== undefined) return this.#wake();
        this.#jobs.delete(job);
        fail(abortError());
      };
      const unfollow = flow.onchange(() => this.#hold(job));
      const settled = () => {
        unfollow();
        signal.removeEventListener("abort", cancel);
      };
      this.#jobs.set(job, {
        sink,
        given: 0,
        paused: false,
        onProgress,
        end: (event) => {
          settled();
          end(event);
        },
        fail: (error) => {
          settled();
          fail(error);
        },
      });
      if (signal.aborted) cancel();
      else signal.addEventListener("abort", cancel, { once: true });
      this.#hold(job);
      this.#wake();
    });
  }

  /** Pauses a job that has given all that is wanted for now; lets it go on where more is. */
  #hold(id: number): void {
    const job = this.#jobs.get(id);
    if (job?.sink === undefined) return;
    const paused = job.given >= job.sink.flow.allowed;
    if (paused === job.paused) return;
    job.paused = paused;
    try {
      if (paused) return this.#live().pause(id);
      this.#live().resume(id);
    } catch (error) {
      return job.fail(error);
    }
    this.#wake();
  }

  /** Has the steps go on, where they have stopped for want of work. */
  #wake(): void {
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
      const jobs = [...this.#jobs.values()];
      this.#jobs.clear();
      if (!this.#closed) for (const { fail } of jobs) fail(error);
    } finally {
      this.#stepping = false;
    }
  }

  #dispatch(event: EngineEvent): void {
    const job = this.#jobs.get(event.job);
    if (job === undefined) return;
    if (event.type === "progress") {
      const { job: _, type: _type, ...progress } = event;
      return job.sink?.readPrompt?.(progress);
    }
    if (event.type === "analysisProgress") return job.onProgress?.({ done: event.done, total: event.total });
    if (event.type === "chunk" || event.type === "beamStep") {
      const { job: _, type: _type, ...chunk } = event;
      job.given++;
      job.sink?.give(chunk);
      return this.#hold(event.job);
    }
    this.#jobs.delete(event.job);
    if (event.type === "error") job.fail(event.error);
    else job.end(event);
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

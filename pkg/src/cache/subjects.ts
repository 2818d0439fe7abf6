/**
 * What a request is about: its key, and what a kept value is to it.
 */

import { CacherError } from "../errors.js";
import { toJson } from "../states/json.js";
import type { CacheEnvironment } from "./host.js";
import type { CoreStatics } from "./core.js";
import type { Content, Subject } from "./requests.js";
import type { CacheEntry } from "./types.js";

/** A request, described. */
export interface Asked {
  key: string;
  /** All that decides the answer, as canonical JSON. */
  json: string;
  reproducible: boolean;
  /** Whether it can be computed anew by itself: of a state, only where its random numbers begin with a seed or are not used. */
  renewable: boolean;
  title: string;
  model: string | null;
  /** What makes the answer. */
  source: string;
  /** What to find it by other than its key; `null` for what has no prompt. */
  semantic: { family: string; prompt: string } | null;
  /** Of the prompt, once it was computed; */
  vector: Float32Array | undefined;
  /** and while it is. */
  placing?: Promise<void>;
}

/** The engine's own description of a generation. */
interface Described {
  request: { engine: string; rng: { position: string } | null };
  family: unknown;
  reproducible: boolean;
  prompt: string;
}

/** A generation as it is kept. */
interface Recording {
  tokens: number[];
  chunks: [tokens: number, ms: number][];
}

const TITLE_LENGTH = 200;

export class Subjects {
  readonly #statics: CoreStatics;
  readonly #environment: CacheEnvironment;

  constructor(statics: CoreStatics, environment: CacheEnvironment) {
    this.#statics = statics;
    this.#environment = environment;
  }

  async describe(subject: Subject): Promise<Asked> {
    if (subject.kind === "value") {
      const request = this.#statics.canonical(subject.json);
      // Apart from generations, whatever the caller's JSON looks like.
      const json = this.#statics.canonical(`{"kind":"${subject.stream ? "stream" : "value"}","request":${request}}`);
      const key = this.#statics.key(json);
      return { key, json, reproducible: true, renewable: true, title: cut(request), model: null, source: "cacher-wasm", semantic: null, vector: undefined };
    }
    const described = JSON.parse(
      subject.kind === "generation"
        ? this.#engine().describeGeneration(subject.prompt, subject.options)
        : await this.#environment.describeState(subject.id, toJson(subject.options)),
    ) as Described;
    const { prompt, reproducible, request } = described;
    const json = this.#statics.canonical(JSON.stringify(request));
    return {
      key: this.#statics.key(json),
      json,
      reproducible,
      renewable: subject.kind === "generation" || request.rng === null || request.rng.position === "0",
      title: cut(prompt),
      model: this.#engine().info().sha256,
      source: request.engine,
      semantic: prompt === "" ? null : { family: this.#statics.key(JSON.stringify(described.family)), prompt },
      vector: undefined,
    };
  }

  /** A kept value as the answer to a subject. Error: `invalid-cache-record` where it cannot be one. */
  async content(subject: Subject, asked: Asked, value: string | Uint8Array): Promise<Content> {
    if (subject.kind === "value") return { kind: "value", value };
    if (typeof value !== "string") throw new CacherError("invalid-cache-record", "a generation's record has bytes");
    const engine = this.#engine();
    if (subject.kind === "generation") {
      const { chunks, result } = engine.replayGeneration(subject.prompt, subject.options, value);
      return { kind: "generation", chunks, result, times: timesOf(value) };
    }
    engine.replayStateGeneration(subject.id, toJson(subject.options), value, false);
    return { kind: "state", times: timesOf(value), kept: { request: asked.json, recording: value } };
  }

  /** The text of a kept generation; `null` for other values, and without the model that made it. */
  textOf(entry: CacheEntry, value: string | Uint8Array): string | null {
    const { engine } = this.#environment;
    if (entry.kind !== "generation" || typeof value !== "string" || engine === undefined) return null;
    const { sha256, hasTokenizer } = engine().info();
    if (sha256 !== entry.model || !hasTokenizer) return null;
    return engine().decode(Uint32Array.from((JSON.parse(value) as Recording).tokens));
  }

  #engine(): ReturnType<NonNullable<CacheEnvironment["engine"]>> {
    const { engine } = this.#environment;
    if (engine === undefined) throw new CacherError("internal", "this cache was opened without a model");
    return engine();
  }
}

/** When each chunk came; the engine has checked the JSON. */
function timesOf(recording: string): number[] {
  return (JSON.parse(recording) as Recording).chunks.map(([, ms]) => ms);
}

function cut(text: string): string {
  return text.length <= TITLE_LENGTH ? text : [...text.slice(0, TITLE_LENGTH * 2)].slice(0, TITLE_LENGTH).join("");
}

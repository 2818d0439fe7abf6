/**
 * Answers the question whether an answer is there: finds it, or decides that the
 * asker computes it, or that another does already.
 */

import { CacherError, messageOf, toCacherError } from "../errors.js";
import type { Core } from "./core.js";
import type { Journal } from "./journal.js";
import type { Leases } from "./leases.js";
import type { Answer, CacheRequests, CacheSettings, Content, Subject } from "./requests.js";
import type { Semantics } from "./semantics.js";
import type { Asked, Subjects } from "./subjects.js";
import type { Hit, Tiers } from "./tiers.js";
import type { CacheLabel } from "./types.js";
import type { Upkeep } from "./upkeep.js";

/** What the host has made. */
export interface AskingParts {
  /** They may change. */
  settings: CacheSettings;
  core: Core;
  tiers: Tiers;
  leases: Leases;
  subjects: Subjects;
  semantics: Semantics;
  journal: Journal;
  upkeep: Upkeep;
}

type HitAnswer = Extract<Answer, { status: "hit" }>;

const NEVER = new AbortController().signal;

export class Asking {
  readonly #settings: CacheSettings;
  readonly #core: Core;
  readonly #tiers: Tiers;
  readonly #leases: Leases;
  readonly #subjects: Subjects;
  readonly #semantics: Semantics;
  readonly #journal: Journal;
  readonly #upkeep: Upkeep;
  /** What the leases are for. */
  readonly #leased = new Map<number, Asked>();

  constructor({ settings, core, tiers, leases, subjects, semantics, journal, upkeep }: AskingParts) {
    this.#settings = settings;
    this.#core = core;
    this.#tiers = tiers;
    this.#leases = leases;
    this.#subjects = subjects;
    this.#semantics = semantics;
    this.#journal = journal;
    this.#upkeep = upkeep;
  }

  async ask({ subject, mode }: CacheRequests["ask"]["args"], signal: AbortSignal): Promise<Answer> {
    const asked = await this.#subjects.describe(subject);
    if (mode === "auto" && (this.#settings.use === "none" || !asked.reproducible)) return { status: "off" };
    const begun = performance.now();
    const { key } = asked;
    if (mode !== "refresh") {
      const hit = (await this.#lookUp(asked, subject, begun, mode !== "only")) ?? (await this.#lookUpMeaning(asked, subject, begun, signal));
      if (hit !== undefined) return hit;
      if (mode === "only") {
        this.#missed(asked, begun);
        throw new CacherError("not-cached", "the cache has no answer to this request", { key });
      }
    }
    for (;;) {
      const got = await this.#leases.take(key, signal);
      if (got === "join") return { status: "join", key };
      if (typeof got !== "number") {
        const shared = got.record === null ? await this.#tiers.findAgain(key) : this.#tiers.take(key, got.record, { stale: false });
        const answer = shared && (await this.#toAnswer(shared, asked, subject, begun, { shared: true }));
        if (answer !== undefined) return answer;
        continue;
      }
      // Another tab may have ended it between the look and the lock.
      const late = mode === "refresh" || !this.#leases.acrossTabs ? undefined : await this.#tiers.findAgain(key);
      const answer = late && (await this.#toAnswer(late, asked, subject, begun, { shared: true }));
      if (answer !== undefined) {
        this.#leases.end(got)?.release();
        return answer;
      }
      if (mode === "refresh") this.#refreshes(key);
      else this.#missed(asked, begun);
      this.#lease(got, asked);
      return { status: "lead", key, lease: got };
    }
  }

  /** What a lease was for, which then is for nothing any more. */
  settle(lease: number): Asked | undefined {
    const asked = this.#leased.get(lease);
    this.#leased.delete(lease);
    return asked;
  }

  /** Looks, and no more. */
  async get(subject: Subject): Promise<HitAnswer | null> {
    const asked = await this.#subjects.describe(subject);
    const begun = performance.now();
    const hit = await this.#tiers.find(asked.key, { stale: false, count: true });
    const answer = hit && (await this.#toAnswer(hit, asked, subject, begun, {}));
    if (answer === undefined) this.#missed(asked, begun);
    return answer ?? null;
  }

  async #lookUp(asked: Asked, subject: Subject, begun: number, refresh: boolean): Promise<HitAnswer | undefined> {
    const hit = await this.#tiers.find(asked.key, { stale: asked.renewable, count: true });
    return hit && this.#toAnswer(hit, asked, subject, begun, { refresh });
  }

  /** Looks for the answer to a prompt that means the same. */
  async #lookUpMeaning(asked: Asked, subject: Subject, begun: number, signal: AbortSignal): Promise<HitAnswer | undefined> {
    if (!this.#settings.semantic || asked.semantic === null) return undefined;
    try {
      const match = await this.#semantics.match(asked, this.#settings.semanticThreshold, signal);
      if (match === undefined) return undefined;
      // Put away since it was looked for by its key.
      if (match.hit.entry.key === asked.key) return this.#toAnswer(match.hit, asked, subject, begun, {});
      const content = await this.#subjects.content(subject, asked, match.hit.value);
      const label = { ...toLabel(match.hit, match.hit.entry.key, false), hit: "semantic" as const, score: match.score, matchedPrompt: match.prompt };
      this.#counted("semantic", match.hit, begun);
      return { status: "hit", label, content, entry: match.hit.entry, refresh: null };
    } catch (error) {
      if (toCacherError(error).code === "aborted") throw error;
      this.#journal.fault(asked.key, null, messageOf(error));
      return undefined;
    }
  }

  /** A hit as an answer; `undefined` where it turns out to be none, and is then dropped. */
  async #toAnswer(hit: Hit, asked: Asked, subject: Subject, begun: number, { shared = false, refresh: may = false }): Promise<HitAnswer | undefined> {
    let content: Content;
    try {
      content = await this.#subjects.content(subject, asked, hit.value);
    } catch (error) {
      this.#journal.rejected(hit.layer, asked.key, messageOf(error));
      await this.#tiers.delete([asked.key]);
      return undefined;
    }
    this.#counted(hit.stale ? "stale" : shared ? "shared" : "exact", hit, begun);
    let refresh: number | null = null;
    if (may && (hit.stale || hit.due) && asked.renewable) {
      refresh = await this.#leases.takeIfFree(asked.key);
      if (refresh !== null) {
        this.#lease(refresh, asked);
        this.#refreshes(asked.key);
      }
    }
    return { status: "hit", label: toLabel(hit, asked.key, shared), content, entry: hit.entry, refresh };
  }

  #counted(what: "exact" | "stale" | "semantic" | "shared", { entry, layer }: Hit, begun: number): void {
    this.#core.answered(what, entry.model ?? undefined, performance.now() - begun, entry.costMs, entry.tokens);
    this.#upkeep.noteUse(entry);
    this.#journal.tell({ type: "hit", key: entry.key, layer, hit: what === "shared" ? "exact" : what });
  }

  #lease(lease: number, asked: Asked): void {
    this.#leased.set(lease, asked);
    // Who refreshes has not compared it.
    if (this.#settings.semantic) void this.#semantics.place(asked, NEVER);
  }

  #refreshes(key: string): void {
    this.#core.answered("refresh", undefined, 0, 0, 0);
    this.#journal.tell({ type: "refresh", key });
  }

  #missed(asked: Asked, begun: number): void {
    this.#core.answered("miss", asked.model ?? undefined, performance.now() - begun, 0, 0);
    this.#journal.tell({ type: "miss", key: asked.key });
  }
}

function toLabel({ stale, layer, entry }: Hit, key: string, shared: boolean): CacheLabel {
  return {
    hit: stale ? "stale" : "exact",
    layer,
    key,
    ageMs: Math.max(0, Date.now() - entry.created),
    shared,
    savedMs: entry.costMs,
    score: null,
    matchedPrompt: null,
  };
}

/**
 * What the tabs that share a database of states tell each other: which states
 * have changed, and who holds the lock of one.
 *
 * Any script of the origin may post on the channel, so messages are checked;
 * a forged one can make a tab read again or wait, no more.
 */

import { CacherError } from "../errors.js";

/** Ids of states. */
export interface StateChange {
  changed: string[];
  deleted: string[];
}

type Message =
  | ({ kind: "change" } & StateChange)
  | { kind: "who-holds"; id: string; question: string }
  | { kind: "i-hold"; question: string };

interface Question {
  answered(): void;
  closed(): void;
}

export class StateChannel {
  readonly #channel: BroadcastChannel | undefined;
  readonly #listeners = new Set<(change: StateChange) => void>();
  readonly #questions = new Map<string, Question>();
  #holds: (id: string) => boolean = () => false;
  #closed = false;

  /** Opens the channel of a database; where there are none, nobody is told and nobody answers. */
  constructor(database: string) {
    if (typeof BroadcastChannel === "undefined") return;
    this.#channel = new BroadcastChannel(`cacher-states:${database}`);
    this.#channel.onmessage = ({ data }) => this.#receive(readMessage(data));
    // In Node an open channel would keep the process alive.
    if ("unref" in this.#channel) (this.#channel.unref as () => void)();
  }

  /** Tells the other tabs. */
  announce({ changed, deleted }: StateChange): void {
    this.#post({ kind: "change", changed, deleted });
  }

  /** Calls `listener` with what other tabs announce; returns the way out. */
  onchange(listener: (change: StateChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Asks the other tabs who holds the lock of a state; whether any says that it does within `limitMs`. */
  async isHeld(id: string, limitMs: number): Promise<boolean> {
    if (this.#closed) throw closedError();
    const question = `${Math.random()}`;
    const answer = new Promise<boolean>((resolve, reject) => {
      const silence = setTimeout(resolve, limitMs, false);
      this.#questions.set(question, {
        answered: () => {
          clearTimeout(silence);
          resolve(true);
        },
        closed: () => {
          clearTimeout(silence);
          reject(closedError());
        },
      });
    });
    this.#post({ kind: "who-holds", id, question });
    try {
      return await answer;
    } finally {
      this.#questions.delete(question);
    }
  }

  /** Whether this tab holds the lock of a state, for when another asks. */
  answer(holds: (id: string) => boolean): void {
    this.#holds = holds;
  }

  close(): void {
    this.#closed = true;
    this.#channel?.close();
    for (const question of this.#questions.values()) question.closed();
  }

  #post(message: Message): void {
    if (!this.#closed) this.#channel?.postMessage(message);
  }

  #receive(message: Message | undefined): void {
    if (message?.kind === "who-holds") {
      if (this.#holds(message.id)) this.#post({ kind: "i-hold", question: message.question });
    } else if (message?.kind === "i-hold") {
      this.#questions.get(message.question)?.answered();
    } else if (message?.kind === "change") {
      const { changed, deleted } = message;
      for (const listener of this.#listeners) listener({ changed, deleted });
    }
  }
}

/** To take silence for an answer would shut out an owner that lives. */
function closedError(): CacherError {
  return new CacherError("disposed", "the channel to the other tabs was closed");
}

function readMessage(data: unknown): Message | undefined {
  const message = data as Partial<Record<"kind" | "changed" | "deleted" | "id" | "question", unknown>> | null | undefined;
  const { changed, deleted, id, question } = message ?? {};
  switch (message?.kind) {
    case "change":
      return isTexts(changed) && isTexts(deleted) ? { kind: "change", changed, deleted } : undefined;
    case "who-holds":
      return typeof id === "string" && typeof question === "string" ? { kind: "who-holds", id, question } : undefined;
    case "i-hold":
      return typeof question === "string" ? { kind: "i-hold", question } : undefined;
    default:
      return undefined;
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

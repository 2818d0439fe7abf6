/** What several texts at once go on from, and how one of them becomes a state. */

import type { Cacher, EngineOptions, State, States } from "cacher-wasm";
import type { Session } from "../session.svelte.ts";

export type From = "prompt" | "text";

/** Where texts begin, as it was when they were begun. */
export interface Start {
  states: States;
  /** The open state and where it stood; `null` where they begin with the prompt. */
  state: { handle: State; revision: string } | null;
  input: string | Uint32Array;
}

/** Error: `invalid-argument` where there is no text to go on from. */
export async function startFrom(from: From, prompt: string, engine: Cacher, session: Session): Promise<Start> {
  const { states } = engine;
  if (from === "prompt") return { states, state: null, input: prompt };
  const open = session.states.current;
  if (!open) throw Object.assign(new Error("No text is open: generate one, or begin with the prompt"), { code: "invalid-argument" });
  const { handle, info } = open;
  return { states, state: { handle, revision: info.revision }, input: (await handle.tokens()).ids };
}

/** A text that was written from `start`, as a state: a fork where it went on from one. */
export async function toState(start: Start, promptTokens: readonly number[], written: string | readonly number[], config: EngineOptions): Promise<State> {
  const { states, state } = start;
  const made = state ? await state.handle.fork({ at: state.revision }) : await states.create({ tokens: promptTokens, config, evaluate: false });
  await made.append(written);
  return made;
}

/** Opens a state that `make` makes of a text, told in the panel of states; false where that failed. */
export function keep(session: Session, start: Start, make: () => Promise<State>): Promise<boolean> {
  return session.states.attempt("Kept as a state, which is open now.", async (states) => {
    if (states !== start.states) throw Object.assign(new Error("this text is of another model: write it anew"), { code: "invalid-argument" });
    await session.states.openHandle(await make());
  });
}

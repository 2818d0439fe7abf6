/**
 * One line on a terminal that is written over again and again; nothing anywhere
 * else, so that logs stay free of it.
 */

import type { LoadProgress } from "../types.js";
import type { Io } from "./api.js";
import { bytes } from "./format.js";

const ERASE = "\r\u001b[K";

export class ProgressLine {
  readonly #io: Pick<Io, "err" | "errIsTerminal">;
  #shown = "";

  constructor(io: Pick<Io, "err" | "errIsTerminal">) {
    this.#io = io;
  }

  show(text: string): void {
    if (!this.#io.errIsTerminal || text === this.#shown) return;
    this.#io.err(`${ERASE}${text}`);
    this.#shown = text;
  }

  clear(): void {
    if (this.#shown !== "") this.#io.err(ERASE);
    this.#shown = "";
  }
}

export function loadingText({ phase, loaded, total }: LoadProgress): string {
  const doing = { resolve: "looking for the model", download: "downloading", load: "loading", ready: "ready" }[phase];
  if (total === 0) return doing;
  return `${doing}: ${bytes(loaded)} of ${bytes(total)} (${Math.floor((100 * loaded) / total)} %)`;
}

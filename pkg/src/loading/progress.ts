/**
 * Turns byte counts of single files into reports over all of them.
 */

import type { LoadPhase, LoadProgress } from "../types.js";

/** Between reports; every chunk of a fast disk would flood the page. */
const INTERVAL_MS = 50;

export class Progress {
  readonly #report: (progress: LoadProgress) => void;
  readonly #files = new Map<string, { loaded: number; total: number }>();
  #phase: LoadPhase = "resolve";
  #reported = 0;

  constructor(report: (progress: LoadProgress) => void) {
    this.#report = report;
  }

  /** Begins a phase over `files`; its first report has the total. */
  begin(phase: LoadPhase, files: readonly { name: string; bytes: number | null; loaded?: number }[] = []): void {
    this.#phase = phase;
    this.#files.clear();
    for (const { name, bytes, loaded = 0 } of files) this.#files.set(name, { loaded, total: bytes ?? loaded });
    this.#emit();
  }

  /** `loaded` bytes of file `name` are done. */
  update(name: string, loaded: number, total: number | null): void {
    this.#files.set(name, { loaded, total: Math.max(total ?? 0, loaded) });
    const complete = [...this.#files.values()].every((file) => file.loaded === file.total);
    if (complete || performance.now() - this.#reported >= INTERVAL_MS) this.#emit(name);
  }

  #emit(file?: string): void {
    let loaded = 0;
    let total = 0;
    for (const each of this.#files.values()) {
      loaded += each.loaded;
      total += each.total;
    }
    this.#reported = performance.now();
    this.#report({ phase: this.#phase, loaded, total, ...(file === undefined ? {} : { file }) });
  }
}

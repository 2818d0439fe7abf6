/**
 * Keeps what there is of a text while it is being written, one write at a time
 * and not too often.
 */

export interface DraftSaving {
  /** There is more of the text. */
  touch(): void;
  /** Settles when nothing is being written any more. */
  end(): Promise<void>;
}

export function saveDrafts(save: () => Promise<void>, intervalMs: number): DraftSaving {
  let last = Date.now();
  let writing: Promise<void> | undefined;
  return {
    touch() {
      if (writing !== undefined || Date.now() - last < intervalMs) return;
      last = Date.now();
      writing = save()
        // The commit at the end will say what is wrong.
        .catch(() => undefined)
        .finally(() => (writing = undefined));
    },
    end: async () => writing,
  };
}

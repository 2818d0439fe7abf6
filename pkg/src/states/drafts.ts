/**
 * Keeps what there is of a text while it is being written, one write at a time
 * and not too often.
 */

export interface DraftSaving {
  /** There is more of the text. */
  touch(): void;
  /** There will be no more for some time: what there is is saved now. */
  rest(): void;
  /** Settles when nothing is being written any more. */
  end(): Promise<void>;
}

export function saveDrafts(save: () => Promise<void>, intervalMs: number): DraftSaving {
  let last = Date.now();
  let unsaved = false;
  let resting = false;
  let writing: Promise<void> | undefined;
  const write = () => {
    last = Date.now();
    unsaved = false;
    writing = save()
      // The commit at the end will say what is wrong.
      .catch(() => undefined)
      .finally(() => {
        writing = undefined;
        if (resting && unsaved) write();
      });
  };
  return {
    touch() {
      unsaved = true;
      resting = false;
      if (writing === undefined && Date.now() - last >= intervalMs) write();
    },
    rest() {
      resting = true;
      if (unsaved && writing === undefined) write();
    },
    async end() {
      resting = false;
      await writing;
    },
  };
}

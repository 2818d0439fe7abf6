/**
 * Reading a stored file into memory of the caller's choice.
 */

export interface FileReader {
  /**
   * The file's next `length` bytes; fewer only at its end. `into` is asked for
   * the place once the bytes are there, since wasm memory can move meanwhile.
   */
  read(length: number, into: (length: number) => Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** For stores that give a file in slices. */
export function sliceReader(slices: AsyncIterable<Uint8Array>): FileReader {
  const iterator = slices[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  return {
    async read(length, into) {
      let done = 0;
      while (done < length) {
        if (rest.length === 0) {
          const next = await iterator.next();
          if (next.done === true) break;
          rest = next.value;
        }
        const part = rest.subarray(0, length - done);
        into(length).set(part, done);
        rest = rest.subarray(part.length);
        done += part.length;
      }
      return done;
    },
    async close() {
      await iterator.return?.();
    },
  };
}

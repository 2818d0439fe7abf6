/**
 * Several streams as one: their chunks as they come, one of each at a time, so
 * that what holds up the reader holds up all.
 */

export interface Tagged<Tag, Chunk> {
  tag: Tag;
  chunk: Chunk;
}

/** A source that fails ends quietly: what failed is told elsewhere. Leaving early leaves all. */
export function mergedStreams<Tag, Chunk>(sources: readonly { tag: Tag; source: AsyncIterable<Chunk> }[]): AsyncIterator<Tagged<Tag, Chunk>, undefined> {
  const iterators = sources.map(({ tag, source }) => ({ tag, iterator: source[Symbol.asyncIterator]() }));
  type One = (typeof iterators)[number];
  const ready: { one: One; chunk: Chunk }[] = [];
  let open = iterators.length;
  let wake = () => {};
  const ask = (one: One) => {
    one.iterator
      .next()
      .catch(() => ({ done: true, value: undefined }) as const)
      .then((result) => {
        if (result.done === true) open--;
        else ready.push({ one, chunk: result.value });
        wake();
      });
  };
  iterators.forEach(ask);
  // Reads are answered one after the other.
  let turn: Promise<unknown> = Promise.resolve();
  const next = async (): Promise<IteratorResult<Tagged<Tag, Chunk>, undefined>> => {
    while (ready.length === 0 && open > 0) await new Promise<void>((resolve) => (wake = resolve));
    const first = ready.shift();
    if (first === undefined) return { done: true, value: undefined };
    ask(first.one);
    return { done: false, value: { tag: first.one.tag, chunk: first.chunk } };
  };
  return {
    next: () => {
      const result = turn.then(next);
      turn = result;
      return result;
    },
    return: async () => {
      ready.length = 0;
      await Promise.all(iterators.map(({ iterator }) => iterator.return?.()));
      return { done: true, value: undefined };
    },
  };
}

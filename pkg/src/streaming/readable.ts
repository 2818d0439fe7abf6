/**
 * Chunks in the forms that the web has for streams.
 */

import { toErrorData } from "../errors.js";

/** A web stream that reads when it is read, so that what holds up its reader holds up the source. */
export function readableStream<T>(source: AsyncIterable<T>): ReadableStream<T> {
  let iterator: AsyncIterator<T> | undefined;
  return new ReadableStream<T>(
    {
      start() {
        iterator = source[Symbol.asyncIterator]();
      },
      async pull(controller) {
        const { done, value } = await iterator!.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await iterator!.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * The bytes of a response of type `text/event-stream`: an event of JSON for each
 * chunk, one with `{ result }` or `{ error }`, and `[DONE]`.
 */
export function eventStream<T>(source: AsyncIterable<T>, result: Promise<unknown>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const toEvent = (text: string) => encoder.encode(`data: ${text}\n\n`);
  // Once the chunks are all there.
  const last = async () => {
    try {
      return toEvent(toJson({ result: await result }));
    } catch (error) {
      // The response has begun, so there is no other way left to tell.
      return toEvent(toJson({ error: toErrorData(error) }));
    }
  };
  const closing = [last, async () => toEvent("[DONE]")];
  return readableStream<Uint8Array>({
    [Symbol.asyncIterator]() {
      const chunks = source[Symbol.asyncIterator]();
      return {
        async next() {
          const chunk = await chunks.next().catch(() => ({ done: true, value: undefined }) as const);
          if (chunk.done !== true) return { done: false, value: toEvent(toJson(chunk.value)) };
          const event = closing.shift();
          return event === undefined ? { done: true, value: undefined } : { done: false, value: await event() };
        },
        return: async () => leave(chunks),
      };
    },
  });
}

/** What `each` makes of the chunks, where it makes anything. Not a generator: one that waits for a chunk could not be left. */
export function mapped<T, U>(source: AsyncIterable<T>, each: (chunk: T) => U | undefined): AsyncIterable<U> {
  return {
    [Symbol.asyncIterator]() {
      const chunks = source[Symbol.asyncIterator]();
      return {
        async next() {
          for (;;) {
            const { done, value } = await chunks.next();
            if (done === true) return { done, value: undefined };
            const made = each(value);
            if (made !== undefined) return { done: false, value: made };
          }
        },
        return: async () => leave(chunks),
      };
    },
  };
}

async function leave(iterator: AsyncIterator<unknown>): Promise<IteratorReturnResult<undefined>> {
  await iterator.return?.();
  return { done: true, value: undefined };
}

/** JSON has no integers above 2^53, and seeds may be: they are written as strings of digits. */
function toJson(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? each.toString() : each));
}

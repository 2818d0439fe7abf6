/**
 * How fast this page reads memory and does nothing else: the limit of decoding,
 * which reads every weight once for a token.
 *
 * The code is WebAssembly put together here, byte by byte: it adds up a buffer
 * far larger than any cache with vector loads, unrolled, into four sums that do
 * not wait for each other. It is called for a megabyte at a time, since the
 * engine compiles well only what is called often.
 */
const MIB = 1 << 20;
const BUFFER = 256 * MIB;
const PAGES = BUFFER / 65536;

/** Loads a turn of the loop. */
const UNROLLED = 16;
const SUMS = 4;

const leb = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)]);
/** Of numbers below 2^31, whose last byte must not look negative. */
const signedLeb = (value) => (value < 64 ? [value] : [(value & 127) | 128, ...signedLeb(value >>> 7)]);
const section = (id, bytes) => [id, ...leb(bytes.length), ...bytes];
const name = (text) => [...leb(text.length), ...new TextEncoder().encode(text)];
const get = (local) => [0x20, local];
const set = (local) => [0x21, local];
const ADD = [0xfd, 0xce, 0x01];

/** `sum(start, end)`: the start is local 0, the end local 1, the sums follow. */
function code() {
  const sum = (i) => 2 + (i % SUMS);
  const loads = Array.from({ length: UNROLLED }, (_, i) => [
    ...get(sum(i)),
    ...get(0),
    ...[0xfd, 0x00, 4, ...leb(16 * i)],
    ...ADD,
    ...set(sum(i)),
  ]);
  const step = [...get(0), 0x41, ...signedLeb(16 * UNROLLED), 0x6a, 0x22, 0];
  const loop = [0x03, 0x40, ...loads.flat(), ...step, ...get(1), 0x49, 0x0d, 0, 0x0b];
  const total = [...get(2), ...get(3), ...ADD, ...get(4), ...ADD, ...get(5), ...ADD, 0xfd, 0x1d, 0];
  const body = [1, SUMS, 0x7b, ...loop, ...total, 0x0b];
  return [1, ...leb(body.length), ...body];
}

export const MODULE = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, [1, 0x60, 2, 0x7f, 0x7f, 1, 0x7e]),
  ...section(2, [1, ...name("env"), ...name("memory"), 2, 3, ...leb(PAGES), ...leb(PAGES)]),
  ...section(3, [1, 0]),
  ...section(7, [1, ...name("sum"), 0, 0]),
  ...section(10, code()),
]);

/** One thread that reads its part of the buffer. */
class Thread {
  #worker = new Worker(new URL("reader-worker.js", import.meta.url), { type: "module" });

  constructor(module, memory) {
    this.#worker.postMessage({ module, memory });
  }

  /** Reads from `start` to `end`, `passes` times; when it began and ended. */
  read(start, end, passes) {
    return new Promise((resolve) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.postMessage({ start, end, step: MIB, passes });
    });
  }
}

/** Makes the function that measures. */
export async function reader() {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  // Memory that was never written is one page of zeros over and over.
  new Uint8Array(memory.buffer).fill(1);
  const module = await WebAssembly.compile(MODULE);
  const threads = [new Thread(module, memory), new Thread(module, memory)];

  /** Gigabytes a second with so many threads: the middle of five short readings. */
  async function read(count) {
    const speeds = [];
    for (let i = 0; i < 5; i++) speeds.push(await readOnce(count, 1));
    return speeds.sort((a, b) => a - b)[2];
  }

  async function readOnce(count, passes) {
    const part = BUFFER / count;
    const times = await Promise.all(
      threads.slice(0, count).map((thread, i) => thread.read(i * part, (i + 1) * part, passes)),
    );
    const begin = Math.min(...times.map((time) => time.begin));
    const end = Math.max(...times.map((time) => time.end));
    return (BUFFER * passes) / (end - begin) / 1e6;
  }

  await readOnce(2, 8);
  return read;
}

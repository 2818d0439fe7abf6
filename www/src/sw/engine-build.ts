/**
 * Which of the engine's builds this browser runs in an isolated page, as every
 * page is that comes from the service worker. The package decides anew each
 * time; this only foresees it, so that the one build, not all three, is there
 * before the network is cut. A wrong guess costs a download, no more.
 */

/** `\0asm`, version 1, and one function that returns nothing or a v128. */
const MAGIC = [0, 97, 115, 109, 1, 0, 0, 0];

/** i32x4.relaxed_dot_i8x16_i7x16_add_s of three i8x16.splat(0) */
const RELAXED_SIMD = [
  ...[1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0],
  ...[65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 11],
];

/** A shared memory, and drop(i32.atomic.load(0)) */
const THREADS = [1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11];

/** Of the addresses of all builds, that of the one. */
export function likelyBuild(files: readonly string[]): string | undefined {
  const relaxed = supports(RELAXED_SIMD);
  const threads = relaxed && supports(THREADS) && navigator.hardwareConcurrency > 1;
  const name = threads ? "_threads_bg" : relaxed ? "_relaxed_bg" : "_wasm_bg";
  return files.find((file) => file.includes(name));
}

function supports(code: readonly number[]): boolean {
  return WebAssembly.validate(Uint8Array.from([...MAGIC, ...code]));
}

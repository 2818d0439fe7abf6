/**
 * The memory that threads share.
 *
 * A shared memory cannot move, so browsers reserve its maximum when it is made,
 * and phones refuse what desktops grant: it is asked for in falling sizes.
 */

/** The least that the build declares (`--initial-memory` in scripts/build-wasm.mjs, and some pages of wasm-bindgen's own). */
const INITIAL_PAGES = 136;

/** 2 GiB to 512 MiB; the 4 GiB that WebAssembly allows are refused too often to try. */
const MAXIMUM_PAGES = [32_768, 24_576, 16_384, 8_192];

/** `undefined` where the browser grants none. */
export function sharedMemory(): WebAssembly.Memory | undefined {
  for (const maximum of MAXIMUM_PAGES) {
    try {
      return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: true });
    } catch {
      // Less, then.
    }
  }
  return undefined;
}

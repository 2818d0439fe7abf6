/** What the browser must have for the engine to run. */

/** A function that returns a v128 constant: valid only where SIMD is. */
const SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

/** Empty where the engine can run, else a sentence that says why not. */
export function missingSupport(): string {
  if (typeof WebAssembly !== "object") {
    return "This browser has no WebAssembly, which the model needs. Some privacy modes switch it off.";
  }
  if (!WebAssembly.validate(SIMD_PROBE)) {
    return "This browser’s WebAssembly has no SIMD, which the model needs. Chrome 91, Firefox 89, Safari 16.4 and later have it.";
  }
  return "";
}

/**
 * Whether threads can be used, and how many; if not, why, in words that a page
 * can show.
 */

import { oneFile, supports } from "../builds.js";
import type { RuntimeRequest } from "../protocol.js";

/** Of which the threads build is asked; beyond it, cores are mostly slow ones or do not exist. */
const MAX_AUTOMATIC = 8;

/** What this worker knows of the browser and the device. */
export interface Surroundings {
  isolated: boolean;
  cores: number;
  can: typeof supports;
}

export function surroundings(): Surroundings {
  return {
    isolated: globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer !== "undefined",
    cores: navigator.hardwareConcurrency ?? 1,
    can: supports,
  };
}

/** The number of threads, this one included, or why there is to be only this one. */
export function planThreads(wanted: RuntimeRequest, { isolated, cores, can }: Surroundings): number | string {
  const count = wanted.threads === "auto" ? Math.min(cores, MAX_AUTOMATIC) : wanted.threads;
  if (wanted.threads === 1) return "one thread was asked for";
  if (wanted.dtype === "f32") return 'dtype "f32" runs on one thread';
  if (wanted.simd === "simd128") return "the build for threads needs relaxed SIMD, and simd128 was asked for";
  if (oneFile(wanted.wasm)) return "wasmUrl names a build without threads; a folder has them all";
  if (count <= 1) return "this device has one processor core";
  if (!isolated) {
    return (
      "the page is not cross-origin isolated: its server must send the headers " +
      "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp"
    );
  }
  if (!can("threads")) return "this browser has no WebAssembly threads";
  if (!can("relaxed")) return "this browser has no relaxed WebAssembly SIMD, which the build for threads needs";
  return count;
}

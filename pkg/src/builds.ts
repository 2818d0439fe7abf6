/**
 * The builds of the engine: what each needs of the browser, and where its file
 * is.
 *
 * One unknown instruction makes a whole WebAssembly module invalid, so there is
 * a file for each level, and what a browser can do is found out by asking it
 * about modules of a few bytes.
 */

import { CacherError } from "./errors.js";
import type { RuntimeRequest, WasmInput } from "./protocol.js";
import type { SimdLevel } from "./types.js";

export type Build = SimdLevel | "threads";

const FILES: Record<Build, string> = {
  simd128: "cacher_wasm_bg.wasm",
  relaxed: "cacher_wasm_relaxed_bg.wasm",
  threads: "cacher_wasm_threads_bg.wasm",
};

/** `\0asm`, version 1. */
const MAGIC = [0, 97, 115, 109, 1, 0, 0, 0];

/** A module with one instruction of each build's kind. */
const PROBES: Record<Build, readonly number[]> = {
  // () -> v128: i8x16.popcnt(i8x16.splat(0))
  simd128: [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
  // () -> v128: i32x4.relaxed_dot_i8x16_i7x16_add_s of three i8x16.splat(0)
  relaxed: [
    ...[1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0],
    ...[65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 11],
  ],
  // A shared memory, and () -> (): drop(i32.atomic.load(0))
  threads: [1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11],
};

/** Whether this browser knows the instructions. */
export function supports(build: Build): boolean {
  return typeof WebAssembly !== "undefined" && WebAssembly.validate(Uint8Array.from([...MAGIC, ...PROBES[build]]));
}

/** The build for one thread that `request` asks for, if this browser can run it. */
export function chooseSimd({ simd, wasm }: Pick<RuntimeRequest, "simd" | "wasm">, can = supports): SimdLevel {
  if (!can("simd128")) {
    throw new CacherError("unsupported-browser", "this browser has no WebAssembly SIMD, which the engine needs");
  }
  const given = oneFile(wasm) ? nameOf(wasm) : undefined;
  if (given !== undefined && simd !== "auto" && simd !== given) {
    throw new CacherError("invalid-argument", `simd: "${simd}" is not the build that wasmUrl gives; name a folder there`);
  }
  const wanted = given ?? (simd === "auto" ? (can("relaxed") ? "relaxed" : "simd128") : simd);
  if (!can(wanted)) throw new CacherError("unsupported-browser", "this browser has no relaxed WebAssembly SIMD");
  return wanted;
}

/** True where the caller names the file of one build, by which all others are ruled out. */
export function oneFile(wasm: WasmInput | undefined): wasm is WasmInput {
  return wasm !== undefined && !(typeof wasm === "string" && isFolder(wasm));
}

/** Where a build's file is in the caller's folder; `undefined`: where the bundler or the package has it. */
export function urlInFolder(wasm: WasmInput | undefined, build: Build): string | undefined {
  return typeof wasm === "string" && isFolder(wasm) ? new URL(FILES[build], wasm).href : undefined;
}

function isFolder(url: string): boolean {
  return new URL(url).pathname.endsWith("/");
}

/** By the file's name, to which bundlers append a hash; what has no name is taken for the plain build. */
function nameOf(wasm: WasmInput): SimdLevel {
  if (typeof wasm !== "string") return "simd128";
  const { pathname } = new URL(wasm);
  const file = pathname.slice(pathname.lastIndexOf("/") + 1);
  if (file.includes("_threads_bg")) {
    throw new CacherError("invalid-argument", "wasmUrl: for threads, name the folder that holds all builds, with a / at its end");
  }
  return file.includes("_relaxed_bg") ? "relaxed" : "simd128";
}

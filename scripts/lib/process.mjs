/**
 * Running other programs, and failing well.
 *
 * `Failure` is an error whose message is all the user needs: it is printed
 * without a stack, and it says what to do. Anything else is a bug in these
 * scripts and keeps its stack.
 */
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The repository's root folder. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

export class Failure extends Error {}

/** Says what the script is about to do. */
export function say(message) {
  console.log(`cacher: ${message}`);
}

/** The full path of a program on `PATH`, or undefined. */
export function which(name) {
  const file = process.platform === "win32" ? `${name}.exe` : name;
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, file);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** What a program prints; `ok` is false where it cannot run or fails. */
export function capture(command, args, { env = {} } = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  return { ok: status === 0, stdout: (stdout ?? "").trim(), stderr: (stderr ?? "").trim() };
}

/**
 * Runs a program in the foreground, its output unfiltered. Rejects with a
 * `Failure` where it fails or outlives `seconds`.
 */
export async function run(command, args, { env = {}, seconds, advice } = {}) {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: "inherit",
    timeout: seconds === undefined ? undefined : seconds * 1000,
  });
  const end = await new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) =>
      resolve(code === 0 ? "" : (signal ?? `exit code ${code}`)),
    );
  });
  if (end !== "") {
    const line = [command, ...args].join(" ");
    throw new Failure(`\`${line}\` failed (${end}).${advice === undefined ? "" : ` ${advice}`}`);
  }
}

/** Like `run`, for programs whose failure has a second way round it. */
export async function succeeds(command, args, options) {
  try {
    await run(command, args, options);
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}

/** Runs `main` if the module was started from the command line, not imported. */
export async function runAsScript(meta, main) {
  if (process.argv[1] === undefined || meta.url !== pathToFileURL(process.argv[1]).href) return;
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(`\ncacher: ${error.message}`);
    process.exitCode = 1;
  }
}

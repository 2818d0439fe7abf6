/**
 * From a command line to an exit code.
 */

import { toCacherError } from "../errors.js";
import type { Api, Io } from "./api.js";
import { json, printable } from "./format.js";
import { help } from "./help.js";
import { parse, usageError } from "./parse.js";
import { run } from "./run.js";
import { clear, list, stats } from "./stored.js";
import { warm } from "./warm.js";

const FAILED = 1;
const WRONG_USAGE = 2;
/** As shells have it: 128 and the signal's number. */
const INTERRUPTED = 130;

/** What the command line is to blame for: its form, or an option's value that the engine refuses. */
const USAGE_CODES: readonly string[] = ["invalid-argument", "invalid-option"];

export async function main(argv: readonly string[], api: Api, io: Io): Promise<number> {
  try {
    const code = await dispatch(argv, api, io);
    return io.interrupted.aborted ? INTERRUPTED : code;
  } catch (error) {
    // What Ctrl-C has stopped is no fault.
    if (io.interrupted.aborted) return INTERRUPTED;
    const { code, message } = toCacherError(error);
    // Before it is known whether the command line is right.
    const asJson = argv.includes("--json");
    io.err(asJson ? json({ error: { code, message } }) : `cacher: ${printable(message)} (${code})\n`);
    return USAGE_CODES.includes(code) ? WRONG_USAGE : FAILED;
  }
}

async function dispatch(argv: readonly string[], api: Api, io: Io): Promise<number> {
  const { command, operands, values } = parse(argv);
  if (values.help === true) {
    io.out(help(command));
    return 0;
  }
  if (command === undefined || values.version === true) {
    io.out(`${await api.version()}\n`);
    return 0;
  }
  if (command === "run") return run(operands, values, api, io);
  if (command === "cache-warm") return warm(operands, values, api, io);
  if (operands.length > 0) throw usageError(`${command}: takes nothing but options, not ${JSON.stringify(operands[0])}`);
  return { "cache-stats": stats, "cache-list": list, "cache-clear": clear }[command](values, api, io);
}

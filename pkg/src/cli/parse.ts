/**
 * From the command line to a command and its options, or to an error that names
 * what is wrong with it.
 */

import { parseArgs } from "node:util";
import { CacherError } from "../errors.js";
import { COMMANDS, OPTIONS, type CommandName, type Option, type OptionName } from "./options.js";

/** What was given for each option, as text. */
export type Values = {
  [Name in OptionName]?: (typeof OPTIONS)[Name] extends { several: true }
    ? string[]
    : (typeof OPTIONS)[Name] extends { value: string }
      ? string
      : true;
};

export interface Parsed {
  /** `undefined` with `--help` and `--version` alone. */
  command: CommandName | undefined;
  /** What followed the command. */
  operands: string[];
  values: Values;
}

/** The edits from one name to another that a misspelling may have. */
const LIKELY_EDITS = 3;

/** An error of who wrote the command line. */
export function usageError(message: string): CacherError {
  return new CacherError("invalid-argument", message);
}

export function parse(argv: readonly string[]): Parsed {
  const options = Object.fromEntries(
    Object.entries(OPTIONS as Record<string, Option>).map(([name, { value, several = false, short }]) => {
      const type = value === undefined ? ("boolean" as const) : ("string" as const);
      return [name, { type, multiple: several, ...(short === undefined ? {} : { short }) }];
    }),
  );
  // Not strict: its own messages know nothing of commands, and have no hints.
  const { tokens, positionals, ...parsed } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = tokens.filter((token) => token.kind === "option");
  for (const { name, rawName, value, inlineValue } of given) {
    const option: Option | undefined = Object.hasOwn(OPTIONS, name) ? OPTIONS[name as OptionName] : undefined;
    if (option === undefined) throw usageError(`there is no option ${rawName}${hint(name, Object.keys(OPTIONS), "--")}`);
    if (option.value === undefined && value !== undefined) throw usageError(`${rawName}: takes no value`);
    if (option.value !== undefined && (value === undefined || (!inlineValue && value.startsWith("--")))) {
      throw usageError(`${rawName}: needs a value, ${option.value} (one that begins with dashes goes behind "=")`);
    }
  }
  // Their types are as the table says: that was looked at just now.
  const values = { ...parsed.values } as Values;
  const [name, ...operands] = positionals;
  if (name === undefined) {
    if (values.help !== true && values.version !== true) throw usageError("a command is needed; see cacher --help");
    return { command: undefined, operands, values };
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    throw usageError(`there is no command ${JSON.stringify(name)}${hint(name, Object.keys(COMMANDS), "")}; see cacher --help`);
  }
  const command = name as CommandName;
  const allowed: readonly string[] = [...COMMANDS[command].options, "json", "help", "version"];
  for (const option of given) {
    if (!allowed.includes(option.name)) throw usageError(`${option.rawName}: is not an option of ${command}; see cacher ${command} --help`);
  }
  return { command, operands, values };
}

function hint(name: string, names: readonly string[], before: string): string {
  const [best] = names.map((other) => ({ other, edits: editsBetween(name, other) })).sort((a, b) => a.edits - b.edits);
  return best !== undefined && best.edits <= LIKELY_EDITS ? `; did you mean ${before}${best.other}?` : "";
}

/** Levenshtein's distance, row by row. */
function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

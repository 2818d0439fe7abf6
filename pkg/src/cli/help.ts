/**
 * What `--help` prints.
 */

import { table } from "./format.js";
import { COMMANDS, OPTIONS, type Command, type CommandName, type Option, type OptionName } from "./options.js";

const SECRETS = `Secrets come from the environment, since arguments are open to everybody on a machine:
  CACHER_REDIS_TOKEN   sent as "Authorization: Bearer …"
  CACHER_REDIS_AUTH    user:password, sent as "Authorization: Basic …"
  CACHER_CACHE_SECRET  answers in Redis are signed with it, and others refused
`;

const EXIT_CODES = `Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
`;

export function help(name: CommandName | undefined): string {
  if (name === undefined) {
    const rows = Object.values(COMMANDS).map(({ usage, help }: Command) => [`  cacher ${usage}`, help]);
    return `GPT-2 on the command line, with a cache of its answers.\n\n${table(rows)}
  cacher COMMAND --help  the options of a command
  cacher --version\n\n${EXIT_CODES}`;
  }
  const { usage, help, options, otherwise = {} }: Command = COMMANDS[name];
  const names: OptionName[] = [...options, "json", "help"];
  const rows = names.map((option) => {
    const { value, short, help }: Option = otherwise[option] ?? OPTIONS[option];
    const letter = short === undefined ? "" : `-${short}, `;
    return [`  ${letter}--${option}${value === undefined ? "" : ` ${value}`}`, help];
  });
  const notes = [
    ...(name === "run" ? ["Answers that the request decides (--temperature 0, or a --seed) are cached by themselves.\n"] : []),
    SECRETS,
    EXIT_CODES,
  ];
  return `cacher ${usage}\n\n  ${help}\n\n${table(rows)}\n${notes.join("\n")}`;
}

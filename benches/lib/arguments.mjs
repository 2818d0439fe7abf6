/**
 * What `npm run bench` can be asked for.
 */
import { Failure } from "../../scripts/lib/process.mjs";
import { ENGINES, PARTS } from "./variants.mjs";

export const HELP = `npm run bench                       everything: 20 minutes and more
npm run bench -- --quick            fewer variants and repeats: under 3 minutes
npm run bench -- --only=cacher      some engines or parts: ${[...Object.keys(ENGINES), ...PARTS].join(", ")}
npm run bench -- --dtype=q8,q4      some number formats of this package
npm run bench -- --rounds=3         so many repeats
npm run bench -- --no-loads         no loading times, no memory
npm run bench -- --no-build         measures what is in pkg/dist as it is`;

const SWITCHES = { "--quick": "quick", "--no-loads": "noLoads", "--no-build": "noBuild" };

/** The options, or `undefined` where help was asked for. */
export function parseArguments(args) {
  const options = { quick: false, noLoads: false, noBuild: false };
  for (const arg of args) {
    if (arg === "--help") return undefined;
    const [name, value] = arg.split("=");
    const list = () => (value ?? "").split(",").filter((item) => item !== "");
    if (Object.hasOwn(SWITCHES, arg)) options[SWITCHES[arg]] = true;
    else if (name === "--only") options.only = list();
    else if (name === "--dtype") options.dtypes = list();
    else if (name === "--rounds" && Number(value) >= 1) options.rounds = Number(value);
    else throw new Failure(`There is no option "${arg}".\n\n${HELP}`);
  }
  const unknown = options.only?.find((part) => !PARTS.includes(part) && !Object.hasOwn(ENGINES, part));
  if (unknown !== undefined) throw new Failure(`There is no engine or part "${unknown}".\n\n${HELP}`);
  return options;
}

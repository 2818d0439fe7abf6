/**
 * What a control of the generation panel is, and how what is typed into it
 * becomes an option's value. What is typed is kept as text, so that a value on
 * its way to being right, or one that is wrong, stays where it is and is told.
 */

/** What is typed, by the controls' keys; empty: nothing is set. */
export type Drafts = Readonly<Record<string, string>>;

export interface Control {
  /** The option's name in the API, with the path to a part of it: `mirostat.tau`. */
  key: string;
  label: string;
  help: string;
  kind: "slider" | "number" | "line" | "area" | "switch" | "choice";
  /** As the page begins. */
  initial: string;
  /** What holds where nothing is set, in words. */
  fallback: string;
  /** Of a slider. */
  scale?: { min: number; max: number; step: number };
  /** Of a slider: a value that switches it off, and what that means. */
  off?: { at: number; meaning: string };
  /** Of a choice. */
  choices?: readonly { value: string; name: string }[];
  /** Where it is part of an option that can be off: whether it is on. */
  shown?: (drafts: Drafts) => boolean;
}

/** An option of the API, and the controls that make its value. */
export interface Option {
  name: string;
  controls: readonly Control[];
  /** `undefined` where nothing is set. Error: `OptionProblem`. */
  read(drafts: Drafts): unknown;
  /** What to type for a value. */
  write(value: unknown): Drafts;
}

export interface Group {
  id: string;
  name: string;
  /** One or two sentences. */
  help: string;
  /** Whether it is open as the page begins. */
  open?: boolean;
  options: readonly Option[];
}

/** Told as the engine tells its own `invalid-option`. */
export class OptionProblem extends Error {
  readonly code = "invalid-option";
  readonly details: { option: string; value: string; range: string };

  constructor(option: string, value: string, range: string) {
    super(`${option}: is ${value}, must be ${range}`);
    this.details = { option, value, range };
  }
}

/** How one control's text is read and written. */
export interface Codec<T> {
  /** Of a text that is not empty. Error: `OptionProblem`. */
  parse(text: string, key: string): T;
  format(value: T): string;
}

type Given = Pick<Control, "label" | "help"> & Partial<Control>;

/** An option that one control makes. */
export function single<T>(name: string, codec: Codec<T>, control: Given & Pick<Control, "kind">): Option {
  const whole = part(name, control);
  return {
    name,
    controls: [whole],
    read: (drafts) => parsed(drafts, whole, codec),
    write: (value) => ({ [name]: codec.format(value as T) }),
  };
}

/** A control of an option that several make. */
export function part(key: string, control: Given & Pick<Control, "kind">): Control {
  return { key, initial: "", fallback: "none", ...control };
}

/** The value of one control, `undefined` where nothing is typed. */
export function parsed<T>(drafts: Drafts, { key }: Pick<Control, "key">, codec: Codec<T>): T | undefined {
  const text = drafts[key] ?? "";
  return text === "" ? undefined : codec.parse(text, key);
}

/** An option that is on or off, and on may have parts with defaults. */
export function switchable(name: string, control: Given, parts: readonly (Control & { codec: Codec<number> })[]): Option {
  const main = part(name, { fallback: "off", kind: "switch", ...control });
  const isOn = (drafts: Drafts) => drafts[name] === "true";
  return {
    name,
    controls: [main, ...parts.map(({ codec: _, ...each }) => ({ ...each, shown: isOn }))],
    read: (drafts) => (isOn(drafts) ? Object.fromEntries(given(parts.map((each) => [lastOf(each.key), parsed(drafts, each, each.codec)]))) : undefined),
    write: (value) => ({ [name]: "true", ...writtenParts(parts, value) }),
  };
}

/** An option of several numbers that are all needed once one is there; `list`: an array in the API, else an object. */
export function together(name: string, parts: readonly (Control & { codec: Codec<number> })[], list = false): Option {
  return {
    name,
    controls: parts.map(({ codec: _, ...control }) => control),
    read: (drafts) => {
      if (parts.every(({ key }) => (drafts[key] ?? "") === "")) return undefined;
      const values = parts.map((each) => [lastOf(each.key), needed(drafts, each, each.codec)] as const);
      return list ? values.map(([, value]) => value) : Object.fromEntries(values);
    },
    write: (value) => writtenParts(parts, value, list),
  };
}

/** A value that must be there. */
export function needed<T>(drafts: Drafts, control: Pick<Control, "key">, codec: Codec<T>): T {
  const value = parsed(drafts, control, codec);
  if (value === undefined) throw new OptionProblem(control.key, "left out", "given too");
  return value;
}

function writtenParts(parts: readonly (Control & { codec: Codec<number> })[], value: unknown, list = false): Drafts {
  const values = value as Record<string, number>;
  return Object.fromEntries(given(parts.map(({ key, codec }, index) => [key, formatted(values[list ? index : lastOf(key)], codec)])));
}

function formatted(value: number | undefined, codec: Codec<number>): string | undefined {
  return value === undefined ? undefined : codec.format(value);
}

function lastOf(key: string): string {
  return key.slice(key.lastIndexOf(".") + 1);
}

function given<T>(entries: readonly (readonly [string, T | undefined])[]): [string, T][] {
  return entries.filter((entry): entry is [string, T] => entry[1] !== undefined);
}

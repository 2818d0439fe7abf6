/**
 * What is typed into the controls of some options: their values, what is wrong
 * with them, and the way back to how the page begins.
 */

import { OptionProblem, type Control, type Drafts, type Group, type Option } from "./options/control.ts";

const LONGEST_TEXT = 10_000;

/** What the engine refused, and what was typed then. */
interface Refusal {
  key: string;
  range: string;
  typed: string;
}

export class OptionValues {
  readonly groups: readonly Group[];
  readonly #options: readonly Option[];
  readonly #controls: ReadonlyMap<string, Control>;
  #drafts = $state<Record<string, string>>({});
  #refusal = $state.raw<Refusal | null>(null);
  readonly #read = $derived.by(() => this.#readAll());

  constructor(groups: readonly Group[]) {
    this.groups = groups;
    this.#options = groups.flatMap(({ options }) => options);
    this.#controls = new Map(this.#options.flatMap(({ controls }) => controls).map((control) => [control.key, control]));
    this.reset();
  }

  get drafts(): Drafts {
    return this.#drafts;
  }

  set(key: string, text: string): void {
    this.#drafts[key] = text;
  }

  isChanged({ key, initial }: Control): boolean {
    return this.#drafts[key] !== initial;
  }

  /** Back to how the page begins: one control, or all. */
  reset(control?: Control): void {
    for (const { key, initial } of control ? [control] : this.#controls.values()) this.#drafts[key] = initial;
  }

  /** What a control's value must be, where it is not; else empty. */
  problem({ key }: Control): string {
    const found = this.#read.problems.find(({ details }) => details.option === key);
    if (found) return `Is ${found.details.value}, must be ${found.details.range}.`;
    const refusal = this.#refusal;
    return refusal?.key === key && refusal.typed === this.#typed(key) ? `Must be ${refusal.range}.` : "";
  }

  /** Whether all that is typed can be read. */
  get readable(): boolean {
    return this.#read.problems.length === 0;
  }

  /** The values, without those that nothing is typed for. Error: `OptionProblem`, the first. */
  values(): Record<string, unknown> {
    const { problems, values } = this.#read;
    if (problems[0]) throw problems[0];
    return { ...values };
  }

  /** Notes what the engine says of a value, to show it at its control; false where that is none of these. */
  refuse(details: Readonly<Record<string, unknown>>): boolean {
    const { option, range } = details;
    if (typeof option !== "string" || typeof range !== "string") return false;
    // `badWords[2]`, `constraint.jsonSchema.properties`: what has no control is told at the next above.
    let key = option.replace(/\[.*$/, "");
    while (!this.#controls.has(key) && key.includes(".")) key = key.slice(0, key.lastIndexOf("."));
    if (!this.#controls.has(key)) key = this.#option(key)?.controls[0]?.key ?? "";
    if (!this.#controls.has(key)) return false;
    this.#refusal = { key, range, typed: this.#typed(key) };
    return true;
  }

  /** What is typed, of what is not as the page begins. */
  kept(): Record<string, string> {
    return this.#typedIn((control) => this.isChanged(control));
  }

  /** What is typed, with what is as the page begins now and may begin otherwise one day. */
  shared(): Record<string, string> {
    return this.#typedIn((control) => control.initial !== "" || this.isChanged(control));
  }

  /** Whether any of the fields is one of these controls'. */
  knows(fields: Readonly<Record<string, unknown>>): boolean {
    return Object.keys(fields).some((key) => this.#controls.has(key));
  }

  /** Takes over what was typed, option by option, where it is allowed. */
  take(fields: Readonly<Record<string, unknown>>): void {
    for (const option of this.#options) {
      const drafts: Record<string, string> = { ...this.#drafts };
      for (const { key } of option.controls) {
        const typed = fields[key];
        const text = typeof typed === "number" || typeof typed === "boolean" ? String(typed) : typed;
        if (typeof text === "string" && text.length <= LONGEST_TEXT) drafts[key] = text;
      }
      if (isAllowed(option, drafts)) this.#put(option, drafts);
    }
  }

  /** Takes over values; those that are left out are then not set, but for `except`. */
  adopt(values: Readonly<Record<string, unknown>>, except: readonly string[]): void {
    for (const option of this.#options.filter(({ name }) => !except.includes(name))) {
      const value = values[option.name];
      const drafts = value === undefined || value === null ? {} : written(option, value);
      if (isAllowed(option, drafts)) this.#put(option, drafts);
      // A choice's default is spelt out in some, and nothing is chosen then.
      else if (option.controls[0]!.choices) this.#put(option, {});
    }
  }

  #typedIn(wanted: (control: Control) => boolean): Record<string, string> {
    return Object.fromEntries([...this.#controls.values()].filter(wanted).map(({ key }) => [key, this.#drafts[key]!]));
  }

  #put({ controls }: Option, drafts: Drafts): void {
    for (const { key } of controls) this.#drafts[key] = drafts[key] ?? "";
  }

  #option(name: string): Option | undefined {
    return this.#options.find((option) => option.name === name);
  }

  /** All that is typed for the option that a key is of. */
  #typed(key: string): string {
    const option = this.#options.find(({ controls }) => controls.some((control) => control.key === key));
    return JSON.stringify(option?.controls.map((control) => this.#drafts[control.key]));
  }

  #readAll(): { values: Record<string, unknown>; problems: OptionProblem[] } {
    const values: Record<string, unknown> = {};
    const problems: OptionProblem[] = [];
    for (const option of this.#options) {
      try {
        const value = option.read(this.#drafts);
        if (value !== undefined) values[option.name] = value;
      } catch (error) {
        if (!(error instanceof OptionProblem)) throw error;
        problems.push(error);
      }
    }
    return { values, problems };
  }
}

function isAllowed(option: Option, drafts: Drafts): boolean {
  try {
    option.read(drafts);
  } catch {
    return false;
  }
  // One of a list has to be on it; sliders end where their scale does.
  return option.controls.every(({ key, choices, scale }) => {
    const text = drafts[key] ?? "";
    if (choices) return choices.some(({ value }) => value === text);
    return !scale || text === "" || (Number(text) >= scale.min && Number(text) <= scale.max);
  });
}

function written(option: Option, value: unknown): Drafts {
  try {
    return option.write(value);
  } catch {
    // Of another kind than this page knows.
    return {};
  }
}

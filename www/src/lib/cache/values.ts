/** What an entry holds, as text to read. */

/** Longer values are shown in part: a page of many megabytes helps nobody. */
const LONGEST = 100_000;
const MOST_BYTES = 256;

/** The generated text where the value is a generation, else its JSON, or its bytes in hexadecimal. */
export function valueText(value: unknown): string {
  if (value instanceof Uint8Array) return shorten(bytesText(value), value.length > MOST_BYTES ? `${value.length} bytes in all` : "");
  const text = generatedText(value) ?? valueJson(value);
  return text.length > LONGEST ? shorten(text.slice(0, LONGEST), `${text.length} characters in all`) : text;
}

export function valueJson(value: unknown): string {
  return JSON.stringify(value, null, 2) ?? "null";
}

function generatedText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return undefined;
  const { text, result } = value as { text?: unknown; result?: unknown };
  return typeof text === "string" ? text : generatedText(result);
}

function bytesText(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, MOST_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function shorten(text: string, rest: string): string {
  return rest === "" ? text : `${text}… (${rest})`;
}

/** A canonical JSON text, indented for reading; its order stays. */
export function indentJson(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

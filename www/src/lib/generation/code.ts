/** The settings as the call of the package that they stand for. */

export function callOf(prompt: string, options: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(options).map(([name, value]) => `  ${name}: ${literal(value)},\n`);
  const given = entries.length > 0 ? `, {\n${entries.join("")}}` : "";
  return `const { text } = await cacher.generate(${literal(prompt)}${given}).result;\n`;
}

function literal(value: unknown): string {
  // The page's pattern is a callback of the API.
  if (value instanceof RegExp) return `(text) => ${value}.test(text)`;
  if (typeof value === "bigint") return `${value}n`;
  return JSON.stringify(value, null, 2).replaceAll("\n", "\n  ");
}

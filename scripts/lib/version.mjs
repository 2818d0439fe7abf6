/** Versions of tools, compared by their numbers. */

/** Whether version `have` is `wanted` or newer: "20.19.1" is at least "20.19". */
export function atLeast(have, wanted) {
  const numbers = have.split(".").map(Number);
  for (const [i, part] of wanted.split(".").map(Number).entries()) {
    if ((numbers[i] ?? 0) !== part) return (numbers[i] ?? 0) > part;
  }
  return true;
}

/** The part of a long list that is shown, and where one can go from it. */

export interface Page {
  /** Which it is, from 0, within what there is. */
  index: number;
  count: number;
  /** “26–50 of 112”, or that there is none. */
  range: string;
}

export function pageOf(wanted: number, size: number, total: number): Page {
  const count = Math.max(1, Math.ceil(total / size));
  const index = Math.min(Math.max(0, wanted), count - 1);
  const first = index * size + 1;
  const last = Math.min(total, first + size - 1);
  return { index, count, range: total === 0 ? "none" : `${first}–${last} of ${total}` };
}

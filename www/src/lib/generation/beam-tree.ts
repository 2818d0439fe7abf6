/**
 * The tree of a beam search, laid out as it grows: a column for each step, in
 * which nodes stand in the order of those that they come after, so that no two
 * lines cross. What was placed stays where it is.
 */

import type { BeamNode, BeamStep } from "cacher-wasm";

export interface PlacedNode extends BeamNode {
  /** From the left; the prompt is in column 0. */
  column: number;
  row: number;
  /** Of the node that it comes after. */
  parentRow: number;
  /** All of the text up to here. */
  path: string;
}

/** More are not drawn: of what was given up, the oldest goes. */
const MOST_DRAWN = 1500;
/** Of the prompt's node, in rows: about the middle of a few beams. */
export const ROOT_ROW = 2;

export class BeamTree {
  readonly nodes: readonly PlacedNode[];
  readonly columns: number;
  readonly rows: number;
  /** Nodes that are no longer drawn. */
  readonly left: number;

  constructor(nodes: readonly PlacedNode[] = [], columns = 0, rows = 2 * ROOT_ROW + 1, left = 0) {
    this.nodes = nodes;
    this.columns = columns;
    this.rows = rows;
    this.left = left;
  }

  /** The tree with what a step added to it. */
  with({ step, nodes, pruned, finished }: BeamStep): BeamTree {
    const known = new Map(this.nodes.map((node) => [node.id, node]));
    const rowOf = (id: number) => known.get(id)?.row ?? ROOT_ROW;
    const ordered = [...nodes].sort((a, b) => rowOf(a.parent) - rowOf(b.parent) || b.score - a.score || a.id - b.id);
    const placed = ordered.map((node, row): PlacedNode => {
      const parent = known.get(node.parent);
      return { ...node, column: step, row, parentRow: rowOf(node.parent), path: (parent?.path ?? "") + node.text };
    });
    const givenUp = new Set(pruned);
    const ended = new Set(finished);
    const before = this.nodes.map((node): PlacedNode => {
      if (givenUp.has(node.id)) return { ...node, state: "pruned" };
      return ended.has(node.id) ? { ...node, state: "finished" } : node;
    });
    return new BeamTree([...before, ...placed], step, Math.max(this.rows, placed.length), this.left).#trimmed();
  }

  /** The nodes that the search goes on from, best first. */
  get open(): PlacedNode[] {
    return this.nodes.filter(({ column, state }) => column === this.columns && state === "running").sort((a, b) => b.score - a.score);
  }

  #trimmed(): BeamTree {
    let excess = this.nodes.length - MOST_DRAWN;
    if (excess <= 0) return this;
    const nodes = this.nodes.filter(({ state }) => state !== "pruned" || excess-- <= 0);
    return new BeamTree(nodes, this.columns, this.rows, this.left + this.nodes.length - nodes.length);
  }
}

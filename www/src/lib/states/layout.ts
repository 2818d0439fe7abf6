/**
 * Where the rows of the branch graph stand: one below the other, the newest
 * on top, each in the lane that d3-dag gives it. In this module's own file
 * because the library is fetched only once a graph is shown.
 */

import { graphStratify, grid, laneGreedy } from "d3-dag";
import type { Link, Row } from "./graph.ts";

export interface Place {
  /** From the left, from 0. */
  lane: number;
  /** From the top, from 0. */
  line: number;
}

export interface Layout {
  places: ReadonlyMap<string, Place>;
  lanes: number;
}

const stratify = graphStratify()
  .id(({ id }: Ordered) => id)
  .parentIds(({ parents }: Ordered) => parents);

interface Ordered {
  id: string;
  order: number;
  parents: string[];
}

/** `rows`: parents before children. */
export function placeRows(rows: readonly Row[], links: readonly Link[]): Layout {
  const ordered = rows.map(({ id }, order) => ({
    id,
    order,
    // Ways back are drawn between the lanes: a lane of their own would bend what merely goes on.
    parents: [...new Set(links.filter(({ to, kind }) => to === id && kind !== "rollback").map(({ from }) => from))],
  }));
  const places = new Map<string, Place>();
  if (ordered.length === 0) return { places, lanes: 0 };
  const graph = stratify(ordered);
  const layOut = grid()
    // Short lines rather than a narrow drawing.
    .lane(laneGreedy().compressed(false))
    .rank(({ data }: { data: Ordered }) => data.order)
    .gap([0, 0]);
  const { width } = layOut(graph);
  for (const { data, x } of graph.nodes()) {
    // Nodes are one wide and stand in the middle of their lane.
    places.set(data.id, { lane: Math.floor(x), line: rows.length - 1 - data.order });
  }
  return { places, lanes: Math.ceil(width) };
}

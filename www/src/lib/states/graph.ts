/**
 * The branch graph as rows to draw. A long history is mostly revisions that
 * just follow one another: runs of them become one row until it is opened.
 */

import type { GraphNode, StateGraph } from "cacher-wasm";

export interface Row {
  /** Of its first revision. */
  id: string;
  /** One, or a run of them; the oldest first. */
  nodes: readonly [GraphNode, ...GraphNode[]];
}

export interface Link {
  from: string;
  to: string;
  kind: "next" | "merge" | "rollback";
}

/** Smaller graphs are shown in full. */
const FEW_NODES = 40;
const SHORTEST_RUN = 4;

export function toRows(graph: StateGraph, opened: ReadonlySet<string>): { rows: Row[]; links: Link[] } {
  const nodes = inOrder(graph);
  const runs = graph.nodes.length > FEW_NODES ? findRuns(nodes, graph) : [];
  const rowOf = new Map<string, string>();
  for (const run of runs) {
    if (opened.has(run[0].revision)) continue;
    for (const { revision } of run) rowOf.set(revision, run[0].revision);
  }
  const rows = new Map<string, [GraphNode, ...GraphNode[]]>();
  for (const node of nodes) {
    const id = rowOf.get(node.revision) ?? node.revision;
    const row = rows.get(id);
    if (row) row.push(node);
    else rows.set(id, [node]);
  }
  const links = graph.edges
    .map(({ from, to, kind }) => ({ from: rowOf.get(from) ?? from, to: rowOf.get(to) ?? to, kind }))
    .filter(({ from, to }) => from !== to && rows.has(from) && rows.has(to));
  // States that are merged may stand at the same revision, which then is a parent twice.
  const once = new Map(links.map((link) => [`${link.from} ${link.to} ${link.kind}`, link]));
  return { rows: [...rows].map(([id, nodes]) => ({ id, nodes })), links: [...once.values()] };
}

/** Parents before children, and by age where that leaves a choice. */
function inOrder({ nodes, edges }: StateGraph): GraphNode[] {
  const byId = new Map(nodes.map((node) => [node.revision, node]));
  const parents = new Map<string, string[]>();
  for (const { from, to } of edges) parents.set(to, [...(parents.get(to) ?? []), from]);
  const ordered = new Set<GraphNode>();
  // With a stack of its own: a history may be deeper than the call stack allows.
  for (const node of [...nodes].sort((a, b) => a.created - b.created)) {
    const waiting = [node];
    while (waiting.length > 0) {
      const last = waiting.at(-1)!;
      const missing = (parents.get(last.revision) ?? [])
        .map((id) => byId.get(id))
        .filter((parent) => parent !== undefined && !ordered.has(parent) && !waiting.includes(parent)) as GraphNode[];
      if (missing.length > 0) waiting.push(...missing);
      else ordered.add(waiting.pop()!);
    }
  }
  return [...ordered];
}

/** Stretches in which nothing branches, joins, stands or is marked. */
function findRuns(nodes: readonly GraphNode[], { edges }: StateGraph): [GraphNode, ...GraphNode[]][] {
  const into = new Map<string, Link[]>();
  const outOf = new Map<string, Link[]>();
  for (const edge of edges) {
    into.set(edge.to, [...(into.get(edge.to) ?? []), edge]);
    outOf.set(edge.from, [...(outOf.get(edge.from) ?? []), edge]);
  }
  const only = (links: Link[] | undefined) => (links?.length === 1 && links[0]!.kind === "next" ? links[0]! : undefined);
  const plain = ({ revision, heads, checkpoints }: GraphNode) =>
    heads.length === 0 && checkpoints.length === 0 && only(into.get(revision)) !== undefined && only(outOf.get(revision)) !== undefined;

  const runOf = new Map<string, [GraphNode, ...GraphNode[]]>();
  for (const node of nodes.filter(plain)) {
    const run = runOf.get(only(into.get(node.revision))!.from);
    if (run) run.push(node);
    runOf.set(node.revision, run ?? [node]);
  }
  return [...new Set(runOf.values())].filter((run) => run.length >= SHORTEST_RUN);
}

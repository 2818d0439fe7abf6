/**
 * Charts of the analyses. In this module's own file because the library is
 * fetched only once they are shown.
 */

import { axisX, axisY, barX, cell, dot, gridX, gridY, lineY, plot, ruleX, text, type PlotOptions } from "@observablehq/plot";
import { levelOf, type Scale } from "./scale.ts";

export interface Bar {
  label: string;
  value: number;
  /** Beside the bar. */
  note: string;
  /** Stands out, with a mark beside its name. */
  own?: boolean;
}

const ROW = 22;

/** Bars one below the other, from zero to either side. */
export function bars(list: readonly Bar[], label: string, width: number, most?: number): SVGSVGElement {
  // Labels need not differ: each bar has its number for a place.
  const rows = list.map((bar, index) => ({ ...bar, index }));
  const least = Math.min(0, ...rows.map(({ value }) => value));
  const top = most ?? Math.max(0, ...rows.map(({ value }) => value));
  const widest = Math.max(...rows.map(({ label }) => label.length), 3);
  return finish({
    width,
    height: rows.length * ROW + 48,
    marginLeft: Math.min(width * 0.4, 14 + widest * 7.2),
    marginRight: 64,
    marginTop: 4,
    marginBottom: 44,
    x: { domain: least === top ? [0, 1] : [least, top], nice: most === undefined, label },
    y: { domain: rows.map(({ index }) => index), tickFormat: (index: number) => rows[index]!.label, tickSize: 0, label: null },
    marks: [
      gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: Math.max(2, Math.floor(width / 120)) }),
      barX(rows, { x1: 0, x2: "value", y: "index", fill: ({ value }) => (value < 0 ? "var(--negative)" : "var(--positive)"), stroke: ({ own }) => (own ? "var(--ink)" : "none"), strokeWidth: 2, insetTop: 2, insetBottom: 2 }),
      text(rows.filter(({ value }) => value >= 0), { x: "value", y: "index", text: "note", textAnchor: "start", dx: 4 }),
      text(rows.filter(({ value }) => value < 0), { x: 0, y: "index", text: "note", textAnchor: "start", dx: 4 }),
      ruleX([0], { stroke: "var(--edge)" }),
      axisX({ ticks: Math.max(2, Math.floor(width / 120)), labelOffset: 38, label }),
      axisY({ tickSize: 0, label: null, fontFamily: "var(--mono)", tickFormat: (index: number) => rows[index]!.label }),
    ],
  });
}

export interface Line {
  name: string;
  values: readonly number[];
  dashed?: boolean;
}

/** A line over the layers for each thing. */
export function lines(list: readonly Line[], label: string, width: number, axis: string, from = 0): SVGSVGElement {
  const points = list.flatMap(({ name, values, dashed }) => values.map((value, index) => ({ name, x: from + index, value, dashed: dashed ?? false })));
  const last = list.map(({ name, values }) => ({ name, x: from + values.length - 1, value: values.at(-1) ?? 0 }));
  return finish({
    width,
    height: 220,
    marginLeft: 52,
    marginRight: 96,
    marginTop: 28,
    marginBottom: 44,
    x: { label: axis, domain: [from, Math.max(from + 1, ...points.map(({ x }) => x))] },
    y: { label, domain: [0, Math.max(...points.map(({ value }) => value), 1e-6)], nice: true },
    marks: [
      gridY({ ticks: 4, stroke: "var(--line)", strokeOpacity: 1 }),
      axisX({ label: axis, labelOffset: 38, ticks: Math.min(12, Math.max(...list.map(({ values }) => values.length)) - 1), tickFormat: "d" }),
      axisY({ ticks: 4, label }),
      ...list.map(({ name, dashed }) => lineY(points.filter((point) => point.name === name), { x: "x", y: "value", stroke: dashed ? "var(--negative)" : "var(--positive)", strokeWidth: 2, ...(dashed && { strokeDasharray: "5 4" }) })),
      dot(points, { x: "x", y: "value", r: 3, fill: ({ dashed }) => (dashed ? "var(--negative)" : "var(--positive)") }),
      // The names of lines that end at the same place stand one above the other.
      ...last.map((end) => text([end], { x: "x", y: "value", text: "name", textAnchor: "start", dx: 8, dy: last.length < 2 ? 0 : end.value === Math.max(...last.map(({ value }) => value)) ? -7 : 7 })),
    ],
  });
}

export interface Cell {
  layer: number;
  head: number;
  value: number;
}

/** A square for each head of each layer. */
export function heads(cells: readonly Cell[], scale: Scale, width: number): SVGSVGElement {
  const columns = new Set(cells.map(({ head }) => head)).size;
  const rows = new Set(cells.map(({ layer }) => layer)).size;
  const size = Math.min(56, Math.max(18, (width - 64) / columns));
  const words = size >= 34;
  return finish({
    width: Math.min(width, columns * size + 64),
    height: rows * Math.min(size, 34) + 56,
    marginLeft: 52,
    marginRight: 12,
    marginTop: 8,
    marginBottom: 44,
    padding: 0.06,
    x: { label: "Head", type: "band" },
    y: { label: "Layer", type: "band" },
    marks: [
      cell(cells, { x: "head", y: "layer", fill: ({ value }: Cell) => `var(--level${levelOf(scale, value)})`, stroke: "var(--edge)", strokeWidth: 0.5 }),
      ...(words ? [text(cells, { x: "head", y: "layer", text: ({ value }: Cell) => scale.format(value), fill: ({ value }: Cell) => (levelOf(scale, value) > 4 ? "var(--on-dark)" : "var(--on-light)") })] : []),
      axisX({ label: "Head", labelOffset: 38, tickSize: 0 }),
      axisY({ label: "Layer", labelAnchor: "center", labelOffset: 40, labelArrow: "none", tickSize: 0 }),
    ],
  });
}

function finish(options: PlotOptions): SVGSVGElement {
  const drawing = plot({ className: "chart", ...options }) as SVGSVGElement;
  // The page's policy forbids style elements; `scale.css` has these few rules.
  drawing.querySelector("style")?.remove();
  // Names of the marks (“bar”), which say nothing to who cannot see them.
  for (const mark of drawing.querySelectorAll("[aria-label]")) mark.removeAttribute("aria-label");
  drawing.setAttribute("aria-hidden", "true");
  return drawing;
}

/**
 * The figures of a visit as drawings. In this module's own file because the
 * library is fetched only once they are shown.
 */

import { areaY, axisX, axisY, dot, gridY, lineY, plot } from "@observablehq/plot";
import type { Sample } from "./samples.ts";

export interface Drawing {
  /** Of the axis, with its unit. */
  label: string;
  value: (sample: Sample) => number;
  /** Upper end of the scale; without it, the largest value. */
  most?: number;
}

const HEIGHT = 190;

export function draw(samples: readonly Sample[], { label, value, most }: Drawing, width: number): SVGSVGElement | HTMLElement {
  const points = samples.map((sample) => ({ time: new Date(sample.time), value: value(sample) }));
  // Figures stay as they are until something happens: a step, not a slope.
  const curve = "step-after";
  const top = most ?? Math.max(...points.map(({ value }) => value), 0.001);
  const ends = points.filter((_, index) => index === points.length - 1);
  const drawing = plot({
    width,
    height: HEIGHT,
    marginLeft: 44,
    marginBottom: 40,
    className: "chart",
    x: { type: "time", label: "Time of day" },
    y: { domain: [0, top], nice: most === undefined, label },
    marks: [
      gridY({ ticks: 4, stroke: "var(--line)", strokeOpacity: 1 }),
      axisX({ ticks: Math.max(2, Math.floor(width / 110)) }),
      axisY({ ticks: 4 }),
      areaY(points, { x: "time", y: "value", curve, fill: "var(--tint)" }),
      lineY(points, { x: "time", y: "value", curve, stroke: "var(--accent)", strokeWidth: 2 }),
      dot(ends, { x: "time", y: "value", r: 4, fill: "var(--accent)" }),
    ],
  });
  // The page's policy forbids style elements; the component has these few rules.
  drawing.querySelector("style")?.remove();
  return drawing;
}

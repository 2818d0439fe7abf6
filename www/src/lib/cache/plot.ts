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

/** Units of the time axis, each from twice its length on. */
const UNITS = [
  { name: "h", ms: 3_600_000 },
  { name: "min", ms: 60_000 },
  { name: "s", ms: 1000 },
] as const;

export function draw(samples: readonly Sample[], { label, value, most }: Drawing, width: number): SVGSVGElement | HTMLElement {
  const begun = samples[0]?.time ?? 0;
  const length = (samples.at(-1)?.time ?? 0) - begun;
  const unit = UNITS.find(({ ms }) => length >= 2 * ms) ?? UNITS[2];
  const points = samples.map((sample) => ({ time: (sample.time - begun) / unit.ms, value: value(sample) }));
  // Figures stay as they are until something happens: a step, not a slope.
  const curve = "step-after";
  const top = most ?? Math.max(...points.map(({ value }) => value), 0.001);
  const ends = points.filter((_, index) => index === points.length - 1);
  const drawing = plot({
    width,
    height: HEIGHT,
    marginTop: 26,
    marginLeft: 44,
    marginBottom: 42,
    className: "chart",
    y: { domain: [0, top], nice: most === undefined, label },
    marks: [
      gridY({ ticks: 4, stroke: "var(--line)", strokeOpacity: 1 }),
      axisX({ label: `Time since loading (${unit.name})`, labelOffset: 36, ticks: Math.floor(width / 70) }),
      axisY({ ticks: 4 }),
      areaY(points, { x: "time", y: "value", curve, fill: "var(--tint)" }),
      lineY(points, { x: "time", y: "value", curve, stroke: "var(--accent)", strokeWidth: 2 }),
      dot(ends, { x: "time", y: "value", r: 4, fill: "var(--accent)" }),
    ],
  });
  // The page's policy forbids style elements; the component has these few rules.
  drawing.querySelector("style")?.remove();
  // Names of the marks (“area”), which say nothing to who cannot see them.
  for (const mark of drawing.querySelectorAll("[aria-label]")) mark.removeAttribute("aria-label");
  return drawing;
}

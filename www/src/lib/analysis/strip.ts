/** Tokens as a drawing, for files: on the page they are words that can be read and copied. */

import { svg } from "./export.ts";
import { levelOf, visible, type Scale } from "./scale.ts";

interface Shaded {
  piece: string;
  value: number | null;
}

const WIDTH = 800;
const HEIGHT = 34;
const MARGIN = 8;
/** Of a character of the typewriter face at 12 points. */
const CHARACTER = 7.4;

export function drawStrip(tokens: readonly Shaded[], scale: Scale): SVGSVGElement {
  const drawing = svg("svg", { class: "strip" });
  let [x, y] = [MARGIN, MARGIN];
  for (const { piece, value } of tokens) {
    const word = visible(piece);
    const number = value === null ? "–" : scale.format(value).replace(/ bits$/, "");
    const width = Math.max([...word].length * CHARACTER, number.length * 6) + 6;
    if (x + width > WIDTH - MARGIN) [x, y] = [MARGIN, y + HEIGHT + 2];
    const level = value === null ? 0 : levelOf(scale, value);
    drawing.append(svg("rect", { x, y, width, height: HEIGHT, class: `level${level}` }));
    for (const [text, at, size, family] of [[word, 14, 12, "var(--mono)"], [number, 28, 10, "var(--ui)"]] as const) {
      const element = svg("text", { x: x + 3, y: y + at, class: `on${level}`, "font-size": size, "font-family": family });
      element.textContent = text;
      drawing.append(element);
    }
    x += width + 2;
    if (piece.includes("\n")) [x, y] = [MARGIN, y + HEIGHT + 2];
  }
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${y + HEIGHT + MARGIN}`);
  return drawing;
}

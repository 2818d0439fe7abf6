/** Tokens as a drawing, for files: on the page they are words that can be read and copied. */

import { svg } from "./export.ts";
import { levelOf, short, visible, type Scale } from "./scale.ts";

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
    const number = value === null ? "–" : scale.format(value);
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

interface Word {
  piece: string;
  /** Under it. */
  note: string;
  level: number;
  framed?: boolean;
}

/** Rows of cells under names of columns, with the name of each row before it. */
export function drawCells(rows: readonly { name: string; cells: readonly Word[] }[], columns: readonly string[]): SVGSVGElement {
  const [left, top, wide, high] = [52, 26, 84, HEIGHT];
  const drawing = svg("svg", { viewBox: `0 0 ${left + columns.length * (wide + 1) + MARGIN} ${top + rows.length * (high + 1) + MARGIN}` });
  const write = (text: string, x: number, y: number, size: number, family: string, of = "") => {
    const element = svg("text", { x, y, "font-size": size, "font-family": family, fill: "currentColor", ...(of && { class: of }) });
    element.textContent = text;
    drawing.append(element);
  };
  for (const [column, name] of columns.entries()) write(short(name, 11), left + column * (wide + 1) + 4, top - 8, 11, "var(--mono)");
  for (const [row, { name, cells }] of rows.entries()) {
    const y = top + row * (high + 1);
    write(name, 6, y + 20, 12, "var(--ui)");
    for (const [column, { piece, note, level, framed }] of cells.entries()) {
      const x = left + column * (wide + 1);
      drawing.append(svg("rect", { x, y, width: wide, height: high, class: `level${level}`, ...(framed && { stroke: "currentColor" }) }));
      write(short(piece, 10), x + 4, y + 14, 12, "var(--mono)", `on${level}`);
      write(note, x + 4, y + 28, 10, "var(--ui)", `on${level}`);
    }
  }
  return drawing;
}

/**
 * Drawings and figures as files. A drawing takes its colours and type from the
 * page; in a file it must carry them itself.
 */

import { saveFile } from "../states/files.ts";

const NAMESPACE = "http://www.w3.org/2000/svg";

/** What a drawing may take from the page. */
const PROPERTIES = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap",
  "opacity", "font-family", "font-size", "font-weight", "font-style", "font-variant-numeric", "text-anchor", "dominant-baseline",
] as const;

/** PNGs for screens of twice the points. */
const SCALE = 2;

/** The drawing as a file that stands alone. `host` is where it gets its style from, where it is in no page yet. */
export function toSvg(drawing: SVGSVGElement, title: string, host: Element): string {
  const loose = !drawing.isConnected;
  if (loose) host.append(drawing);
  try {
    const copy = drawing.cloneNode(true) as SVGSVGElement;
    const originals = [drawing, ...drawing.querySelectorAll<SVGElement>("*")];
    const copies = [copy, ...copy.querySelectorAll<SVGElement>("*")];
    for (const [index, original] of originals.entries()) {
      const style = getComputedStyle(original);
      const parent = index > 0 && original.parentElement ? getComputedStyle(original.parentElement) : null;
      const element = copies[index]!;
      for (const property of PROPERTIES) {
        const value = style.getPropertyValue(property);
        // What is inherited need not be said again.
        if (value !== "" && (value !== parent?.getPropertyValue(property) || element.hasAttribute(property) || property === "opacity")) {
          if (property === "opacity" && value === "1") continue;
          element.setAttribute(property, value);
        }
      }
      element.removeAttribute("class");
      element.removeAttribute("style");
    }
    const { width, height } = sizeOf(drawing);
    copy.setAttribute("xmlns", NAMESPACE);
    copy.setAttribute("width", String(width));
    copy.setAttribute("height", String(height));
    if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
    copy.setAttribute("role", "img");
    copy.removeAttribute("aria-hidden");
    const [x, y, wide, high] = copy.getAttribute("viewBox")!.split(/[\s,]+/);
    const paper = svg("rect", { x: x!, y: y!, width: wide!, height: high!, fill: getComputedStyle(host).getPropertyValue("--sheet") || "white" });
    const name = svg("title", {});
    name.textContent = title;
    copy.prepend(name, paper);
    return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
  } finally {
    if (loose) drawing.remove();
  }
}

export async function toPng(text: string): Promise<Blob> {
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth * SCALE;
    canvas.height = image.naturalHeight * SCALE;
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The drawing is too large for a PNG"))), "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Typed arrays as lists; numbers that JSON does not have as `null`. */
export function toJson(data: unknown): string {
  return `${JSON.stringify(data, (_key, value) => (ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : typeof value === "bigint" ? String(value) : value), 1)}\n`;
}

export type Format = "svg" | "png" | "json";

export interface Exported {
  /** Of the file, without its ending. */
  name: string;
  title: string;
  svg: () => SVGSVGElement | null;
  data: () => unknown;
}

export async function save({ name, title, svg, data }: Exported, format: Format, host: Element): Promise<void> {
  if (format === "json") return saveFile(new Blob([toJson(data())], { type: "application/json" }), `${name}.json`);
  const drawing = svg();
  if (!drawing) return;
  const text = toSvg(drawing, title, host);
  saveFile(format === "svg" ? new Blob([text], { type: "image/svg+xml" }) : await toPng(text), `${name}.${format}`);
}

/** An element of a drawing. */
export function svg<Name extends keyof SVGElementTagNameMap>(name: Name, attributes: Readonly<Record<string, string | number>>): SVGElementTagNameMap[Name] {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, String(value));
  return element;
}

function sizeOf(drawing: SVGSVGElement): { width: number; height: number } {
  const [, , wide, high] = (drawing.getAttribute("viewBox") ?? "").split(/[\s,]+/).map(Number);
  const { width, height } = drawing.getBoundingClientRect();
  return { width: Math.ceil(wide ?? width), height: Math.ceil(high ?? height) };
}

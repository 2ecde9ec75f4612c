// Computed from pixels: the difference of two images, and the outline of a mask.

const PLAIN = 8; // levels; a larger difference is visible

function pixelsOf(image, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * The largest difference of the three channels at each pixel, in levels, at the candidate's size;
 * with the largest and mean value, and the share of pixels above 8 levels.
 */
export function differences(base, candidate) {
  const { naturalWidth: width, naturalHeight: height } = candidate;
  const one = pixelsOf(base, width, height).data;
  const two = pixelsOf(candidate, width, height).data;
  const levels = new Uint8ClampedArray(width * height);
  let largest = 0;
  let sum = 0;
  let plain = 0;
  for (let at = 0, index = 0; index < levels.length; at += 4, index += 1) {
    const level = Math.max(
      Math.abs(one[at] - two[at]), Math.abs(one[at + 1] - two[at + 1]), Math.abs(one[at + 2] - two[at + 2]));
    levels[index] = level;
    sum += level;
    if (level > largest) largest = level;
    if (level > PLAIN) plain += 1;
  }
  return { width, height, levels, largest, mean: sum / levels.length, share: plain / levels.length };
}

/** Draw differences, `gain` times as bright. */
export function drawDifferences(canvas, found, gain) {
  const { width, height, levels } = found;
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let at = 0, index = 0; index < levels.length; at += 4, index += 1) {
    image.data[at] = image.data[at + 1] = image.data[at + 2] = levels[index] * gain;
    image.data[at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The outline of all pixels of a mask above 0, as closed lines of an SVG path in pixels of the image. */
export function outline(mask) {
  const { naturalWidth: width, naturalHeight: height } = mask;
  const { data } = pixelsOf(mask, width, height);
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[(y * width + x) * 4] > 0;
  const from = new Map(); // corner -> ends of the edges that start there; the inside is on their right
  const edge = (x, y, right, bottom) => {
    const start = y * (width + 1) + x;
    from.set(start, [...(from.get(start) ?? []), [right, bottom]]);
  };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) edge(x, y, x + 1, y);
      if (!inside(x + 1, y)) edge(x + 1, y, x + 1, y + 1);
      if (!inside(x, y + 1)) edge(x + 1, y + 1, x, y + 1);
      if (!inside(x - 1, y)) edge(x, y + 1, x, y);
    }
  }
  let path = "";
  for (const [start, ends] of from) while (ends.length) path += closedLine(from, start, width + 1);
  return path;
}

/** One closed line, whose edges are removed from the map; edges in one direction become one line. */
function closedLine(from, start, columns) {
  let [x, y] = [start % columns, Math.floor(start / columns)];
  let path = `M${x} ${y}`;
  let way = null;
  for (let at = start; ;) {
    const [right, bottom] = from.get(at).pop();
    const now = `${right - x},${bottom - y}`;
    if (way !== null && now !== way) path += `L${x} ${y}`;
    [x, y, way] = [right, bottom, now];
    at = y * columns + x;
    if (at === start) return `${path}Z`;
  }
}

const SVG = "http://www.w3.org/2000/svg";

/** Show a path in an outline's SVG: light dashes on a dark line, visible on every background. */
export function showOutline(svg, path, width, height) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...(path ? ["under", "over"] : []).map((name) => {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", name);
    line.setAttribute("d", path);
    return line;
  }));
}

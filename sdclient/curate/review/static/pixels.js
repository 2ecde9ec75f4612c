// What is computed from pixels: the difference of two pictures, and the outline of a mask.

const PLAIN = 8; // levels; more is seen

function pixelsOf(image, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * The largest difference of the three channels at each pixel, levels, at the candidate's size.
 * Gives them with their largest and mean value and the share of pixels above 8 levels.
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
  const picture = new ImageData(width, height);
  for (let at = 0, index = 0; index < levels.length; at += 4, index += 1) {
    picture.data[at] = picture.data[at + 1] = picture.data[at + 2] = levels[index] * gain;
    picture.data[at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** The outline of all pixels of a mask above 0, as the path of an SVG in pixels of the picture. */
export function outline(mask) {
  const { naturalWidth: width, naturalHeight: height } = mask;
  const { data } = pixelsOf(mask, width, height);
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[(y * width + x) * 4] > 0;
  const parts = [];
  const collect = (lines, places, differs, path) => {
    for (let line = 0; line <= lines; line += 1) {
      let start = -1;
      for (let place = 0; place <= places; place += 1) {
        const isEdge = place < places && differs(line, place);
        if (isEdge && start < 0) start = place;
        if (!isEdge && start >= 0) {
          parts.push(path(line, start, place));
          start = -1;
        }
      }
    }
  };
  collect(height, width, (y, x) => inside(x, y) !== inside(x, y - 1), (y, from, to) => `M${from} ${y}H${to}`);
  collect(width, height, (x, y) => inside(x, y) !== inside(x - 1, y), (x, from, to) => `M${x} ${from}V${to}`);
  return parts.join("");
}

const SVG = "http://www.w3.org/2000/svg";

/** Show a path in an outline's SVG: dark under, light dashes over, seen on every ground. */
export function showOutline(svg, path, width, height) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...(path ? ["under", "over"] : []).map((name) => {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", name);
    line.setAttribute("d", path);
    return line;
  }));
}

// The page for drawing masks on sources. It keeps the shapes; the server makes the mask from them.

import { outline, showOutline } from "./pixels.js";
import { listenToKeys } from "./keys.js";
import { address, get, post, remove, say } from "./server.js";
import { alarm, hush, tell } from "./telling.js";
import { Zoom } from "./zoom.js";

const PAN_PX = 40;
const NEAR_PX = 1;
const PAN_BUTTON = 1;
const TOOLS = { r: "rectangle", l: "area", p: "corners", b: "stroke" };
const $ = (id) => document.getElementById(id);

const easel = $("easel");
const zoom = new Zoom([easel]);
zoom.panButton = PAN_BUTTON;
let sources = [];
let listed = [];
let current = null; // the source as the server described it
let shapes = [];
let growing = null; // the shape that is being drawn
let tool = "rectangle";

async function open(name) {
  if (!name) return;
  const source = await get("/api/source", { name });
  const image = $("picture");
  current = source;
  [shapes, growing] = [[], null];
  image.alt = `${say("source")} ${name}`;
  image.src = address("/api/source-picture", { name, version: source.version });
  const isShown = await image.decode().then(() => true, () => false);
  if (current.name !== name) return;
  easel.querySelector(".unreadable").hidden = isShown;
  $("drawn").width = source.width;
  $("drawn").height = source.height;
  for (const [side, most] of [["left", "width"], ["top", "height"], ["right", "width"], ["bottom", "height"]])
    $("by-numbers").elements[side].max = source[most];
  zoom.setSize(source.width, source.height);
  await showFormer();
  draw();
  list();
  $("source-name").textContent = `${name} · ${source.width} × ${source.height} px`;
  history.replaceState(null, "", `${location.pathname}${location.search}#${new URLSearchParams({ file: name })}`);
  $("language-link").hash = location.hash;
  $("stage").dataset.shown = name;
}

/** Show the outline of the saved mask. */
async function showFormer() {
  const { name, mask, width, height } = current;
  let path = "";
  if (mask) {
    const image = new Image();
    image.src = address("/api/source-picture", { name, mask: true, version: mask });
    path = await image.decode().then(() => outline(image), () => "");
  }
  if (current.name === name) showOutline($("former"), path, width, height);
  $("mask-state").textContent = say(mask ? "with_mask" : "without_mask");
  $("mask-state").className = `badge ${mask ? "is-accepted" : "is-undecided"}`;
  $("delete").disabled = !mask;
}

/** Draw the shapes, before growing and feathering. */
function draw() {
  const canvas = $("drawn");
  const pen = canvas.getContext("2d");
  const ink = getComputedStyle(canvas).color;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  [pen.fillStyle, pen.strokeStyle, pen.lineCap, pen.lineJoin] = [ink, ink, "round", "round"];
  for (const shape of growing ? [...shapes, growing] : shapes) {
    pen.globalCompositeOperation = shape.erases ? "destination-out" : "source-over";
    drawShape(pen, shape);
  }
  $("place").textContent = shapes.length ? say("unsaved") : "";
  for (const id of ["undo-shape", "discard"]) $(id).disabled = !shapes.length && !growing;
}

function drawShape(pen, { kind, points, width_px: width }) {
  pen.beginPath();
  if (kind === "rectangle") {
    const [[x, y], [right, bottom]] = [points[0], points.at(-1)];
    pen.rect(x, y, right - x, bottom - y);
    pen.fill();
    return;
  }
  pen.moveTo(...points[0]);
  for (const point of points.length > 1 ? points.slice(1) : points) pen.lineTo(...point);
  pen.lineWidth = kind === "stroke" ? width : 1 / zoom.scale;
  if (kind === "area") pen.fill();
  pen.stroke();
}

function addShape(shape) {
  shapes.push(shape);
  growing = null;
  draw();
}

function begin(kind, point) {
  const brush = Number($("brush").value) || 1;
  growing = { kind, points: [point], width_px: brush, erases: $("erase").getAttribute("aria-pressed") === "true" };
}

function endPolygon() {
  if (!growing?.isPolygon) return false;
  const { isPolygon, ...shape } = growing;
  shape.points = shape.points.filter((point, at) => !at || distance(point, shape.points[at - 1]) > NEAR_PX / zoom.scale);
  if (shape.points.length > 2) addShape(shape);
  else drop();
  return true;
}

function drop() {
  const wasThere = growing !== null;
  growing = null;
  draw();
  return wasThere;
}

const distance = ([x, y], [other, below]) => Math.hypot(x - other, y - below);
const rounded = ([x, y]) => [Math.round(x * 100) / 100, Math.round(y * 100) / 100];

easel.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !current) return;
  event.preventDefault();
  const point = rounded(zoom.place(easel, event));
  if (tool === "corners") {
    if (growing) growing.points.push(point, point);
    else {
      begin("area", point);
      growing.points.push(point);
      growing.isPolygon = true;
    }
  } else {
    begin(tool, point);
    easel.setPointerCapture(event.pointerId);
  }
  draw();
});
easel.addEventListener("pointermove", (event) => {
  if (!growing) return;
  const point = rounded(zoom.place(easel, event));
  if (growing.kind === "rectangle") growing.points[1] = point;
  else if (growing.isPolygon) growing.points[growing.points.length - 1] = point;
  else if (distance(point, growing.points.at(-1)) > NEAR_PX / zoom.scale) growing.points.push(point);
  draw();
});
easel.addEventListener("pointerup", () => {
  if (!growing || growing.isPolygon) return;
  const isEnough = { rectangle: 2, area: 3, stroke: 1 }[growing.kind] <= growing.points.length;
  if (isEnough) addShape(growing);
  else drop();
});
easel.addEventListener("pointercancel", () => { if (!growing?.isPolygon) drop(); });
easel.addEventListener("dblclick", endPolygon);

async function save(thenNext) {
  endPolygon();
  if (!shapes.length) {
    if (thenNext && current?.mask) await step(1);
    else tell(say("nothing_drawn"));
    return;
  }
  const { name } = current;
  const drawing = {
    shapes, grow_px: Number($("grow").value), feather_px: Number($("feather").value), keeps_former: $("keep").checked,
  };
  if (!(await took(() => post("/api/mask", drawing, { name })))) return;
  shapes = [];
  tell(say("saved", { name }));
  if (thenNext) await step(1);
  else {
    await showFormer();
    draw();
  }
}

async function removeMask() {
  const { name } = current;
  if (!(await took(() => remove("/api/mask", { name })))) return;
  tell(say("deleted", { name }));
  await showFormer();
}

/** Let the server change a mask; returns whether it did, and shows why not. */
async function took(run) {
  try {
    current = await run();
  } catch (error) {
    alarm("not-drawn", error.message);
    return false;
  }
  hush("not-drawn");
  Object.assign(sources.find((one) => one.name === current.name), { mask: current.mask });
  list();
  return true;
}

/** Update the list of sources to choose from. */
function list() {
  const isOnly = $("only-without").checked;
  listed = sources.filter((one) => !isOnly || !one.mask || one.name === current?.name);
  const select = $("sources");
  const label = ({ name, mask }) => `${mask ? "●" : "○"} ${name}`;
  if (select.options.length !== listed.length || listed.some((one, at) => select.options[at].value !== one.name))
    select.replaceChildren(...listed.map((one) => new Option(label(one), one.name)));
  listed.forEach((one, at) => {
    if (select.options[at].text !== label(one)) select.options[at].text = label(one);
  });
  select.value = current?.name ?? "";
  $("done").textContent = say("masks_done", { done: sources.filter((one) => one.mask).length, all: sources.length });
}

async function step(by) {
  const at = listed.findIndex((one) => one.name === current?.name) + by;
  if (shapes.length) tell(`${say("unsaved")}: ${current.name}`);
  else if (at < 0) tell(say("start"));
  else if (at >= listed.length) tell(say("end"));
  else await open(listed[at].name);
}

function setTool(name) {
  tool = name;
  drop();
  for (const button of document.querySelectorAll("[data-tool]"))
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
}

function undo() {
  if (!drop()) shapes.pop();
  draw();
}

function toggleErase() {
  const button = $("erase");
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
}

const PAN = { ArrowRight: [-1, 0], ArrowLeft: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
const KEYS = {
  e: toggleErase, u: undo, s: () => save(false), Enter: () => endPolygon() || save(true), Escape: drop,
  ArrowRight: () => step(1), ArrowLeft: () => step(-1), "+": () => zoom.zoom(1), "=": () => zoom.zoom(1),
  "-": () => zoom.zoom(-1), 0: () => zoom.fit(), 1: () => zoom.real(),
};
listenToKeys((event) => {
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (name === "z") undo();
    return name === "z";
  }
  if (event.shiftKey && PAN[name]) zoom.pan(...PAN[name].map((way) => way * PAN_PX));
  else if (TOOLS[name]) setTool(TOOLS[name]);
  else if (KEYS[name]) KEYS[name]();
  else return false;
  return true;
});

for (const [id, run] of Object.entries({
  erase: toggleErase, "undo-shape": undo, discard: () => { shapes = []; drop(); }, save: () => save(false),
  "save-next": () => save(true), delete: removeMask, previous: () => step(-1), next: () => step(1),
  "zoom-in": () => zoom.zoom(1), "zoom-out": () => zoom.zoom(-1), "zoom-fit": () => zoom.fit(), "zoom-real": () => zoom.real(),
})) $(id).addEventListener("click", run);
for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => setTool(button.dataset.tool));
$("only-without").addEventListener("change", list);
$("sources").addEventListener("change", () => {
  if (!shapes.length) open($("sources").value);
  else {
    tell(`${say("unsaved")}: ${current.name}`);
    $("sources").value = current.name;
  }
});
$("by-numbers").addEventListener("submit", (event) => {
  event.preventDefault();
  const [left, top, right, bottom] = ["left", "top", "right", "bottom"].map((side) => Number(event.target.elements[side].value));
  begin("rectangle", [left, top]);
  addShape({ ...growing, points: [[left, top], [right, bottom]] });
});
addEventListener("beforeunload", (event) => { if (shapes.length) event.preventDefault(); });
if (matchMedia("(max-width: 900px)").matches) $("source-panel").open = false;
if ($("review-link")) $("review-link").hash = sessionStorage.getItem("place") ?? "";

sources = await get("/api/sources");
const wanted = new URLSearchParams(location.hash.slice(1)).get("file");
list();
await open(sources.some((one) => one.name === wanted) ? wanted : sources[0]?.name);
document.documentElement.dataset.ready = "yes";

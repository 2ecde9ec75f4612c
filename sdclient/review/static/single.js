// One image beside its source: views, zoom, and facts.

import { differences, drawDifferences, outline, showOutline } from "./pixels.js";
import { address, ordered, say, termOf } from "./server.js";
import { element, tell } from "./telling.js";
import { Zoom } from "./zoom.js";

const BLINK_MS = 600;
const AHEAD = 4;
const KEPT = 40;
const $ = (id) => document.getElementById(id);
const isStill = matchMedia("(prefers-reduced-motion: reduce)");

export class Single {
  constructor(store) {
    this.store = store;
    this.panes = $("panes");
    this.base = this.panes.querySelector('[data-pane="base"]');
    this.candidate = this.panes.querySelector('[data-pane="candidate"]');
    this.zoom = new Zoom([...this.panes.querySelectorAll(".window")]);
    this.zoom.addEventListener("change", () => { $("zoom-value").value = `${Math.round(this.zoom.scale * 100)} %`; });
    this.images = new Map();
    this.row = null;
    this.view = "side";
    this.hasMask = true;
    this.parent = null;
    this.listen();
  }

  get shown() {
    return this.row;
  }

  /** Show the image of a row once all its files are loaded; a call that a later one overtook shows nothing. */
  async show(row, index) {
    this.wanted = row.file;
    this.loading = setTimeout(() => this.panes.classList.add("loading"), 150);
    const parent = row.pictures[this.parent] ? this.parent : row.base;
    const needed = { candidate: "candidate", base: parent, ...(row.pictures.mask ? { mask: "mask" } : {}) };
    const loaded = await Promise.all(Object.values(needed).map((what) => this.load(row, what)));
    if (this.wanted !== row.file) return;
    clearTimeout(this.loading);
    this.panes.classList.remove("loading");
    this.row = this.store.rows.get(row.file) ?? row;
    [this.files, this.shownParent] = [{}, parent];
    Object.keys(needed).forEach((name, at) => { this.files[name] = loaded[at]; });
    this.found = null;
    this.place(row, parent);
    this.setView(this.view);
    this.tell(index);
    $("stage").dataset.shown = row.file;
  }

  /** Fetch the image files of rows that are likely to come next. */
  prepare(rows) {
    for (const row of rows.slice(0, AHEAD)) for (const what of ["candidate", row.base]) this.load(row, what);
  }

  load(row, what) {
    const { state, version } = row.pictures[what] ?? { state: "missing" };
    if (state === "missing" || state === "outside") return null;
    const source = address("/api/picture", { file: row.file, what, version });
    let coming = this.images.get(source);
    if (!coming) {
      const image = new Image();
      image.src = source;
      coming = image.decode().then(() => image, () => null);
      this.images.set(source, coming);
      if (this.images.size > KEPT) this.images.delete(this.images.keys().next().value);
    }
    return coming;
  }

  place(row, parent) {
    const { candidate, base } = this.files;
    const [width, height] = candidate ? [candidate.naturalWidth, candidate.naturalHeight] : [row.width, row.height];
    const baseName = parent === row.base && row.pictures.parent1 ? say("parent") : say("source");
    for (const image of this.panes.querySelectorAll("img.base")) put(image, base, `${baseName} ${row.pictures[parent].name}`);
    put(this.candidate.querySelector("img.candidate"), candidate, `${say("candidate")} ${row.file}`);
    this.base.querySelector(".unreadable").hidden = base !== null;
    this.candidate.querySelector(".unreadable").hidden = candidate !== null;
    this.path = this.files.mask ? (this.files.mask.path ??= outline(this.files.mask)) : "";
    const size = this.files.mask ? [this.files.mask.naturalWidth, this.files.mask.naturalHeight] : [1, 1];
    for (const svg of this.panes.querySelectorAll(".outline")) showOutline(svg, this.path, ...size);
    $("mask-toggle").disabled = !this.path;
    $("other-parent").hidden = !row.pictures.parent1;
    $("other-parent").setAttribute("aria-pressed", String(parent !== row.base));
    $("base-label").textContent = baseName;
    $("base-name").textContent = row.pictures[parent].name;
    $("candidate-name").textContent = row.file;
    this.zoom.setSize(width, height);
  }

  /** Show verdict, reasons, scores and facts of the image. */
  tell(index) {
    const row = this.row;
    const verdict = row.verdict || "undecided";
    const by = row.person ? say("by_person") : row.verdict ? say("by_filters") : "";
    $("verdict").className = `badge is-${verdict}`;
    $("verdict").textContent = `${{ accepted: "✓", rejected: "✗", undecided: "○" }[verdict]} ${say(verdict)}${by && ` · ${by}`}`;
    $("place").textContent = say("position", { index: index + 1, count: this.store.files.length });
    $("faults").replaceChildren(...this.faults(row).map((text) => element("li", {}, text)));
    const reasons = row.reasons.map((word) => element("li", {}, termOf("reasons", word)));
    const none = row.filters ? say("no_reasons") : say("not_judged");
    $("why").replaceChildren(reasons.length ? element("ul", { class: "reasons" }, ...reasons) : element("p", { class: "quiet" }, none));
    $("scores").replaceChildren(scoreTable(row.scores));
    const facts = { ...row.facts, size: `${row.width} × ${row.height} px` };
    $("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value !== "").map(([name, value]) =>
      element("div", {}, element("dt", {}, say(`fact_${name}`)), element("dd", {}, String(value)))));
  }

  faults(row) {
    const lines = [];
    for (const [what, { name, state }] of Object.entries(row.pictures)) {
      if (state === "ok") continue;
      const of = what === "candidate" ? say("candidate") : what === "mask" ? say("mask") : what === "parent0" ? say("source") : say("parent");
      lines.push(say(`state_${state}`, { what: of, name }) + (what === "candidate" ? ` ${say("cannot_accept")}` : ""));
    }
    const { base, candidate } = this.files;
    if (base && candidate && (base.naturalWidth !== candidate.naturalWidth || base.naturalHeight !== candidate.naturalHeight))
      lines.push(say("size_differs", {
        base: `${base.naturalWidth} × ${base.naturalHeight}`, candidate: `${candidate.naturalWidth} × ${candidate.naturalHeight}` }));
    return lines;
  }

  setView(view) {
    this.view = view;
    this.panes.dataset.view = view;
    for (const button of document.querySelectorAll("[data-view][aria-pressed]"))
      button.setAttribute("aria-pressed", String(button.dataset.view === view));
    clearInterval(this.blinking);
    this.peek(false);
    $("swap").hidden = view !== "blink";
    $("gain-label").hidden = view !== "difference";
    $("difference-of").textContent = "";
    if (view === "blink" && !isStill.matches) this.blinking = setInterval(() => this.swap(), BLINK_MS);
    if (view === "difference") this.showDifference();
    if (this.zoom.fits) this.zoom.fit();
  }

  showDifference() {
    const { base, candidate } = this.files ?? {};
    const canvas = this.panes.querySelector("canvas.difference");
    canvas.hidden = !(base && candidate);
    if (canvas.hidden) return;
    this.found ??= differences(base, candidate);
    const gain = Number($("gain").value);
    $("gain-value").value = `×${gain}`;
    drawDifferences(canvas, this.found, gain);
    const { largest, mean, share } = this.found;
    $("difference-of").textContent = say("difference_of", { largest, mean: mean.toFixed(1), share: (share * 100).toFixed(1) });
  }

  /** Show the source in place of the candidate, or the candidate again. */
  peek(isOn) {
    this.panes.classList.toggle("peeking", isOn);
    $("candidate-label").textContent = say(isOn ? "source" : "candidate");
  }

  swap() {
    this.peek(!this.panes.classList.contains("peeking"));
  }

  toggleMask() {
    this.hasMask = !this.hasMask;
    this.panes.classList.toggle("no-mask", !this.hasMask);
    $("mask-toggle").setAttribute("aria-pressed", String(this.hasMask));
  }

  async toggleParent(index) {
    if (!this.row?.pictures.parent1) return;
    const { base } = this.row;
    const other = base === "parent0" ? "parent1" : "parent0";
    this.parent = this.shownParent === base ? other : null;
    await this.show(this.row, index);
    tell(`${$("base-label").textContent}: ${$("base-name").textContent}`);
  }

  listen() {
    for (const button of document.querySelectorAll("button[data-view]"))
      button.addEventListener("click", () => this.setView(button.dataset.view));
    $("swap").addEventListener("click", () => this.swap());
    $("mask-toggle").addEventListener("click", () => this.toggleMask());
    $("gain").addEventListener("input", () => this.showDifference());
    $("zoom-in").addEventListener("click", () => this.zoom.zoom(1));
    $("zoom-out").addEventListener("click", () => this.zoom.zoom(-1));
    $("zoom-fit").addEventListener("click", () => this.zoom.fit());
    $("zoom-real").addEventListener("click", () => this.zoom.real());
  }
}

function put(image, loaded, alt) {
  image.hidden = !loaded;
  image.alt = alt;
  if (loaded) image.src = loaded.src;
  else image.removeAttribute("src");
}

function scoreTable(scores) {
  const names = ordered("scores", Object.keys(scores));
  if (!names.length) return element("p", { class: "quiet" }, say("no_scores"));
  return element("table", {}, element("tbody", {}, ...names.map((name) => {
    const value = scores[name] === null ? say("not_applicable") : Number(scores[name].toFixed(4));
    return element("tr", {}, element("th", { scope: "row" }, termOf("scores", name)), element("td", { class: "num" }, String(value)));
  })));
}

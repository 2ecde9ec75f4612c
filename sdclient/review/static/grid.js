// Many images at once: pages of thumbnails, one of which has the focus, and a selection across pages.

import { address, say } from "./server.js";
import { element, tell } from "./telling.js";

const MOST = 1000;
const MARKS = { accepted: "✓", rejected: "✗", undecided: "○" };
const $ = (id) => document.getElementById(id);

export class Grid {
  /** @param open called with the index of an image to show alone */
  constructor(store, open) {
    this.store = store;
    this.open = open;
    this.cells = $("cells");
    this.index = 0;
    this.anchor = 0;
    this.selection = new Set();
    this.listen();
  }

  get size() {
    return Number($("page-size").value);
  }

  get page() {
    return Math.floor(this.index / this.size);
  }

  get pages() {
    return Math.max(1, Math.ceil(this.store.files.length / this.size));
  }

  /** Files of the page that is shown. */
  get files() {
    return this.store.files.slice(this.page * this.size, (this.page + 1) * this.size);
  }

  /** Show the page of an image and put the focus on it. */
  async show(index, { focus = true } = {}) {
    this.index = Math.max(0, Math.min(this.store.files.length - 1, index));
    const wanted = this.files;
    await this.store.ensure(wanted);
    if (this.files[0] !== wanted[0]) return;
    if (this.cells.dataset.page !== this.pageName()) this.build(wanted);
    this.mark();
    if (focus) this.focused()?.focus({ preventScroll: false });
    this.prepare();
  }

  /** Forget page and selection, because the list is another. */
  forget() {
    delete this.cells.dataset.page;
    this.selection.clear();
    this.anchor = 0;
  }

  /** Rows to decide about: the selection, or the image with the focus. */
  async chosen() {
    const files = this.selection.size ? this.store.files.filter((file) => this.selection.has(file)) : [this.store.files[this.index]];
    return this.store.ensure(files.filter(Boolean));
  }

  selectNone() {
    this.selection.clear();
    this.mark();
    this.tellSelection();
  }

  selectPage() {
    this.files.forEach((file) => this.selection.add(file));
    this.mark();
    this.tellSelection();
  }

  /** Update the cells from the rows. */
  mark() {
    const first = this.page * this.size;
    for (const [at, cell] of [...this.cells.children].entries()) {
      const file = this.store.files[first + at];
      const row = this.store.rows.get(file);
      cell.tabIndex = first + at === this.index ? 0 : -1;
      cell.setAttribute("aria-selected", String(this.selection.has(file)));
      if (!row) continue;
      const verdict = row.verdict || "undecided";
      cell.className = `cell is-${verdict}${row.person ? " by-person" : ""}`;
      cell.querySelector(".mark").textContent = MARKS[verdict];
      const fault = row.pictures.candidate.state === "ok" ? "" : say(`state_${row.pictures.candidate.state}`, { what: say("candidate"), name: "" });
      cell.setAttribute("aria-label", [file, say(verdict), row.person && say("by_person"), fault].filter(Boolean).join(", "));
    }
    $("page-of").value = say("page_of", { page: this.page + 1, pages: this.pages });
    for (const [id, isOff] of [["page-first", this.page === 0], ["page-previous", this.page === 0],
      ["page-next", this.page >= this.pages - 1], ["page-last", this.page >= this.pages - 1]]) $(id).disabled = isOff;
    $("selected").value = say("selected", { count: this.selection.size });
  }

  /** Handle a key of the grid; returns whether it was one. */
  key(event) {
    const last = this.store.files.length - 1;
    const columns = this.columns();
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: this.size, PageUp: -this.size,
      Home: -this.index, End: last - this.index,
    };
    if (event.key in steps) {
      const to = this.index + steps[event.key];
      if (to < 0 || to > last) {
        if (!event.key.startsWith("Page")) return true;
      }
      this.move(Math.max(0, Math.min(last, to)), event.shiftKey);
      return true;
    }
    if (event.key === " ") this.toggle(this.index);
    else if (event.key === "Enter") this.open(this.index);
    else if (event.key === "Escape") this.selectNone();
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.selectPage();
    else return false;
    return true;
  }

  async move(to, extends_) {
    if (extends_) await this.range(to);
    else this.anchor = to;
    await this.show(to);
    if (extends_) this.tellSelection();
  }

  toggle(index) {
    const file = this.store.files[index];
    if (!this.selection.delete(file)) this.selection.add(file);
    this.anchor = index;
    this.mark();
    this.tellSelection();
  }

  async range(to) {
    const [from, until] = [Math.min(this.anchor, to), Math.max(this.anchor, to) + 1];
    if (until - from > MOST) {
      tell(say("too_many", { count: MOST }));
      return;
    }
    const files = this.store.files.slice(from, until);
    await this.store.ensure(files); // so that a decision is about the current rows
    this.selection = new Set(files);
  }

  pageName() {
    return `${this.page} of ${this.size}`;
  }

  focused() {
    return this.cells.children[this.index - this.page * this.size];
  }

  columns() {
    const tops = [...this.cells.children].map((cell) => cell.offsetTop);
    return Math.max(1, tops.findIndex((top) => top !== tops[0]) === -1 ? tops.length : tops.findIndex((top) => top !== tops[0]));
  }

  build(files) {
    this.cells.dataset.page = this.pageName();
    this.cells.replaceChildren(...files.map((file) => {
      const row = this.store.rows.get(file);
      const image = element("img", { alt: "", draggable: "false" });
      if (row && ["ok", "changed"].includes(row.pictures.candidate.state)) image.src = thumb(row);
      else image.hidden = true;
      return element("div", { role: "option", class: "cell", "data-file": file },
        image, element("span", { class: "mark", "aria-hidden": "true" }), element("span", { class: "tick", "aria-hidden": "true" }),
        element("span", { class: "name" }, file));
    }));
    $("stage").dataset.shown = this.pageName();
  }

  async prepare() {
    const rows = await this.store.ensure(this.store.files.slice((this.page + 1) * this.size, (this.page + 2) * this.size));
    this.coming = rows.map((row) => Object.assign(new Image(), { src: thumb(row) }));
  }

  tellSelection() {
    tell(say("selected", { count: this.selection.size }));
  }

  async clicked(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    const index = this.page * this.size + [...this.cells.children].indexOf(cell);
    if (event.shiftKey) await this.range(index);
    else if (event.ctrlKey || event.metaKey || event.target.closest(".tick")) this.toggle(index);
    else {
      this.selection = new Set([this.store.files[index]]);
      this.anchor = index;
    }
    await this.show(index);
    if (event.shiftKey) this.tellSelection();
  }

  listen() {
    this.cells.addEventListener("click", (event) => this.clicked(event));
    this.cells.addEventListener("mousedown", (event) => { if (event.shiftKey) event.preventDefault(); }); // selects no text
    this.cells.addEventListener("dblclick", (event) => {
      if (event.target.closest(".cell") && !event.target.closest(".tick")) this.open(this.index);
    });
    $("page-size").addEventListener("change", () => {
      delete this.cells.dataset.page;
      this.show(this.index, { focus: false });
    });
    $("select-page").addEventListener("click", () => this.selectPage());
    $("select-none").addEventListener("click", () => this.selectNone());
    for (const [id, page] of [["page-first", () => 0], ["page-previous", () => this.page - 1], ["page-next", () => this.page + 1], ["page-last", () => this.pages - 1]])
      $(id).addEventListener("click", () => {
        this.anchor = page() * this.size;
        this.show(this.anchor, { focus: false });
      });
  }
}

function thumb(row) {
  return address("/api/picture", { file: row.file, what: "candidate", version: row.pictures.candidate.version, small: true });
}

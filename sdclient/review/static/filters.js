// The form of the filter, the table of classes, and the counters, which are always visible.

import { get, ordered, say, termOf } from "./server.js";
import { NO_FILTER } from "./store.js";
import { element } from "./telling.js";

const VERDICTS = ["accepted", "rejected", "undecided"];
const $ = (id) => document.getElementById(id);

export class Filters {
  /** @param changed called with the new filter */
  constructor(store, changed) {
    this.store = store;
    this.form = $("filter");
    this.changed = changed;
    this.ranges = {};
    store.addEventListener("change", () => this.count());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", () => this.read());
    this.form.addEventListener("reset", (event) => {
      event.preventDefault();
      this.apply(NO_FILTER);
    });
    if (matchMedia("(max-width: 900px)").matches) $("filter-panel").open = false;
  }

  /** Fetch the reasons and scores to filter by. */
  async load() {
    const { reasons, scores } = await get("/api/facets");
    this.ranges = scores;
    const words = ordered("reasons", Object.keys(reasons));
    this.fill("reason", words.map((word) => [word, `${termOf("reasons", word)} (${reasons[word]})`]), 2);
    this.fill("score", ordered("scores", Object.keys(scores)).map((name) => [name, termOf("scores", name)]), 1);
    this.extent();
  }

  /** Use another filter, for example from the table of classes. */
  apply(filter) {
    this.changed({ ...filter });
    this.write();
  }

  setClass(name) {
    this.apply({ ...this.store.filter, class: name });
  }

  /** Show the store's filter in the form. */
  write() {
    const { filter } = this.store;
    for (const name of ["class", "reason", "score"]) this.ensureOption(name, filter[name]);
    for (const [name, value] of Object.entries(filter)) this.form.elements[name].value = value;
    this.extent();
  }

  read() {
    const filter = Object.fromEntries(Object.keys(NO_FILTER).map((name) => [name, this.form.elements[name].value]));
    if (!filter.score) Object.assign(filter, { low: "", high: "", order: "name" });
    this.extent();
    this.changed(filter);
  }

  extent() {
    const name = this.form.elements.score.value;
    $("score-range").hidden = !name;
    const range = this.ranges[name];
    $("score-extent").textContent = range ? `${termOf("scores", name)}: ${rounded(range[0])} … ${rounded(range[1])}` : "";
  }

  fill(name, options, kept) {
    const select = this.form.elements[name];
    const former = select.value;
    while (select.options.length > kept) select.remove(kept);
    for (const [value, label] of options) select.add(new Option(label, value));
    select.value = former;
  }

  ensureOption(name, value) {
    const select = this.form.elements[name];
    if (![...select.options].some((option) => option.value === value)) select.add(new Option(value, value));
  }

  /** Update the counters. */
  count() {
    const { counts, filter, files, fresh } = this.store;
    const all = { class_name: "", reviewed: 0, accepted: 0, rejected: 0, undecided: 0 };
    for (const one of counts) for (const name of ["reviewed", ...VERDICTS]) all[name] += one[name];
    const body = $("classes").tBodies[0];
    const rows = [all, ...counts];
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((one, at) => this.drawClass(body.rows[at] ?? this.addRow(body), one));
    const shown = rows.find((one) => one.class_name === filter.class) ?? all;
    $("total-class").textContent = shown.class_name || say("all_classes");
    for (const name of VERDICTS) $(`total-${name}`).textContent = shown[name].toLocaleString();
    const sum = VERDICTS.reduce((total, name) => total + shown[name], 0);
    $("reviewed").textContent = say("reviewed_of", { reviewed: shown.reviewed.toLocaleString(), all: sum.toLocaleString() });
    $("listed").value = fresh ? say("listed_new", { count: files.length.toLocaleString(), fresh }) : say("listed", { count: files.length.toLocaleString() });
    for (const { class_name: name } of counts) this.ensureOption("class", name);
  }

  addRow(body) {
    const button = element("button", { type: "button", class: "link" });
    button.addEventListener("click", () => this.setClass(button.dataset.class));
    const row = element("tr", {}, element("th", { scope: "row" }, button), ...VERDICTS.map(() => element("td", { class: "num" })));
    body.append(row);
    return row;
  }

  drawClass(row, one) {
    const button = row.cells[0].firstElementChild;
    button.dataset.class = one.class_name;
    button.textContent = one.class_name || say("all");
    const isShown = this.store.filter.class === one.class_name;
    row.classList.toggle("chosen", isShown);
    if (isShown) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    VERDICTS.forEach((name, at) => { row.cells[at + 1].textContent = one[name].toLocaleString(); });
  }
}

const rounded = (value) => Number(value.toFixed(4));

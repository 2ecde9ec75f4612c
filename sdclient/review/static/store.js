// The list of a filter, the rows of its images, and the counts. Rows are fetched when they are needed.

import { get, post } from "./server.js";

const MOST_ROWS = 1000;
const VERDICTS = ["accepted", "rejected", "undecided"];

export const NO_FILTER = { class: "", state: "all", reason: "all", score: "", low: "", high: "", order: "name" };

export class Store extends EventTarget {
  constructor() {
    super();
    this.filter = { ...NO_FILTER };
    this.files = [];
    this.starts = [];
    this.first = null;
    this.rows = new Map();
    this.counts = [];
    this.listedOf = 0;
    this.pending = new Map();
    this.wanted = null;
  }

  /** Fetch the list of the current filter; returns false if a later call has replaced this one. */
  async load() {
    const requested = { ...this.filter };
    this.wanted = requested;
    const { class: name, state, reason, score, low, high, order } = this.filter;
    const query = { state };
    if (name) query.class = name;
    if (reason !== "all") query.reason = reason === "any" ? "" : reason;
    if (score) Object.assign(query, { score, order }, low === "" ? {} : { low }, high === "" ? {} : { high });
    const [list] = await Promise.all([get("/api/list", query), this.loadCounts()]);
    if (this.wanted !== requested) return false;
    this.files = list.files;
    this.indexes = new Map(list.files.map((file, index) => [file, index]));
    this.starts = list.starts;
    this.first = list.first_unreviewed;
    this.listedOf = this.all;
    this.rows.clear();
    this.pending.clear();
    this.changed();
    return true;
  }

  async loadCounts(isWanted = () => true) {
    const counts = await get("/api/counts");
    if (!isWanted()) return;
    this.counts = counts;
    this.changed();
  }

  get all() {
    return this.counts.reduce((sum, one) => sum + VERDICTS.reduce((own, verdict) => own + one[verdict], 0), 0);
  }

  /** By how many images the output has changed since the list was made. */
  get fresh() {
    return Math.abs(this.all - this.listedOf);
  }

  indexOf(file) {
    return this.indexes.get(file) ?? -1;
  }

  /** Rows of these files, fetched if needed; files that no longer exist are left out. */
  async ensure(files) {
    const missing = files.filter((file) => !this.rows.has(file) && !this.pending.has(file));
    for (let start = 0; start < missing.length; start += MOST_ROWS) {
      const some = missing.slice(start, start + MOST_ROWS);
      const coming = post("/api/rows", { files: some })
        .then((rows) => rows.forEach((row) => this.rows.set(row.file, row)))
        .finally(() => some.forEach((file) => this.pending.delete(file)));
      some.forEach((file) => this.pending.set(file, coming));
    }
    await Promise.all(new Set(files.map((file) => this.pending.get(file)).filter(Boolean)));
    return files.map((file) => this.rows.get(file)).filter(Boolean);
  }

  /** Fetch rows again; returns those decided anew, or none if they are no longer wanted when they arrive. */
  async refresh(files, isWanted = () => true) {
    const rows = await post("/api/rows", { files });
    if (!isWanted()) return [];
    const changed = rows.filter((row) => this.rows.get(row.file)?.revision !== row.revision);
    this.take(rows);
    return changed;
  }

  /** Store rows from the server, and update the counts. */
  take(rows) {
    for (const row of rows) {
      this.recount(this.rows.get(row.file), row);
      this.rows.set(row.file, row);
    }
    this.changed();
  }

  recount(before, after) {
    const counts = this.counts.find((one) => one.class_name === after.class);
    if (!before || !counts) return;
    counts[before.verdict || "undecided"] -= 1;
    counts[after.verdict || "undecided"] += 1;
    counts.reviewed += (after.person ? 1 : 0) - (before.person ? 1 : 0);
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

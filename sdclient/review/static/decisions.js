// Sends decisions to the server, one after another. A decision that cannot be saved yet is kept and sent again.

import { post, say } from "./server.js";
import { alarm, hush, tell } from "./telling.js";

const AGAIN_MS = 3000;

export class Decisions {
  /**
   * @param store rows and counts, which the server's replies update
   * @param tab name of this page
   * @param show called with a file that the person wants to see
   */
  constructor(store, tab, show) {
    this.store = store;
    this.tab = tab;
    this.show = show;
    this.waiting = [];
    this.last = new Map();
    this.running = false;
    this.undoing = false;
    this.count = 0;
    addEventListener("beforeunload", (event) => {
      if (this.waiting.length) event.preventDefault();
    });
  }

  get isIdle() {
    return this.waiting.length === 0;
  }

  /** Decide about rows as they are shown now; the page shows the decision at once. */
  decide(rows, verdict) {
    if (this.undoing) return; // what is shown is about to change
    const step = { verdict, lost: new Set(), images: [] };
    for (const row of rows) {
      // If an earlier decision of this page is still being sent, the person saw its result: `send` uses its revision.
      step.images.push({ file: row.file, sha256: row.sha256, revision: row.revision, after: this.last.get(row.file) });
      this.last.set(row.file, step);
      this.store.take([{ ...row, person: verdict, verdict: verdict || row.filters }]);
    }
    this.enqueue({ step, run: () => this.send(step) });
    const many = rows.length > 1;
    tell(many ? say(`decided_many_${verdict}`, { count: rows.length }) : say(`decided_${verdict}`, { name: rows[0].file }));
  }

  /** Undo the last step; calls `then` with its files. */
  undo(then) {
    this.undoing = true;
    this.enqueue({
      run: async () => {
        const rows = await post("/api/undo", { tab: this.tab });
        this.undoing = false;
        this.store.take(rows);
        if (!rows.length) tell(say("nothing_to_undo"));
        else if (rows.length > 1) tell(say("undone_many", { count: rows.length }));
        else tell(say("undone", { name: rows[0].file }));
        if (rows.length) then(rows.map((row) => row.file));
      },
    });
  }

  enqueue(task) {
    this.count += 1;
    this.waiting.push(task);
    this.work();
  }

  async work() {
    if (this.running) return;
    this.running = true;
    clearTimeout(this.again);
    while (this.waiting.length) {
      try {
        await this.waiting[0].run();
      } catch (error) {
        const retry = { label: say("retry"), run: () => this.work(), stays: true };
        alarm("not-saved", say("not_saved", { count: this.waiting.length, why: error.message }), retry);
        this.again = setTimeout(() => this.work(), AGAIN_MS);
        this.running = false;
        return;
      }
      this.waiting.shift();
      hush("not-saved");
    }
    this.running = false;
  }

  async send(step) {
    const images = [];
    for (const { file, sha256, revision, after } of step.images) {
      if (after?.lost.has(file)) step.lost.add(file);
      else images.push({ file, sha256, revision: after?.revisions?.get(file) ?? revision });
    }
    const unsent = step.images.filter((one) => step.lost.has(one.file));
    const answer = images.length
      ? await post("/api/decide", { tab: this.tab, verdict: step.verdict, images })
      : { rows: [], conflicts: [] };
    for (const { file } of answer.conflicts) step.lost.add(file);
    step.revisions = new Map(answer.rows.map((row) => [row.file, row.revision]));
    // The page already shows a later decision of its own about the same image.
    this.store.take(answer.rows.filter((row) => this.last.get(row.file) === step));
    for (const { file } of step.images) if (this.last.get(file) === step) this.last.delete(file);
    if (unsent.length) await this.store.refresh(unsent.map(({ file }) => file));
    const lost = [...answer.conflicts.map(({ file }) => file), ...unsent.map(({ file }) => file)];
    const unlike = lost.filter((file) => this.store.rows.get(file)?.person !== step.verdict);
    if (unlike.length) this.tellOfConflict(unlike);
  }

  tellOfConflict(files) {
    const row = this.store.rows.get(files[0]);
    const many = files.length > 1 ? say("conflict_many", { count: files.length }) : "";
    const isBroken = row && row.pictures.candidate.state !== "ok";
    const one = say(isBroken ? "conflict_refused" : "conflict", { name: files[0], verdict: say(row?.verdict || "undecided") });
    alarm("conflict", many + one, { label: say("show"), run: () => this.show(files[0]) });
  }
}

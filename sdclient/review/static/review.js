// The review page: connects its parts, and assigns a function to each key and button.

import { Decisions } from "./decisions.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { listenToKeys } from "./keys.js";
import { say, tabName } from "./server.js";
import { Single } from "./single.js";
import { NO_FILTER, Store } from "./store.js";
import { alarm, element, hush, tell } from "./telling.js";

const LOOK_AGAIN_MS = 4000;
const AROUND = 20;
const PAN_PX = 40;
const ACCEPTED = "accepted";
const REJECTED = "rejected";
const CLEARED = "";
const $ = (id) => document.getElementById(id);

const store = new Store();
const single = new Single(store);
const grid = new Grid(store, (index) => go(index, "single"));
const decisions = new Decisions(store, await tabName(), showFile);
const filters = new Filters(store, (filter) => refilter(filter));
let mode = "single";
let index = 0;
let looking;
let listing = Promise.resolve(); // resolved once the list of the current filter is shown

/** Show an image of the list, alone or in the grid. */
async function go(to, how = mode, options = {}) {
  index = Math.max(0, Math.min(store.files.length - 1, to));
  setMode(how);
  if (!store.files.length) return;
  if (mode === "grid") {
    await grid.show(index, options);
    index = grid.index;
  } else await showSingle();
  remember();
}

async function showSingle() {
  const at = index;
  const file = store.files[at];
  const [row] = await store.ensure([file]);
  if (index !== at || mode !== "single") return;
  if (!row) {
    tell(say("empty"));
    return;
  }
  await single.show(row, at);
  const rows = await store.ensure(store.files.slice(Math.max(0, at - 2), at + AROUND));
  if (index === at) single.prepare(rows.slice(Math.min(at, 2) + 1));
}

function setMode(how) {
  mode = how;
  const isEmpty = !store.files.length;
  $("nothing").hidden = !isEmpty;
  $("single").hidden = isEmpty || mode !== "single";
  $("many").hidden = isEmpty || mode !== "grid";
  for (const one of ["single", "grid"]) $(`mode-${one}`).setAttribute("aria-pressed", String(one === mode));
  if (isEmpty) {
    const words = store.all ? [say("empty"), say("empty_advice")] : [say("none_made")];
    $("nothing").replaceChildren(...words.map((text) => element("span", {}, text)));
    $("stage").dataset.shown = "nothing";
  }
}

async function refilter(filter) {
  const file = store.files[index];
  store.filter = filter;
  await reload(file);
}

/** Fetch the list again, and stay at a file if the list still has it. */
function reload(file = store.files[index]) {
  listing = list(file);
  return listing;
}

async function list(file) {
  try {
    if (!(await store.load())) return;
    hush("not-loaded");
  } catch (error) {
    alarm("not-loaded", error.message, { label: say("retry"), run: () => reload(file) });
    return;
  }
  filters.load().catch((error) => alarm("not-loaded", error.message)); // nothing waits for the choices
  grid.forget();
  const at = store.indexOf(file);
  await go(at >= 0 ? at : store.first ?? 0, mode, { focus: false });
}

async function showFile(file) {
  if (store.indexOf(file) < 0) {
    store.filter = { ...NO_FILTER };
    await reload(file);
  }
  await go(store.indexOf(file), "single");
}

/** Keep filter, mode and file in the address, for a reload. */
function remember() {
  const kept = Object.entries(store.filter).filter(([name, value]) => value !== NO_FILTER[name]);
  const place = new URLSearchParams([...kept, ["mode", mode], ["file", store.files[index] ?? ""]]);
  history.replaceState(null, "", `${location.pathname}${location.search}#${place}`);
  sessionStorage.setItem("place", place); // for the way back from drawing
  $("language-link").hash = place;
  if ($("draw-link")) $("draw-link").hash = new URLSearchParams({ file: store.rows.get(store.files[index])?.facts.source ?? "" });
}

async function decide(verdict) {
  if (!store.files.length) return;
  if (mode === "grid") {
    const rows = await grid.chosen();
    if (rows.length) decisions.decide(rows, verdict);
    const isOne = !grid.selection.size;
    grid.selectNone();
    if (rows.length) tellOf(rows, verdict);
    if (isOne && index < store.files.length - 1) await grid.move(grid.index + 1, false);
    return;
  }
  if (single.shown?.file !== store.files[index]) {
    tell(say("not_shown"));
    return;
  }
  if (verdict === ACCEPTED && single.shown.pictures.candidate.state !== "ok") {
    tell(`${single.faults(single.shown)[0]}`);
    return;
  }
  decisions.decide([single.shown], verdict);
  if (verdict === CLEARED) return;
  if (index < store.files.length - 1) await go(index + 1);
  else tell(`${say(`decided_${verdict}`, { name: single.shown.file })}. ${say("end")}`);
}

function tellOf(rows, verdict) {
  tell(rows.length > 1 ? say(`decided_many_${verdict}`, { count: rows.length }) : say(`decided_${verdict}`, { name: rows[0].file }));
}

function undo() {
  decisions.undo((files) => {
    const at = store.indexOf(files[0]);
    if (at >= 0) go(at, mode);
  });
}

async function step(by) {
  await listing; // the step is one in the list that was requested
  const to = index + by;
  if (to < 0) tell(say("start"));
  else if (to >= store.files.length) tell(say("end"));
  else await go(to);
}

async function stepClass(by) {
  await listing;
  const { filter, counts, starts } = store;
  if (filter.class) {
    const at = counts.findIndex((one) => one.class_name === filter.class) + by;
    if (counts[at]) filters.setClass(counts[at].class_name);
    else tell(say("end_of_classes"));
    return;
  }
  const at = starts.findLastIndex(([, from]) => from <= index) + by;
  if (!starts[at]) {
    tell(say("end_of_classes"));
    return;
  }
  await go(starts[at][1]);
  tell(starts[at][0]);
}

const BOTH = {
  a: () => decide(ACCEPTED), r: () => decide(REJECTED), c: () => decide(CLEARED), u: undo,
  g: () => go(mode === "grid" ? grid.index : index, mode === "grid" ? "single" : "grid"),
  n: () => stepClass(1), N: () => stepClass(-1), l: () => reload(), w: () => $("draw-link")?.click(),
  f: () => {
    $("filter-panel").open = true;
    $("filter").elements.class.focus();
  },
};
const ALONE = {
  ArrowRight: () => step(1), ArrowLeft: () => step(-1), j: () => step(1), k: () => step(-1),
  s: () => single.setView("side"), b: () => single.setView(single.view === "blink" ? "side" : "blink"),
  d: () => single.setView(single.view === "difference" ? "side" : "difference"), x: () => single.swap(),
  m: () => single.toggleMask(), o: () => single.toggleParent(index), " ": () => single.peek(true),
  "+": () => single.zoom.zoom(1), "=": () => single.zoom.zoom(1), "-": () => single.zoom.zoom(-1),
  0: () => single.zoom.fit(), 1: () => single.zoom.real(),
};
const PAN = { ArrowRight: [-1, 0], ArrowLeft: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
const NOT_WHILE_HELD = "arcu";

listenToKeys((event) => {
  const name = event.key.length === 1 && !event.shiftKey ? event.key.toLowerCase() : event.key;
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && name === "z") {
    undo();
    return true;
  }
  if (mode === "grid" && store.files.length && (!isCommand || name === "a") && grid.key(event)) {
    index = grid.index;
    return true;
  }
  if (isCommand) return false;
  if (mode === "single" && event.shiftKey && PAN[name]) {
    single.zoom.pan(...PAN[name].map((way) => way * PAN_PX));
    return true;
  }
  const run = BOTH[name] ?? (mode === "single" && single.shown ? ALONE[name] : undefined);
  if (!run) return false;
  // A key that is held down must not decide about images that nobody has seen.
  if (!(event.repeat && NOT_WHILE_HELD.includes(name))) run();
  return true;
});
document.addEventListener("keyup", (event) => { if (event.key === " " && mode === "single") single.peek(false); });

for (const [id, run] of Object.entries({
  accept: BOTH.a, reject: BOTH.r, clear: BOTH.c, undo, previous: ALONE.k, next: ALONE.j,
  "next-class": BOTH.n, "other-parent": ALONE.o, "mode-single": () => go(mode === "grid" ? grid.index : index, "single"),
  "mode-grid": () => go(index, "grid"), reload: BOTH.l, "many-accept": BOTH.a, "many-reject": BOTH.r, "many-clear": BOTH.c,
  "many-undo": undo,
})) $(id).addEventListener("click", run);

store.addEventListener("change", () => {
  if (mode === "grid" && store.files.length) grid.mark();
  const row = store.rows.get(store.files[index]);
  if (mode === "single" && row && single.shown?.file === row.file) {
    single.row = row;
    single.tell(index);
  }
});

/** Fetch changes by other pages and programs, every few seconds and when the person returns to the page. */
async function lookAgain() {
  clearTimeout(looking);
  if (document.visibilityState === "visible" && decisions.isIdle) {
    const files = mode === "grid" ? grid.files : store.files.slice(index, index + 1);
    const before = decisions.count;
    const isWanted = () => decisions.count === before; // otherwise the reply may be older than the last decision
    try {
      const changed = files.length ? await store.refresh(files, isWanted) : [];
      await store.loadCounts(isWanted);
      if (changed.length)
        tell(say("elsewhere", { name: changed[0].file, verdict: say(changed[0].verdict || "undecided") }));
      hush("gone");
    } catch (error) {
      alarm("gone", error.message);
    }
  }
  looking = setTimeout(lookAgain, LOOK_AGAIN_MS);
}

const place = new URLSearchParams(location.hash.slice(1));
for (const name of Object.keys(NO_FILTER)) if (place.has(name)) store.filter[name] = place.get(name);
mode = place.get("mode") === "grid" ? "grid" : "single";
await reload(place.get("file") ?? undefined);
filters.write();
document.documentElement.dataset.ready = "yes";
looking = setTimeout(lookAgain, LOOK_AGAIN_MS);
addEventListener("focus", lookAgain);

// Requests to the server, and the words of the page. Nothing here knows what is shown.

const words = JSON.parse(document.getElementById("words").textContent);
const key = document.querySelector('meta[name="review-key"]').content;

/** The server did not answer, or refused; `message` says why. */
export class NotAnswered extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The words under a key, with their values filled in. */
export function say(name, values = {}) {
  return words[name].replace(/\{(\w+)\}/g, (_, value) => values[value]);
}

/** A reason or a score in words; an unknown one is shown as it is. */
export const termOf = (kind, name) => words[kind][name] ?? name;

/** Names in the order of the catalogue, unknown ones last. */
export function ordered(kind, names) {
  const known = Object.keys(words[kind]).filter((name) => names.includes(name));
  return [...known, ...names.filter((name) => !known.includes(name))];
}

export const get = (path, query = {}) => ask("GET", path, query);
export const post = (path, body, query = {}) => ask("POST", path, query, body);
export const remove = (path, query) => ask("DELETE", path, query, {});

/** An address with its query. That of an image has its version, so the browser may cache it forever. */
export function address(path, query) {
  return `${path}?${new URLSearchParams(query)}`;
}

async function ask(method, path, query, body) {
  let reply;
  try {
    reply = await fetch(address(path, query), {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json", "X-Review-Key": key },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new NotAnswered(say("no_answer"), 0);
  }
  if (reply.ok) return reply.json();
  const text = await reply.text();
  let words = text.trim();
  try {
    const { detail } = JSON.parse(text);
    words = typeof detail === "string" ? detail : JSON.stringify(detail);
  } catch { /* not JSON: plain words */ }
  throw new NotAnswered(words || `HTTP ${reply.status}`, reply.status);
}

/** The name of this page among the open ones: the same after a reload, another for a copy of the page. */
export async function tabName() {
  const known = sessionStorage.getItem("tab");
  const name = known && (await isFree(known)) ? known : crypto.randomUUID();
  if (name !== known) await isFree(name);
  sessionStorage.setItem("tab", name);
  return name;
}

function isFree(name) {
  return new Promise((answer) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      answer(lock !== null);
      return lock === null ? undefined : new Promise(() => {}); // held as long as the page lives
    });
  });
}

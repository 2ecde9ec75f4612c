// Messages of the page: a status line, and alarms that interrupt a screen reader.

import { say } from "./server.js";

const line = document.getElementById("status");
const alarms = document.getElementById("alarms");
let fading;

/** Show what happened, for some seconds; a screen reader reads it out. */
export function tell(text) {
  line.textContent = text;
  line.classList.add("fresh");
  clearTimeout(fading);
  fading = setTimeout(() => line.classList.remove("fresh"), 4000);
}

/** Show a message that needs an action; it stays until it is closed. A message of the same `name` is replaced. */
export function alarm(name, text, action) {
  hush(name);
  const box = element("div", { class: "alarm", "data-name": name }, element("p", {}, text));
  if (action) box.append(button(action.label, () => { if (!action.stays) hush(name); action.run(); }));
  if (!action?.stays) box.append(button(say("close"), () => hush(name)));
  alarms.append(box);
}

export function hush(name) {
  alarms.querySelector(`[data-name="${name}"]`)?.remove();
}

/** A new element with attributes and children; text is never parsed as markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(label, run) {
  const made = element("button", { type: "button" }, label);
  made.addEventListener("click", run);
  return made;
}

// What the page says: politely in its status line, aloud in its alarms.

import { say } from "./server.js";

const line = document.getElementById("said");
const alarms = document.getElementById("alarms");
let fading;

/** Say what happened; read out by a screen reader, shown for some seconds. */
export function tell(text) {
  line.textContent = text;
  line.classList.add("fresh");
  clearTimeout(fading);
  fading = setTimeout(() => line.classList.remove("fresh"), 4000);
}

/** Say something that needs an answer; stays until it is closed. The same `name` replaces what it said before. */
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

/** A new element with attributes and children; text is never read as markup. */
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

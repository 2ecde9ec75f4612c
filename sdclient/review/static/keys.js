// Keys of the whole page: which may be taken for a command, and the list of them.

const $ = (id) => document.getElementById(id);
const WRITING = "input:not([type=range]):not([type=checkbox]), select, textarea";
const PRESSING = "button, a, summary, input";

/**
 * Call `run` for each key that may be a command; it gives true for one that it took.
 * Letters can be switched off, as people who speak to their computer need it.
 */
export function listenToKeys(run) {
  const box = $("keys-on");
  box.checked = sessionStorage.getItem("keys") !== "off";
  box.addEventListener("change", () => sessionStorage.setItem("keys", box.checked ? "on" : "off"));
  const dialog = $("help");
  $("help-button").addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    if (dialog.open || event.altKey || event.isComposing) return;
    const { target, key } = event;
    if (target.closest(WRITING)) {
      if (key === "Escape") target.blur();
      return;
    }
    if ((key === " " || key === "Enter") && target.closest(PRESSING)) return; // it presses what has the focus
    if (key.startsWith("Arrow") && target.closest("input")) return;
    const isLetter = key.length === 1 && key !== " " && !event.ctrlKey && !event.metaKey;
    if (isLetter && !box.checked) return;
    if (key === "?") dialog.showModal();
    else if (!run(event)) return;
    event.preventDefault();
  });
}

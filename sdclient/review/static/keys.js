// Keys of the whole page: which may be commands, and the dialog that lists them.

const $ = (id) => document.getElementById(id);
const WRITING = "input:not([type=range]):not([type=checkbox]), select, textarea";
const PRESSING = "button, a, summary, input";

/**
 * Call `run` for each key that may be a command; it returns true if it was one.
 * Letters can be switched off, which people who use speech input need.
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
    if ((key === " " || key === "Enter") && target.closest(PRESSING)) return; // it presses the element with the focus
    if (key.startsWith("Arrow") && target.closest("input")) return;
    const isLetter = key.length === 1 && key !== " " && !event.ctrlKey && !event.metaKey;
    if (isLetter && !box.checked) return;
    if (key === "?") dialog.showModal();
    else if (!run(event)) return;
    event.preventDefault();
  });
}

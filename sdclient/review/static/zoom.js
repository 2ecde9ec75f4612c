// One zoom and position for all windows of the same image, by pointer, wheel and calls.

const LARGEST = 64;
const STEP = 1.25;

export class Zoom extends EventTarget {
  /** @param windows elements with one `.layer` each, which is moved and scaled */
  constructor(windows) {
    super();
    this.windows = windows;
    this.width = this.height = 1;
    this.fits = true;
    this.scale = 1;
    this.x = this.y = 0;
    for (const window of windows) this.listen(window);
    new ResizeObserver(() => (this.fits ? this.fit() : this.apply())).observe(windows.at(-1));
  }

  /** Set the image's size, px; the position is kept if the size stays the same. */
  setSize(width, height) {
    const isSame = width === this.width && height === this.height;
    [this.width, this.height] = [width, height];
    if (this.fits || !isSame) this.fit();
    else this.apply();
  }

  fit() {
    this.fits = true;
    this.scale = this.fitting();
    this.centre();
  }

  real() {
    this.fits = false;
    this.scale = 1;
    this.centre();
  }

  zoom(direction, at) {
    const box = this.visible().getBoundingClientRect();
    const [x, y] = at ?? [box.width / 2, box.height / 2];
    const scale = Math.min(LARGEST, Math.max(Math.min(1, this.fitting()) / 4, this.scale * STEP ** direction));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fits = false;
    this.apply();
  }

  pan(x, y) {
    this.fits = false;
    this.x += x;
    this.y += y;
    this.apply();
  }

  /** Position of a pointer on the image, px. */
  place(window, event) {
    const box = window.getBoundingClientRect();
    return [(event.clientX - box.left - this.x) / this.scale, (event.clientY - box.top - this.y) / this.scale];
  }

  fitting() {
    const { clientWidth, clientHeight } = this.visible();
    const scale = Math.min(clientWidth / this.width, clientHeight / this.height) || 1;
    return scale >= 2 ? Math.floor(scale) : scale; // so that all pixels are equally large
  }

  visible() {
    return this.windows.find((one) => one.clientWidth > 0) ?? this.windows[0];
  }

  centre() {
    const { clientWidth, clientHeight } = this.visible();
    this.x = Math.round((clientWidth - this.width * this.scale) / 2);
    this.y = Math.round((clientHeight - this.height * this.scale) / 2);
    this.apply();
  }

  apply() {
    const { clientWidth, clientHeight } = this.visible();
    const edge = 24; // px of the image that always stay visible
    this.x = Math.min(clientWidth - edge, Math.max(edge - this.width * this.scale, this.x));
    this.y = Math.min(clientHeight - edge, Math.max(edge - this.height * this.scale, this.y));
    for (const window of this.windows) {
      const { style, classList } = window.querySelector(".layer");
      style.width = `${this.width}px`;
      style.height = `${this.height}px`;
      style.setProperty("--thin", 1 / this.scale); // for lines whose width does not scale
      style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
      classList.toggle("enlarged", this.scale > 1);
    }
    this.dispatchEvent(new Event("change"));
  }

  listen(window) {
    window.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = window.getBoundingClientRect();
      this.zoom(event.deltaY < 0 ? 1 : -1, [event.clientX - box.left, event.clientY - box.top]);
    }, { passive: false });
    window.addEventListener("pointerdown", (event) => {
      if (event.button !== (this.panButton ?? 0)) return;
      event.preventDefault();
      window.setPointerCapture(event.pointerId);
      window.classList.add("moving");
    });
    window.addEventListener("pointermove", (event) => {
      if (window.classList.contains("moving")) this.pan(event.movementX, event.movementY);
    });
    for (const end of ["pointerup", "pointercancel"])
      window.addEventListener(end, () => window.classList.remove("moving"));
  }
}

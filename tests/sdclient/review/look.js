// What a person who sees or hears badly meets on the page; each list is of faults. After WCAG 2.2.
() => {
  const seen = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && e.getClientRects().length;
  const rgba = (text) => { const n = text.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const veil = (e) => { let o = 1; for (let at = e; at; at = at.parentElement) o *= Number(getComputedStyle(at).opacity); return o; };
  const name = (e) => (e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean)
    .map((id) => document.getElementById(id).textContent).join(" ") || [...(e.labels ?? [])].map((l) => l.textContent).join(" ")
    || e.textContent || e.alt || "").trim();
  const controls = [...document.querySelectorAll("button, a[href], input, select, summary, [role=option], [tabindex]")].filter(seen);
  const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const texts = [...document.querySelectorAll("body *")].filter((e) => own(e) && seen(e)
    && !e.closest("script, option, :disabled, .unseen, .skip, .window"));
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  return {
    lang: document.documentElement.lang,
    title: document.title,
    landmarks: ["header", "main", "aside"].filter((n) => document.querySelectorAll(n).length !== 1),
    headings: [...document.querySelectorAll("h1, h2, h3")].filter(seen).map((e) => Number(e.tagName[1])),
    unnamed: controls.filter((e) => !name(e)).map((e) => e.outerHTML.slice(0, 90)),
    withoutAlt: [...document.images].filter((e) => !e.hasAttribute("alt")).length,
    twice: ids.filter((id, at) => ids.indexOf(id) !== at),
    deadReferences: [...document.querySelectorAll("[for], [aria-labelledby], [aria-controls]")].flatMap((e) =>
      ["for", "aria-labelledby", "aria-controls"].flatMap((n) => (e.getAttribute(n) ?? "").split(" ").filter(Boolean)))
      .filter((id) => !document.getElementById(id)),
    pale: texts.map((e) => {
      const style = getComputedStyle(e);
      const paper = ground(e);
      const ink = rgba(style.color);
      const found = ratio(over([...ink.slice(0, 3), ink[3] * veil(e)], paper), paper);
      const size = parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      return [found, isLarge ? 3 : 4.5, `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 30)}`];
    }).filter(([found, least]) => found < least),
    texts: texts.length,
    faintEdges: controls.filter((e) => e.matches("button:not(:disabled):not(.link), select, input[type=number]")).map((e) => {
      const paper = ground(e.parentElement);
      return [Math.max(ratio(rgba(getComputedStyle(e).borderTopColor), paper), ratio(ground(e), paper)), e.outerHTML.slice(0, 60)];
    }).filter(([found]) => found < 3),
    small: controls.filter((e) => !e.matches("main, .scroll, [role=option], input[type=checkbox], input[type=range]"))
      .map((e) => [e.getBoundingClientRect(), e]).filter(([box]) => box.width < 24 || box.height < 24)
      .map(([box, e]) => `${box.width}x${box.height} ${e.outerHTML.slice(0, 60)}`),
    wide: document.documentElement.scrollWidth - innerWidth,
    outside: [...document.querySelectorAll("body *")].filter((e) => seen(e) && !e.closest(".window, .scroll, .unseen, .skip"))
      .filter((e) => { const b = e.getBoundingClientRect(); return b.right > innerWidth + 1 || b.left < -1; })
      .map((e) => e.outerHTML.slice(0, 80)),
  };
}

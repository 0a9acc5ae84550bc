// Lights up what is related, in every pane; hides panes; shows differences. The page reads without it.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const narrow = matchMedia("(max-width: 760px)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const status = $("status"), hint = status.textContent;

  // Relations: for each stage its parent, and for each line the lines of the parent that it was made from.
  const stages = new Map(JSON.parse($("relations").textContent).map((stage) => [stage.name, stage]));
  for (const stage of stages.values()) stage.into = stage.from.map(() => []);
  for (const stage of stages.values())
    stage.from.forEach((lines, place) => lines.forEach((line) => stages.get(stage.parent).into[line]?.push([stage.name, place])));
  // A value is defined by the first line about it; the others of the stage use or move it.
  for (const stage of stages.values()) {
    stage.defined = new Map();
    stage.about.forEach((values, place) => {
      if (values.length && !stage.defined.has(values[0])) stage.defined.set(values[0], place);
    });
    stage.about.forEach((values, place) => {
      for (const value of values) {
        const defined = stage.defined.get(value);
        if (defined !== undefined && defined !== place) stage.into[defined].push([stage.name, place]);
      }
    });
  }

  const split = (key) => {
    const at = key.lastIndexOf("-");
    return [key.slice(0, at), Number(key.slice(at + 1)) - 1];
  };

  // The lines of a loop: its own, and those that are indented deeper.
  const indent = (place) => $(`nest-${place + 1}`)?.textContent.match(/^ */)[0].length ?? -1;
  function body(name, place) {
    if (name !== "nest" || !/^ *(for |lanes)/.test($(`nest-${place + 1}`).textContent)) return [place];
    let end = place + 1;
    while (indent(end) > indent(place)) end++;
    return Array.from({ length: end - place }, (_, at) => place + at);
  }

  // A line with the one that defines its value, what they were made from, and what became of them. A loop is all of its
  // lines, and of the nest no others.
  function relatives(name, place) {
    const { about, defined } = stages.get(name);
    const lines = body(name, place), whole = new Set(lines.map((line) => `nest-${line + 1}`));
    const starts = lines.map((line) => [name, line]);
    if (lines.length === 1 && about[place]?.length) starts.push([name, defined.get(about[place][0])]);
    const found = new Set();
    const walk = (next) => {
      const seen = new Set(), todo = [...starts];
      while (todo.length) {
        const [stage, line] = todo.pop(), key = `${stage}-${line + 1}`;
        if (seen.has(key) || (lines.length > 1 && stage === "nest" && !whole.has(key))) continue;
        seen.add(key);
        found.add(key);
        todo.push(...next(stages.get(stage), line));
      }
    };
    walk((stage, line) => (stage.parent ? (stage.from[line] ?? []).map((up) => [stage.parent, up]) : []));
    walk((stage, line) => stage.into[line] ?? []);
    return found;
  }

  let lit = [], chosen = null;

  function clear() {
    for (const element of lit) {
      element.classList.remove("lit", "chosen");
      element.removeAttribute("aria-selected");
    }
    for (const edge of all(".edge.lit")) edge.classList.remove("lit");
    for (const count of all(".lit-count")) count.textContent = "";
    lit = [];
    chosen = null;
    document.body.classList.remove("choosing");
    status.textContent = hint;
  }

  function light(key, from) {
    const [name, place] = split(key);
    if (!stages.get(name)?.from[place]) return;
    clear();
    chosen = key;
    document.body.classList.add("choosing");
    const tally = new Map();
    const keys = relatives(name, place);
    for (const one of keys) {
      const [stage] = split(one);
      tally.set(stage, (tally.get(stage) ?? 0) + 1);
      for (const element of [$(one), $(`graph-${one}`)]) {
        if (!element) continue;
        element.classList.add("lit");
        element.classList.toggle("chosen", one === key);
        if (one === key) element.setAttribute("aria-selected", "true");
        lit.push(element);
      }
    }
    // Lines of the graph between what is lit, and those from and to what was chosen.
    for (const edge of all(".edge")) {
      const { from, to } = edge.dataset;
      edge.classList.toggle("lit", from === key || to === key || (keys.has(from) && keys.has(to)));
    }
    for (const pane of all(".pane")) {
      const count = all(".drawing:not([hidden]) .lit, .lines > .lit", pane).length;
      const chip = document.querySelector(`.chip[data-pane="${pane.dataset.pane}"] .lit-count`);
      chip.textContent = count ? ` ${count}` : "";
      if (!pane.contains(from)) reveal(pane);
    }
    const text = $(key).textContent.trim();
    const found = [...stages.keys()].filter((stage) => stage !== name && tally.has(stage)).map((stage) => `${stage} ${tally.get(stage)}`);
    status.textContent = `${text} — ${found.length ? `related lines: ${found.join(", ")}` : "no relatives"}`;
  }

  // Scrolls a pane, and only it, to what is lit in it.
  function reveal(pane) {
    const box = pane.querySelector(".drawing:not([hidden]), .lines");
    const element = box?.querySelector(".chosen") ?? box?.querySelector(".lit");
    if (element) bring(box, element);
  }

  function bring(box, element) {
    const outer = box.getBoundingClientRect(), inner = element.getBoundingClientRect();
    const behavior = still.matches ? "auto" : "smooth";
    const top = inner.top < outer.top || inner.bottom > outer.bottom;
    const left = box.classList.contains("drawing") && (inner.left < outer.left || inner.right > outer.right);
    if (!top && !left) return;
    box.scrollTo({
      top: top ? box.scrollTop + inner.top - outer.top - outer.height / 3 : box.scrollTop,
      left: left ? box.scrollLeft + inner.left - outer.left - (outer.width - inner.width) / 2 : box.scrollLeft,
      behavior,
    });
  }

  const keyOf = (option) => option.dataset.line ?? option.id;

  for (const box of all(".lines, .drawing")) {
    const options = all("[role=option]", box);
    let active = 0;
    const go = (to) => {
      options[active]?.classList.remove("active");
      active = Math.max(0, Math.min(options.length - 1, to));
      const option = options[active];
      if (!option) return;
      option.classList.add("active");
      box.setAttribute("aria-activedescendant", option.id);
      bring(box, option);
    };
    const choose = () => options[active] && light(keyOf(options[active]), box);
    box.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (!option || String(getSelection())) return;
      go(options.indexOf(option));
      if (keyOf(option) === chosen) clear();
      else choose();
    });
    box.addEventListener("focus", () => {
      const at = options.findIndex((option) => option.classList.contains("lit"));
      if (box.matches(":focus-visible")) go(at >= 0 && !options[active].classList.contains("lit") ? at : active);
    });
    box.addEventListener("blur", () => options[active]?.classList.remove("active"));
    box.addEventListener("keydown", (event) => {
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity };
      if (event.key in steps) go(active + steps[event.key]);
      else if (event.key === "Enter" || event.key === " ") choose();
      else if (event.key === "ArrowRight" || event.key === "ArrowLeft") beside(box, event.key === "ArrowRight" ? 1 : -1);
      else return;
      event.preventDefault();
    });
  }

  // The next pane that is shown, to either side.
  function beside(box, step) {
    const shown = all(".pane").filter((pane) => !pane.hidden);
    const pane = shown[shown.indexOf(box.closest(".pane")) + step];
    const next = pane?.querySelector(".same:not([open]) > summary, .drawing:not([hidden]), .lines");
    next?.focus({ preventScroll: true });
    pane?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // Panes: any number of them where there is room, one at a time where there is not.
  const chips = all(".chip");
  function show(name, on) {
    const pane = $(`pane-${name}`);
    pane.hidden = !on;
    chips.find((chip) => chip.dataset.pane === name).setAttribute("aria-pressed", String(on));
    if (on) reveal(pane);
  }
  const only = (name) => chips.forEach((chip) => show(chip.dataset.pane, chip.dataset.pane === name));
  for (const chip of chips)
    chip.addEventListener("click", () => {
      if (narrow.matches) only(chip.dataset.pane);
      else show(chip.dataset.pane, chip.getAttribute("aria-pressed") !== "true");
    });
  const arrange = () => (narrow.matches ? only("nest") : chips.forEach((chip) => show(chip.dataset.pane, true)));
  narrow.addEventListener("change", arrange);
  arrange();

  const drawn = $("drawn"), scale = new Map();
  function zoom(factor) {
    const box = document.querySelector(".drawing:not([hidden])"), svg = box?.querySelector("svg");
    if (!svg) return;
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const fit = Math.max(0.55, Math.min(1, (box.clientWidth - 16) / width));
    const size = factor ? Math.max(0.2, Math.min(3, (scale.get(svg) ?? fit) * factor)) : fit;
    scale.set(svg, size);
    svg.setAttribute("width", width * size);
    svg.setAttribute("height", height * size);
  }
  drawn?.addEventListener("change", () => {
    for (const box of all(".drawing")) box.hidden = box.dataset.stage !== drawn.value;
    zoom(0);
    if (chosen) light(chosen, drawn);
  });
  for (const button of all("[data-zoom]")) button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  zoom(0);

  // The loops begin behind the equations.
  for (const line of all(".lines > .start")) line.parentElement.scrollTop = line.offsetTop - 8;

  const diff = $("diff");
  function compare() {
    const on = document.body.classList.toggle("diff");
    diff.setAttribute("aria-pressed", String(on));
  }
  diff.addEventListener("click", compare);

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
    if (event.key === "Escape") clear();
    if (event.key === "d") compare();
  });

  // A place elsewhere on the page, or an address, names a line.
  function visit(key) {
    const [name] = split(key);
    if (!$(key)?.matches("[role=option]")) return;
    if (narrow.matches) only(name);
    else show(name, true);
    $(key).closest("details")?.setAttribute("open", "");
    light(key, null);
    const pane = $(`pane-${name}`), panes = pane.parentElement;
    // All of the pane: beside its neighbours, then the panes themselves.
    const outer = panes.getBoundingClientRect(), inner = pane.getBoundingClientRect();
    if (inner.left < outer.left || inner.right > outer.right)
      panes.scrollTo({ left: panes.scrollLeft + inner.left - outer.left - (outer.width - inner.width) / 2, behavior: "instant" });
    document.querySelector(".workspace").scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
  }
  for (const button of all("[data-go]")) button.addEventListener("click", () => visit(button.dataset.go));
  if (location.hash) visit(location.hash.slice(1));
})();

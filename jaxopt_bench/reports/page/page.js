// Draws the report's charts, each when it comes near the window, and redraws them when a control says so.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const control = (id) => document.getElementById(id);
  const hidden = new Set();
  const views = new Map(); // by figure, those that are drawn
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  const theme = () => {
    const asked = control("theme").value;
    return asked === "auto" ? (system.matches ? "dark" : "light") : asked;
  };

  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    const length = names.length ? columns[names[0]].length : 0;
    return Array.from({ length }, (_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
  };

  // Exponential moving average of each curve, corrected for its start, as TensorBoard has it.
  const smooth = (rows, share) => {
    if (!share) return rows;
    const state = new Map();
    return rows.map((row) => {
      const key = row.series;
      const before = state.get(key) ?? { weight: 0, sums: {} };
      const now = { weight: share * before.weight + 1 - share, sums: {} };
      const out = { ...row };
      for (const name of ["mean", "low", "bottom", "high", "value"]) {
        if (typeof row[name] !== "number") continue;
        now.sums[name] = share * (before.sums[name] ?? 0) + (1 - share) * row[name];
        out[name] = now.sums[name] / now.weight;
      }
      state.set(key, now);
      return out;
    });
  };

  // Returns a specification with another clock on x and another scale on y, and without legends unless they are kept.
  const changed = (spec, { clock, scale, least, keepLegends }) => {
    const walk = (node) => {
      if (Array.isArray(node)) return node.map(walk);
      if (node === null || typeof node !== "object") return node;
      const out = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, walk(value)]));
      for (const channel of ["color", "shape", "strokeDash"]) {
        if (out[channel]?.legend && !keepLegends) out[channel] = { ...out[channel], legend: null };
      }
      if (clock && out.x?.field === "epoch") out.x = { ...out.x, field: clock, title: report.clocks[clock] };
      if (out.y?.scale && scale === "log") {
        const { zero, domain, ...rest } = out.y.scale;
        const positiveDomain = domain && { domain: [domain[0] > 0 ? domain[0] : least / 2, domain[1]] };
        out.y = { ...out.y, scale: { ...rest, ...positiveDomain, type: "log" } };
      } else if (out.y?.scale?.type === "log" && scale === "linear") {
        const { type, ...rest } = out.y.scale;
        out.y = { ...out.y, scale: { ...rest, zero: false } };
      }
      return out;
    };
    return walk(spec);
  };

  // A band that goes down to zero or below ends, on a logarithmic axis, far below its mean.
  const positive = (row) => (row.bottom !== null && row.bottom <= 0 ? { ...row, bottom: row.mean / 1e6 } : row);

  const zoom = {
    name: "window", select: {
      type: "interval",
      zoom: "wheel![event.ctrlKey || event.metaKey]",
      translate: "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!",
    }, bind: "scales",
  };

  const heightOf = (row) => row.mean ?? row.value;

  const specification = (figure, keepLegends = false) => {
    const chosen = figure.over_time
      ? { clock: control("clock")?.value, scale: control("scale").value, smoothing: Number(control("smoothing").value) }
      : { clock: null, scale: null, smoothing: 0 };
    const datasets = {};
    let least = Infinity;
    let lost = 0; // points that have no logarithm
    for (const [name, columns] of Object.entries(figure.data)) {
      const rows = smooth(rowsOf(columns), chosen.smoothing);
      const kept = chosen.scale === "log" ? rows.filter((row) => heightOf(row) > 0).map(positive) : rows;
      if (chosen.scale === "log") least = Math.min(least, ...kept.map(heightOf));
      lost += rows.length - kept.length;
      datasets[name] = kept;
    }
    const scale = chosen.scale !== "log" ? chosen.scale : Number.isFinite(least) ? "log" : "linear";
    const spec = changed(figure.spec, { ...chosen, scale, least, keepLegends });
    const layers = spec.layer ?? [spec];
    if (figure.zoom) layers[0].params = [...(layers[0].params ?? []), zoom];
    const params = (spec.params ?? []).map((p) => (p.name === "hidden" ? { ...p, value: [...hidden] } : p));
    const height = spec.height ?? 260;
    const size = { width: "container", height, autosize: { type: "fit-x", contains: "padding" } };
    return { lost, spec: { ...spec, ...size, datasets, params } };
  };

  const drawNow = async (element) => {
    const figure = report.figures[element.dataset.figure];
    const before = views.get(element);
    const { spec, lost } = specification(figure);
    const options = {
      actions: false, renderer: "svg", ast: true, config: report.themes[theme()], tooltip: { theme: theme() },
    };
    try {
      const found = await vegaEmbed(element.querySelector(".plot"), spec, options);
      views.set(element, found);
      found.view.signal("hidden", [...hidden]).run(); // what was switched off while it was drawn
    } catch (error) {
      element.querySelector(".plot").textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
    before?.finalize();
    element.querySelector(".lost").textContent = lost ? ` ${lost} points at zero or below have no logarithm.` : "";
    // The figure describes itself as a whole and has its numbers as a table; thousands of marks would say less.
    element.querySelector(".plot svg")?.setAttribute("aria-hidden", "true");
    element.dataset.drawn = "true";
  };

  const pending = new Map(); // by figure: one is drawn after the other, the last as the controls are then
  const draw = (element) => {
    const next = (pending.get(element) ?? Promise.resolve()).then(() => drawNow(element));
    pending.set(element, next);
    return next;
  };

  const redraw = () => Promise.all([...pending.keys()].map(draw));
  const figures = [...document.querySelectorAll("[data-figure]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  figures.forEach((element) => seen.observe(element));
  window.addEventListener("beforeprint", () => figures.filter((e) => !pending.has(e)).forEach(draw));

  for (const button of document.querySelectorAll("[data-series]")) {
    button.addEventListener("click", () => {
      const name = report.series[Number(button.dataset.series)];
      hidden.has(name) ? hidden.delete(name) : hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      for (const { view } of views.values()) view.signal("hidden", [...hidden]).runAsync();
    });
  }
  for (const id of ["clock", "scale", "smoothing"]) control(id)?.addEventListener("change", redraw);
  control("smoothing")?.addEventListener("input", () => (control("smoothed").value = control("smoothing").value));
  control("theme").addEventListener("change", () => {
    const asked = control("theme").value;
    if (asked === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = asked;
    redraw();
  });
  system.addEventListener("change", redraw);

  const columnsOf = (figure) => {
    const table = Object.values(figure.data)[0];
    return Object.entries(figure.columns).filter(([name]) => name in table).map(([name, title]) => [title, table[name]]);
  };
  const save = (url, name) => {
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
  };
  const quoted = (value) => {
    const text = value === null ? "" : String(value);
    const steering = typeof value === "string" && /^[=+\-@\t\r]/.test(text); // spreadsheets would run it
    return /[",\n\r]/.test(text) || steering ? `"${steering ? "'" : ""}${text.replaceAll('"', '""')}"` : text;
  };
  for (const button of document.querySelectorAll("[data-save]")) {
    button.addEventListener("click", async () => {
      const element = button.closest("[data-figure]");
      const kind = button.dataset.save;
      const name = `${element.dataset.figure}.${kind}`;
      if (kind === "csv") {
        const columns = columnsOf(report.figures[element.dataset.figure]);
        const lines = [columns.map(([title]) => quoted(title))];
        for (let i = 0; i < columns[0][1].length; i++) lines.push(columns.map(([, values]) => quoted(values[i])));
        const blob = new Blob([lines.map((line) => line.join(",")).join("\n") + "\n"], { type: "text/csv" });
        save(URL.createObjectURL(blob), name);
      } else {
        const { spec } = specification(report.figures[element.dataset.figure], true);
        const place = document.createElement("div");
        const options = { actions: false, ast: true, config: report.themes.paper };
        const { view, finalize } = await vegaEmbed(place, { ...spec, width: 500 }, options);
        save(await view.toImageURL(kind, kind === "png" ? 3 : 1), name);
        finalize();
      }
    });
  }

  const most = 500; // rows: a browser makes no more of them than anyone reads
  for (const details of document.querySelectorAll("[data-figure] details")) {
    details.addEventListener("toggle", () => {
      const place = details.querySelector(".table");
      if (!details.open || place.firstChild) return;
      const columns = columnsOf(report.figures[details.closest("[data-figure]").dataset.figure]);
      const length = columns[0][1].length;
      const table = document.createElement("table");
      const head = table.createTHead().insertRow();
      for (const [title] of columns) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = title;
        head.append(cell);
      }
      const body = table.createTBody();
      for (let i = 0; i < Math.min(length, most); i++) {
        const row = body.insertRow();
        for (const [position, [, values]] of columns.entries()) {
          const cell = position ? row.insertCell() : row.appendChild(document.createElement("th"));
          if (!position) cell.scope = "row";
          cell.textContent = values[i] ?? "–";
        }
      }
      const caption = table.createCaption();
      caption.textContent = length > most ? `The first ${most} of ${length} rows; the CSV file has all.` : `${length} rows`;
      place.append(table);
    });
  }
})();

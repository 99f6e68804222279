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
      for (const name of ["mean", "low", "high", "value"]) {
        if (typeof row[name] !== "number") continue;
        now.sums[name] = share * (before.sums[name] ?? 0) + (1 - share) * row[name];
        out[name] = now.sums[name] / now.weight;
      }
      state.set(key, now);
      return out;
    });
  };

  // Returns a specification without legends, with another clock on x and another scale on y where they are asked for.
  const changed = (spec, clock, scale) => {
    const walk = (node) => {
      if (Array.isArray(node)) return node.map(walk);
      if (node === null || typeof node !== "object") return node;
      const out = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, walk(value)]));
      for (const channel of ["color", "shape", "strokeDash"]) {
        if (out[channel]?.legend) out[channel] = { ...out[channel], legend: null }; // the page has its own
      }
      if (clock && out.x?.field === "epoch") out.x = { ...out.x, field: clock, title: report.clocks[clock] };
      if (out.y?.scale && scale === "log" && !(out.y.scale.domain?.[0] <= 0)) {
        const { zero, ...rest } = out.y.scale;
        out.y = { ...out.y, scale: { ...rest, type: "log" } };
      }
      return out;
    };
    return walk(spec);
  };

  // A band that goes down to zero or below ends, on a logarithmic axis, far below its mean.
  const positive = (row) => (row.low !== null && row.low <= 0 ? { ...row, low: row.mean / 1e6 } : row);

  const zoom = {
    name: "window", select: {
      type: "interval",
      zoom: "wheel![event.ctrlKey || event.metaKey]",
      translate: "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!",
    }, bind: "scales",
  };

  const specification = (figure) => {
    const smoothing = figure.over_time ? Number(control("smoothing")?.value ?? 0) : 0;
    const [clock, scale] = figure.over_time ? [control("clock").value, control("scale").value] : [null, null];
    const spec = changed(figure.spec, clock, scale);
    const datasets = {};
    for (const [name, columns] of Object.entries(figure.data)) {
      const rows = smooth(rowsOf(columns), smoothing);
      datasets[name] = scale === "log" ? rows.filter((row) => (row.mean ?? row.value) > 0).map(positive) : rows;
    }
    const layers = spec.layer ?? [spec];
    if (figure.zoom) layers[0].params = [...(layers[0].params ?? []), zoom];
    const height = spec.height ?? 260;
    return {
      ...spec, datasets, width: "container", height, autosize: { type: "fit-x", contains: "padding" },
      params: (spec.params ?? []).map((p) => (p.name === "hidden" ? { ...p, value: [...hidden] } : p)),
    };
  };

  const draw = async (element) => {
    const figure = report.figures[element.dataset.figure];
    const before = views.get(element);
    const options = {
      actions: false, renderer: "svg", ast: true, config: report.themes[theme()], tooltip: { theme: theme() },
    };
    const found = await vegaEmbed(element.querySelector(".plot"), specification(figure), options);
    before?.finalize();
    // The figure describes itself as a whole and has its numbers as a table; thousands of marks would say less.
    element.querySelector(".plot svg").setAttribute("aria-hidden", "true");
    views.set(element, found);
    element.dataset.drawn = "true";
  };

  const redraw = () => Promise.all([...views.keys()].map(draw));
  const figures = [...document.querySelectorAll("[data-figure]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  figures.forEach((element) => seen.observe(element));
  window.addEventListener("beforeprint", () => figures.filter((e) => !views.has(e)).forEach(draw));

  for (const button of document.querySelectorAll("[data-series]")) {
    button.addEventListener("click", () => {
      const name = report.series[Number(button.dataset.series)];
      hidden.has(name) ? hidden.delete(name) : hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      for (const { view } of views.values()) view.signal("hidden", [...hidden]).runAsync();
    });
  }
  for (const id of ["clock", "scale", "smoothing"]) control(id)?.addEventListener("change", redraw);
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
        if (!views.has(element)) await draw(element);
        save(await views.get(element).view.toImageURL(kind, kind === "png" ? 2 : 1), name);
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
        for (const [, values] of columns) row.insertCell().textContent = values[i] ?? "–";
      }
      const caption = table.createCaption();
      caption.textContent = length > most ? `The first ${most} of ${length} rows; the CSV file has all.` : `${length} rows`;
      place.append(table);
    }, { once: false });
  }
})();

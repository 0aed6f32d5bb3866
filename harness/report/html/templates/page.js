"use strict";
(() => {
  const $ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const text = (id) => document.getElementById(id).textContent;
  const css = (name) => getComputedStyle(probe(name)).color;

  // A custom property holds light-dark(), which only a used colour resolves.
  const probes = new Map();
  function probe(name) {
    if (!probes.has(name)) {
      const element = document.createElement("span");
      element.style.color = `var(--${name})`;
      element.hidden = true;
      document.body.append(element);
      probes.set(name, element);
    }
    return probes.get(name);
  }

  async function unpack(base64) {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }
  const unpackText = async (base64) => new TextDecoder().decode(await unpack(base64));

  function once(make) {
    let made;
    return () => (made ??= make());
  }
  const figures = once(async () => JSON.parse(await unpackText(text("figures"))));
  const documents = once(async () => JSON.parse(await unpackText(text("documents"))));
  const plotly = once(async () => {
    const url = URL.createObjectURL(new Blob([await unpack(text("plotly"))], { type: "text/javascript" }));
    await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = () => reject(new Error("the charts' script did not load"));
      document.head.append(script);
    });
    URL.revokeObjectURL(url);
    return window.Plotly;
  });

  // Colours: a trace has the number of its series or part, the theme has the colours.
  const translucent = (color, alpha) => color.replace(/^rgba?\(([^,]+,[^,]+,[^,)]+).*$/, `rgba($1, ${alpha})`);
  const seriesColor = (at) => css(at < 0 ? "grey" : `s${at % 8}`);

  function themed(trace, fit) {
    const { meta } = trace;
    const color = meta.part === undefined ? seriesColor(meta.series) : css(`p${meta.part}`);
    const filled = { ...trace, showlegend: !meta.aside };
    if (fit && !meta.aside) filled.name = fit(trace.name);
    if (trace.type === "bar") filled.marker = { color: translucent(color, meta.alpha ?? 1), line: { color, width: 1 } };
    else {
      filled.cliponaxis = false;
      filled.line = { ...trace.line, color };
      filled.marker = { ...trace.marker, color, line: { ...trace.marker?.line, color: css("card") } };
      if (String(trace.marker?.symbol).endsWith("-open")) filled.marker.line.color = color;
      if (trace.fill) filled.fillcolor = translucent(color, meta.alpha);
    }
    if (meta.alpha < 1) filled.insidetextfont = { color: css("ink") };
    if (meta.part !== undefined) filled.insidetextfont = { color: meta.part === 2 ? "#1d2025" : css(meta.part ? "ink" : "page") };
    return filled;
  }

  // Text that has to fit: plotly cuts what is too wide, which takes the beginning of a label on the left.
  const NARROW = 480, LABEL = 11, LETTERS = 12, ROW = 40;
  const pen = document.createElement("canvas").getContext("2d");
  function width(label, size) {
    pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
    return pen.measureText(label).width;
  }
  function fitted(label, size, room) {
    if (width(label, size) <= room) return label;
    let letters = [...label];
    while (letters.length > 1 && width(`${letters.join("")}…`, size) > room) letters = letters.slice(0, -1);
    return `${letters.join("")}…`;
  }

  // A row's place on the axis, and what it is called.
  function rowsOf(data, axis) {
    if (axis?.ticktext) return axis.tickvals.map((place, at) => [place, axis.ticktext[at]]);
    if (axis?.type !== "category") return [];
    return [...new Set(axis.categoryarray ?? data.flatMap((trace) => trace.y))].map((name) => [name, name]);
  }

  // Where the labels would take the room of the bars, each stands above its own row.
  function labelsAbove(data, layout, room) {
    const rows = rowsOf(data, layout.yaxis);
    if (!rows.some(([, label]) => label.length > LETTERS)) return layout;
    const around = 110, grown = Math.max(0, rows.length * ROW + around - layout.height);
    const annotations = rows.map(([place, label]) => ({
      text: fitted(label, LABEL, room - 24), xref: "paper", x: 0, xanchor: "left", yref: "y", y: place, yshift: 9,
      yanchor: "bottom", showarrow: false, font: { size: LABEL, color: css("ink") }, bgcolor: css("card"), borderpad: 0,
      name: "row",
    }));
    return {
      ...layout, annotations, height: layout.height + grown, bargap: 0.62,
      yaxis: { ...layout.yaxis, showticklabels: false, ...(layout.yaxis.range ? {} : { range: [-0.5, rows.length - 0.25] }) },
    };
  }

  // Above the picture: in lines as they fit, or on a phone in one or two columns whose names all fit.
  function legendOf(names, room) {
    if (room >= NARROW) return { height: 34, legend: {} };
    const SYMBOL = 46;
    const columns = names.every((name) => width(name, 12) + SYMBOL < 0.46 * room) ? 2 : 1;
    return {
      height: 20 * Math.ceil(names.length / columns) + 16,
      fit: (name) => fitted(name, 12, room / columns - SYMBOL),
      legend: { entrywidth: columns === 2 ? 0.48 : 0.98, entrywidthmode: "fraction", maxheight: 400 },
    };
  }

  function layoutOf(layout, { height, legend }) {
    const axis = (own) => ({
      gridcolor: css("line"), linecolor: css("line"), zerolinecolor: css("line"), automargin: true, fixedrange: coarse,
      exponentformat: "none",
      ...own, title: { font: { size: 12 }, standoff: 8, ...own?.title },
    });
    return {
      ...layout,
      height: layout.height + (layout.showlegend ? height - 34 : 0),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("ink") },
      margin: { l: 10, r: 14, t: layout.showlegend ? height : 12, b: 34 },
      legend: { orientation: "h", traceorder: "normal", x: 0, y: 1, yanchor: "bottom", font: { size: 12 }, ...legend },
      hoverlabel: { bgcolor: css("card"), bordercolor: css("line"), font: { color: css("ink") } },
      showlegend: layout.showlegend ?? false,
      uniformtext: { minsize: 10, mode: "hide" },
      dragmode: coarse ? false : "zoom",
      xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
      shapes: (layout.shapes ?? []).map((shape) => ({ ...shape, line: { ...shape.line, color: css("dim") } })),
    };
  }
  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = { displaylogo: false, displayModeBar: false, responsive: true };

  async function draw(element) {
    const [found, library] = await Promise.all([figures(), plotly()]);
    const { data, layout } = found[element.dataset.figure];
    const room = element.clientWidth;
    const legend = legendOf(data.filter((trace) => !trace.meta.aside).map((trace) => trace.name), room);
    const rows = room < NARROW ? labelsAbove(data, layout, room) : layout;
    const placed = layoutOf(rows, legend);
    element.style.height = `${placed.height}px`;
    await library.react(element, data.map((trace) => themed(trace, legend.fit)), placed, config);
    element.dataset.drawn = document.documentElement.dataset.theme ?? "system";
  }

  const plots = $("[data-figure]");
  const trouble = (error) => {
    const line = document.getElementById("trouble");
    line.hidden = false;
    line.textContent = `The pictures cannot be drawn: ${error.message}. The tables hold the same figures.`;
  };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      seen.unobserve(entry.target);
      draw(entry.target).catch(trouble);
    }
  }, { rootMargin: "500px" });
  for (const element of plots) seen.observe(element);
  const redraw = () => Promise.all(plots.filter((one) => one.dataset.drawn).map(draw)).catch(trouble);
  addEventListener("beforeprint", () => Promise.all(plots.map(draw)).catch(trouble));

  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const next = themes[(themes.indexOf(root.dataset.theme ?? "system") + 1) % themes.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    button.textContent = `Theme: ${next}`;
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // Raw data.
  function save(name, type, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
  // A spreadsheet would run a text that begins like a formula.
  const field = (value) => {
    const plain = String(value ?? "");
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(plain) && Number.isNaN(Number(plain)) ? `'${plain}` : plain;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = (rows) => rows.map((row) => row.map(field).join(",") + "\n").join("");

  function figureRows({ data, columns }) {
    const keys = Object.keys(columns);
    const rows = [keys.map((key) => columns[key])];
    for (const trace of data) if (!trace.meta.aside) {
      for (let at = 0; at < trace.x.length; at++) {
        rows.push(keys.map((key) => (Array.isArray(trace[key]) ? trace[key][at] : trace[key])));
      }
    }
    return rows;
  }

  async function column({ data, factor, labels }, rows) {
    const planes = new Uint8Array(await unpack(data));
    const value = (at) =>
      planes[at] + planes[rows + at] * 256 + planes[2 * rows + at] * 65536 + planes[3 * rows + at] * 16777216;
    return (at) => (labels ? field(labels[value(at)]) : value(at) * factor);
  }

  async function rawCsv(table) {
    const { rows, columns, constants } = table;
    const cells = await Promise.all(columns.map((one) => column(one, rows)));
    const fixed = Object.values(constants).map(field).join(",");
    const parts = [[...Object.keys(constants), ...columns.map((one) => one.name)].join(",") + "\n"];
    for (let from = 0; from < rows; from += 10000) {
      let lines = "";
      for (let at = from; at < Math.min(from + 10000, rows); at++) lines += `${fixed},${cells.map((cell) => cell(at)).join(",")}\n`;
      parts.push(lines);
    }
    return new Blob(parts);
  }

  const raw = once(() => JSON.parse(text("raw-tables")));
  const tableRows = (table) =>
    $("tr", table).filter((row) => !row.hidden).map((row) =>
      [...row.cells].map((cell) => (cell.dataset.value ? Number(cell.dataset.value) : cell.textContent.trim())));
  document.addEventListener("click", (event) => {
    const { figureCsv, tableCsv, raw: name, document: kept } = event.target.closest("button")?.dataset ?? {};
    const saved =
      figureCsv ? figures().then((found) => save(`${figureCsv}.csv`, "text/csv", csv(figureRows(found[figureCsv])))) :
      tableCsv ? save(`${tableCsv}.csv`, "text/csv", csv(tableRows(document.getElementById(tableCsv)))) :
      name ? rawCsv(raw()[name]).then((blob) => save(`${name}.csv`, "text/csv", blob)) :
      kept ? documents().then((found) => save(`${kept}.json`, "application/json", JSON.stringify(found[kept], null, 1))) :
      null;
    saved?.catch?.(trouble);
  });

  // Tables.
  function filter(id) {
    const table = document.getElementById(id);
    const wanted = $(`[data-filter="${id}"]`)[0].value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = $(`[data-choose="${id}"]`).filter((one) => one.value);
    const rows = [...table.tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const words = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => words.includes(word)) ||
        !chosen.every((one) => row.cells[one.dataset.column].textContent === one.value);
      if (!row.hidden) shown++;
    }
    $(`[data-count="${id}"]`)[0].textContent = `${shown} of ${rows.length}`;
  }
  for (const input of $("[data-filter]")) {
    input.addEventListener("input", () => filter(input.dataset.filter));
    filter(input.dataset.filter);
  }
  for (const input of $("[data-choose]")) input.addEventListener("change", () => filter(input.dataset.choose));

  for (const table of $("table.sortable")) {
    $("thead th", table).forEach((head, at) => head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of $("thead th", table)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = (cell) => cell.classList.contains("number");
      const value = (row) => {
        const cell = row.cells[at];
        if (numeric(cell)) return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
        return cell.textContent;
      };
      const order = (one, other) => {
        const [a, b] = [value(one), value(other)];
        if (typeof a === "string") return (down ? -1 : 1) * a.localeCompare(b, "en", { numeric: true });
        // What has no number stands last either way.
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
        return down ? b - a : a - b;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    }));
  }
})();

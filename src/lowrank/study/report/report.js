// Draws the three figures of a report from #chart-data. Colours come from the style sheet, so light, dark and print follow it;
// every method also has its own marker and dash pattern.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const markers = ["circle", "triangle", "rect", "rectRot", "rectRounded", "star", "crossRot", "cross"];
  const dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2], [12, 4], [3, 6]];
  const choice = { curves: "seconds", costs: data.costs.length ? data.costs[0].name : "" };
  const charts = [];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const order = new Map(data.methods.map((method, index) => [method.id, index]));
  const looks = (id) => {
    const index = order.get(id);
    return { color: style(`--s${index % 8}`), marker: markers[index % 8], dash: dashes[index % 8] };
  };
  const narrow = () => window.innerWidth < 640;

  const compact = (value) => Number(value.toPrecision(3)).toString();
  const inBytes = (value) => {
    const unit = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(value, 1)) / 3)));
    return `${compact(value / 1000 ** unit)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
  };
  const inTime = (value) => (value < 100 ? `${compact(value)} s` : value < 6000 ? `${compact(value / 60)} min` : `${compact(value / 3600)} h`);
  const inCount = (value) => (value >= 1e6 ? `${compact(value / 1e6)} M` : value >= 1e3 ? `${compact(value / 1e3)} k` : compact(value));
  const units = { size: inBytes, memory: inBytes, time: inTime, parameters: inCount };
  const signed = (value) => (value < 0 ? "−" : value > 0 ? "+" : "") + compact(Math.abs(value));
  const range = (low, high) => `${low.toFixed(1)} to ${high.toFixed(1)}`.replaceAll("-", "−");

  const axis = (title, extra = {}) => ({
    title: { display: true, text: title, color: style("--muted") },
    grid: { color: style("--line"), drawBorder: false, tickLength: 4 },
    ...extra,
    ticks: { color: style("--muted"), maxRotation: 0, autoSkipPadding: 14, ...extra.ticks },
  });
  const legend = () => ({
    position: "bottom",
    labels: { color: style("--text"), usePointStyle: true, boxHeight: 8, padding: 16,
              filter: (item) => !item.text.startsWith("_") },
    onClick: (event, item, owner) => {  // the band and the bars of a method go with its line
      const chart = owner.chart, visible = chart.isDatasetVisible(item.datasetIndex), group = chart.data.datasets[item.datasetIndex].group;
      chart.data.datasets.forEach((set, index) => { if (set.group === group) chart.setDatasetVisibility(index, !visible); });
      chart.update();
    },
  });
  const tooltip = (label) => ({ filter: (item) => !item.dataset.silent, callbacks: { title: () => "", label } });
  const draw = (id, config) => {
    const canvas = document.getElementById(`${id}-chart`);
    if (canvas) charts.push(new Chart(canvas, config));
  };
  const options = (extra) => ({ responsive: true, maintainAspectRatio: false, animation: false, ...extra });

  function curves() {
    const byStep = choice.curves === "step";
    const datasets = data.methods.filter((method) => method.curve.length).flatMap((method) => {
      const look = looks(method.id), at = (name) => method.curve.map((point) => ({ x: byStep ? point.step : point.seconds, y: point[name] }));
      const edge = { group: method.id, silent: true, borderWidth: 0, pointRadius: 0, pointHitRadius: 0, backgroundColor: look.color + "2b", order: 2 };
      return [
        { ...edge, label: "_low", data: at("low"), fill: false },
        { ...edge, label: "_high", data: at("high"), fill: "-1" },
        { group: method.id, label: method.title, data: at("mean"), borderColor: look.color, backgroundColor: look.color, borderWidth: 2,
          borderDash: look.dash, pointStyle: look.marker, pointRadius: narrow() ? 2.5 : 3.5, pointBorderWidth: 2, order: 1 },
      ];
    });
    draw("curves", { type: "line", data: { datasets }, options: options({
      scales: { x: axis(byStep ? "optimiser step" : "training time", { type: "linear", ticks: { callback: byStep ? inCount : inTime } }),
                y: axis(data.curve.title) },
      plugins: { legend: legend(), tooltip: tooltip((item) => `${item.dataset.label}: ${item.parsed.y.toFixed(data.curve.digits)}${data.curve.unit}`) },
    }) });
  }

  function differences() {
    const rows = data.differences;
    if (!rows.length) return;
    const colors = rows.map((row) => looks(row.id).color), bar = { grouped: false, borderWidth: 0, maxBarThickness: 40 };
    const box = document.getElementById("differences-box");
    if (box) box.style.height = `${90 + 52 * rows.length}px`;
    const datasets = [
      { type: "scatter", label: "mean", order: 0, data: rows.map((row) => ({ x: row.mean, y: row.title })), pointStyle: rows.map((row) => looks(row.id).marker),
        pointRadius: 6, pointHoverRadius: 8, pointBorderColor: style("--card"), pointBorderWidth: 1.5, pointBackgroundColor: colors },
      { ...bar, label: "95 % interval", order: 1, data: rows.map((row) => row.interval), backgroundColor: colors, barThickness: 6 },
      { ...bar, label: "corrected", order: 2, data: rows.map((row) => row.corrected), backgroundColor: colors, barThickness: 2 },
      { ...bar, label: "seed noise", order: 3, data: rows.map((row) => [-row.noise, row.noise]), backgroundColor: style("--noise"), barThickness: 28 },
    ];
    const words = (item) => {
      const row = rows[item.dataIndex];
      return [`${row.title}: ${signed(row.mean)} points, ${row.verdict}`, `95 %: ${range(...row.interval)}; seed noise ±${row.noise.toFixed(1)}`];
    };
    const title = narrow() ? `points against ${data.reference}` : `← worse than ${data.reference}    percentage points    better than ${data.reference} →`;
    draw("differences", { type: "bar", data: { labels: rows.map((row) => row.title), datasets }, options: options({
      indexAxis: "y",
      scales: { x: axis(title, { ticks: { callback: signed }, grid: { drawBorder: false,
                  color: (line) => (line.tick && line.tick.value === 0 ? style("--text") : style("--line")),
                  lineWidth: (line) => (line.tick && line.tick.value === 0 ? 1.5 : 1) } }),
                y: axis("", { title: { display: false }, grid: { display: false, drawBorder: false }, ticks: { color: style("--text") } }) },
      plugins: { legend: { display: false }, tooltip: { callbacks: { title: () => "", label: words } } },
    }) });
  }

  function costs() {
    const cost = data.costs.find((entry) => entry.name === choice.costs);
    const methods = data.methods.filter((method) => cost && cost.values[method.id] > 0);
    if (!methods.length) return;
    const format = units[cost.name], values = methods.map((method) => cost.values[method.id]);
    const wide = Math.max(...values) / Math.min(...values) > 15;
    const datasets = methods.flatMap((method) => {
      const look = looks(method.id), x = cost.values[method.id], common = { group: method.id, borderColor: look.color, backgroundColor: look.color };
      return [
        { ...common, label: method.title, data: [{ x, y: method.score }], pointStyle: look.marker, pointRadius: 7, pointHoverRadius: 9, pointBorderWidth: 2, order: 0 },
        { ...common, label: "_interval", silent: true, showLine: true, borderWidth: 2, pointRadius: 0, pointHitRadius: 0, order: 1,
          data: method.interval.map((y) => ({ x, y })) },
      ];
    });
    const frontier = cost.pareto.map((id) => methods.find((method) => method.id === id)).filter(Boolean);
    datasets.push({ label: "_pareto", silent: true, showLine: true, borderColor: style("--muted"), borderDash: [4, 4], borderWidth: 1.5, pointRadius: 0,
                    pointHitRadius: 0, order: 3, data: frontier.map((method) => ({ x: cost.values[method.id], y: method.score })) });
    const decade = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
    const scale = wide ? { type: "logarithmic", min: Math.min(...values) / 1.6, max: Math.max(...values) * 1.6,
                           grid: { drawBorder: false, color: (line) => (line.tick && decade(line.tick.value) ? style("--line") : "transparent") },
                           ticks: { callback: (value) => (decade(value) ? format(value) : "") } }
                       : { type: "linear", grace: "12%", beginAtZero: true, ticks: { callback: format } };
    draw("costs", { type: "scatter", data: { datasets }, options: options({
      scales: { x: axis(cost.title + (wide ? " (logarithmic)" : ""), scale), y: axis(`test ${data.score}, %`, { grace: "5%" }) },
      plugins: { legend: legend(), tooltip: tooltip((item) => `${item.dataset.label}: ${item.parsed.y.toFixed(1)} %, ${format(item.parsed.x)}`) },
    }) });
  }

  function render() {
    charts.splice(0).forEach((chart) => chart.destroy());
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 13;
    curves();
    differences();
    costs();
  }

  function chooser(id, label, entries) {
    const place = document.getElementById(`${id}-controls`);
    if (!place || entries.length < 2) return;
    const select = document.createElement("select"), text = document.createElement("label");
    entries.forEach(([value, title]) => select.add(new Option(title, value)));
    select.addEventListener("change", () => { choice[id] = select.value; render(); });
    text.append(`${label} `, select);
    place.append(text);
  }

  chooser("curves", "Against", [["seconds", "training time"], ["step", "optimiser step"]]);
  chooser("costs", "Cost", data.costs.map((cost) => [cost.name, cost.title]));
  render();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  let wasNarrow = narrow();
  window.addEventListener("resize", () => { if (narrow() !== wasNarrow) { wasNarrow = narrow(); render(); } });
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((part) => { part.open = true; });
    document.documentElement.dataset.theme = "light";
    render();
  });
  window.addEventListener("afterprint", () => {
    folded.forEach((part) => { part.open = false; });
    delete document.documentElement.dataset.theme;
    render();
  });
})();

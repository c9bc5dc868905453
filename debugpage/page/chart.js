// The chart of what became of connections over their idle age: above the line
// those that were alive, below it those that the server had closed.

const chart = { width: 0, right: 0, left: 8, height: 250, top: 42, line: 128, bottom: 196, axis: 208 };

// chartWidth is about what its panel has.
function chartWidth() {
  return Math.max(280, Math.min(1000, innerWidth > 1000 ? Math.round(innerWidth * 0.54) : innerWidth - 90));
}

const ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 9e4, 12e4, 3e5, 6e5, 18e5, 36e5].map(ms => ms * millisecond);

// chartRange is the idle ages that the chart must show.
function chartRange(u) {
  const d = u.detail, ages = [], bounds = d.ages.bounds_ns || [];
  for (const counts of [d.ages.reused, d.ages.retired, d.ages.stale, d.ages.closed]) {
    (counts || []).forEach((n, i) => {
      if (n === 0) return;
      ages.push(i > 0 ? bounds[i - 1] : bounds[0] / 10, i < bounds.length ? bounds[i] : bounds[i - 1] * 2);
    });
  }
  for (const c of d.ages.closes || []) ages.push(c.idle_age_ns);
  for (const t of (d.learned || {}).timeouts || []) ages.push(t.lower_ns, t.upper_ns);
  if (u.source !== "none") ages.push(u.idle_limit_ns, u.idle_limit_ns / 100);
  if (u.server_keep_alive_ns) ages.push(u.server_keep_alive_ns);
  const positive = ages.filter(a => a > 0);
  if (positive.length === 0) return undefined;
  return [Math.max(millisecond, Math.min(...positive)) / 1.3, Math.max(...positive) * 2.2];
}

function drawChart(u) {
  chart.width = chartWidth();
  chart.right = chart.width - chart.left;
  const range = chartRange(u);
  if (!range) return make("p", {}, "No connection has been idle yet.");
  const [low, high] = range.map(Math.log), d = u.detail, bounds = d.ages.bounds_ns || [];
  const x = ns => {
    const part = (Math.log(Math.max(ns, range[0])) - low) / (high - low);
    return chart.left + Math.min(1, part) * (chart.right - chart.left);
  };
  const svg = draw("svg", { class: "chart", width: chart.width, height: chart.height, viewBox: `0 0 ${chart.width} ${chart.height}`, role: "img", "aria-label": chartText(u) });

  const t = (d.learned || {}).timeouts || [];
  for (const c of t) {
    const from = x(c.lower_ns), to = x(c.upper_ns);
    svg.append(draw("rect", { class: "cluster", x: from - 2, width: to - from + 4, y: chart.top, height: chart.axis - chart.top },
      draw("title", {}, `closes cluster at ${duration(c.lower_ns)}${c.upper_ns > c.lower_ns ? " to " + duration(c.upper_ns) : ""}: ${counted(c.closes, "close")}, weight ${trim(c.weight)}; ${trim(c.survived)} survived it`)));
  }
  bars(svg, x, bounds, [["reused", d.ages.reused, "were alive and used again"], ["retired", d.ages.retired, "were closed by idlewise"]], chart.line, chart.top - chart.line);
  bars(svg, x, bounds, [["closed", d.ages.closed, "were closed by the server"], ["stale", d.ages.stale, "met a request after the server had closed them"]], chart.line, chart.bottom - chart.line - 14);

  svg.append(draw("line", { class: "axis", x1: chart.left, x2: chart.right, y1: chart.line, y2: chart.line }));
  svg.append(draw("line", { class: "axis", x1: chart.left, x2: chart.right, y1: chart.axis, y2: chart.axis }));
  let last = -99;
  for (const ns of ticks) {
    if (ns < range[0] || ns > range[1] || x(ns) - last < 44) continue;
    last = x(ns);
    svg.append(draw("line", { class: "axis", x1: last, x2: last, y1: chart.axis, y2: chart.axis + 4 }));
    svg.append(draw("text", { x: last, y: chart.axis + 16, "text-anchor": "middle" }, duration(ns)));
  }
  svg.append(draw("text", { x: chart.left, y: chart.height - 4 }, "idle age (logarithmic)"));

  for (const c of d.ages.closes || []) {
    svg.append(draw("circle", { class: c.found === "stale_on_use" ? "stale" : "closed", cx: x(c.idle_age_ns), cy: chart.bottom, r: 3.5 },
      draw("title", {}, `${c.found} at ${duration(c.idle_age_ns)}, ${clock(c.at)}`)));
  }
  for (const c of d.conns.filter(c => c.idle).slice(0, 200)) {
    const at = x(c.idle_age_ns);
    svg.append(draw("path", { class: "now", d: `M${at - 4},${chart.line - 7}h8l-4,7z` }, draw("title", {}, `connection ${c.id} is idle for ${duration(c.idle_age_ns)} now`)));
  }
  if (u.source === "none") return svg;
  // The lines go last, and their texts to the sides where they do not meet.
  const limit = x(u.idle_limit_ns);
  if (u.server_keep_alive_ns && u.source !== "max_idle_time") {
    const server = x(u.server_keep_alive_ns);
    svg.append(draw("rect", { class: "margin", x: limit, width: Math.max(0, server - limit), y: chart.top - 8, height: chart.axis - chart.top + 8 }, draw("title", {}, `margin ${duration(u.margin_ns)}`)));
    svg.append(draw("line", { class: "server", x1: server, x2: server, y1: chart.top - 26, y2: chart.axis }));
    const room = server < chart.width - 130;
    label(svg, "server-text", room ? server : limit, !room, chart.top - 12, `the server: ${duration(u.server_keep_alive_ns)}`);
  }
  svg.append(draw("line", { class: "limit", x1: limit, x2: limit, y1: chart.top - 42, y2: chart.axis }));
  label(svg, "limit-text", limit, true, chart.top - 30, `idlewise: ${duration(u.idle_limit_ns)}`);
  return svg;
}

// label writes beside a line, to its left if that is wished, or where there is room.
function label(svg, name, x, left, y, text) {
  if (x < 130) left = false;
  if (x > chart.width - 130) left = true;
  svg.append(draw("text", { class: name, x: left ? x - 5 : x + 5, y, "text-anchor": left ? "end" : "start" }, text));
}

// bars stacks histograms from the line on, upwards if height is negative. The
// square root lets a few be seen beside thousands.
function bars(svg, x, bounds, series, line, height) {
  let most = 0;
  for (let i = 0; i <= bounds.length; i++) most = Math.max(most, series.reduce((sum, [, counts]) => sum + ((counts || [])[i] || 0), 0));
  if (most === 0) return;
  const scale = Math.abs(height) / Math.sqrt(most);
  for (let i = 0; i <= bounds.length; i++) {
    const from = i > 0 ? x(bounds[i - 1]) : chart.left, to = i < bounds.length ? x(bounds[i]) : chart.right;
    const sum = series.reduce((all, [, counts]) => all + ((counts || [])[i] || 0), 0);
    if (sum === 0) continue;
    const tall = Math.max(3, Math.sqrt(sum) * scale);
    let at = 0;
    for (const [name, counts, what] of series) {
      const n = (counts || [])[i] || 0;
      if (n === 0) continue;
      const part = tall * n / sum;
      const y = height < 0 ? line - at - part : line + at;
      svg.append(draw("rect", { class: name, x: from + 0.5, width: Math.max(1, to - from - 1), y, height: part },
        draw("title", {}, `${count(n)} ${what} at ${i > 0 ? duration(bounds[i - 1]) : "0"} to ${i < bounds.length ? duration(bounds[i]) : "more"}`)));
      at += part;
    }
  }
}

function chartText(u) {
  const a = u.detail.ages;
  return `Over idle age: ${count(sumOf(a.reused))} connections were alive when used again, ${count(sumOf(a.retired))} were closed by idlewise, ` +
    `${count(sumOf(a.closed))} by the server, ${count(sumOf(a.stale))} met a request after that. ${deadlineSentence(u)}`;
}

const legend = [["k-reused", "alive, used again"], ["k-retired", "closed by idlewise"], ["k-closed", "closed by the server (dots: the last 24, exactly)"], ["k-stale", "closed, met by a request"], ["k-limit", "idle limit and margin"]];

function chartLegend() {
  return make("ul", { class: "legend" }, ...legend.map(([key, text]) => make("li", {}, make("span", { class: "key " + key }), " " + text)),
    make("li", {}, "▼ idle now"));
}

// The page: it asks for a snapshot every second and shows it.

const interval = 1000;      // ms between snapshots, more where they take long
const firstRows = 200;      // upstreams that are shown before one asks for all

const find = id => document.getElementById(id);
const page = {
  snapshot: undefined, before: undefined,
  rows: new Map(), opened: new Set(), sorting: { key: "state", down: true },
  all: false, paused: false, timer: undefined, asked: 0,
};

function matches(u) {
  const text = find("filter").value.trim().toLowerCase();
  if (text && !(u.name + " " + u.pattern + " " + (u.group || "")).toLowerCase().includes(text)) return false;
  switch (find("show").value) {
    case "todo": return urgency(u) > 0;
    case "stale": return u.stale > 0;
    case "open": return u.open > 0;
  }
  return true;
}

function renderUpstreams() {
  const s = page.snapshot, chosen = sorted(s.upstreams.filter(matches), upstreamColumns, page.sorting);
  const visible = page.all ? chosen : chosen.slice(0, firstRows);
  const there = new Set(s.upstreams.map(u => u.name)), wanted = [];
  for (const name of page.rows.keys()) if (!there.has(name)) page.rows.delete(name);
  for (const u of visible) {
    let row = page.rows.get(u.name);
    if (!row) page.rows.set(u.name, row = upstreamRow(u.name, toggle));
    const open = page.opened.has(u.name);
    row.update(u, open);
    wanted.push(row.tr);
    if (open) wanted.push(row.below);
  }
  arrange(find("rows"), wanted);
  find("none").hidden = s.upstreams.length > 0;
  find("upstreams").hidden = s.upstreams.length === 0;
  setText(find("shown"), chosen.length === s.upstreams.length ? counted(chosen.length, "upstream") : `${count(chosen.length)} of ${counted(s.upstreams.length, "upstream")}`);
  find("more").hidden = visible.length === chosen.length;
  setText(find("more"), `Show all ${count(chosen.length)}`);
}

function renderSummary() {
  const s = page.snapshot, t = s.total;
  let open = 0, idle = 0, inUse = 0, waiting = 0;
  for (const u of s.upstreams) { open += u.open; idle += u.idle; inUse += u.in_use; waiting += u.waiting; }
  const tiles = [
    [count(s.upstreams.length), s.upstreams.length === 1 ? "upstream" : "upstreams"],
    [count(open), `open connections: ${count(inUse)} in use, ${count(idle)} idle`],
    [count(t.requests) , "requests" + (t.rate === undefined ? "" : `, ${perSecond(t.rate)} now`)],
    [count(t.stale), "met a connection that the server had closed"],
    [count(t.resent), `sent again, ${count(t.answered)} of them answered`],
    [count(t.lost), "lost with their connection", t.lost > 0],
  ];
  if (waiting) tiles.push([count(waiting), "wait for a connection", true]);
  if (t.dial_errors) tiles.push([count(t.dial_errors), "dials failed"]);
  replaceWhenChanged(find("tiles"), JSON.stringify(tiles), () => tiles.map(([n, text, bad]) => make("div", { class: "tile" + (bad ? " bad" : "") }, make("b", {}, n), make("span", {}, text))));
}

// renderAdvice shows each kind of advice once, for the most urgent upstream.
function renderAdvice() {
  const kinds = new Map();
  const urgent = page.snapshot.upstreams.filter(u => u.advice).sort((a, b) => urgency(b) - urgency(a));
  for (const level of ["problem", "advice"]) {
    for (const u of urgent) {
      for (const a of u.advice) {
        if (a.level !== level) continue;
        const kind = kinds.get(a.kind);
        if (kind) kind.more++;
        else kinds.set(a.kind, { name: u.name, advice: a, more: 0 });
      }
    }
  }
  const found = [...kinds.values()];
  find("todo").hidden = found.length === 0;
  replaceWhenChanged(find("todo-list"), JSON.stringify(found), () => found.map(({ name, advice, more }) => {
    const item = adviceItem("li", advice, name, openOnly);
    if (more) item.append(make("button", { type: "button", class: "where", onclick: showTodo }, `The same goes for ${counted(more, "other upstream")}.`));
    return item;
  }));
}

function showTodo() {
  find("show").value = "todo";
  find("filter").value = "";
  changed();
  find("upstreams").scrollIntoView();
}

function renderRecent() {
  const kind = find("kind").value;
  const chosen = page.snapshot.recent.filter(e => kind === "all" || (kind === "requests" ? e.weight !== "info" : e.weight === kind));
  find("quiet").hidden = chosen.length > 0;
  find("recent").hidden = chosen.length === 0;
  replaceWhenChanged(find("events"), JSON.stringify(chosen), () => chosen.map(e => make("tr", {},
    make("td", {}, clock(e.at)),
    make("td", {}, e.upstream),
    make("td", {}, make("span", { class: "chip " + e.weight }, { lost: "lost", resent: "sent again", info: "info" }[e.weight]), " ", e.what, ...(e.error ? [make("br"), make("small", {}, e.error)] : [])),
    make("td", {}, e.method || ""),
    make("td", { title: evidences[e.evidence] }, e.evidence && e.evidence !== "none" ? e.evidence : ""),
    make("td", { class: "num" }, e.idle_age_ns === undefined ? "" : duration(e.idle_age_ns)),
    make("td", {}, e.conn ? String(e.conn) + " " : "", make("small", {}, e.local && e.remote ? `${e.local} → ${e.remote}` : "")))));
}

// render shows the snapshot, and measures how long that took until the browser
// had drawn it: performance.getEntriesByName("idlewise-render").
function render() {
  if (!page.snapshot) return;
  const start = performance.now();
  renderSummary();
  renderAdvice();
  renderUpstreams();
  renderRecent();
  requestAnimationFrame(() => setTimeout(() => {
    performance.clearMeasures("idlewise-render");
    performance.measure("idlewise-render", { start, end: performance.now() });
  }));
}

function changed() { render(); }

function toggle(name) {
  if (!page.opened.delete(name)) page.opened.add(name);
  render();
  if (page.opened.has(name)) ask();
}

function openOnly(name) {
  page.opened.add(name);
  find("filter").value = name;
  render();
  ask();
  find("upstreams").scrollIntoView();
}

// rates compares with a snapshot that is about five seconds old.
function rates(s) {
  const at = Date.parse(s.at), old = page.before;
  if (old && at > old.at) {
    const seconds = (at - old.at) / 1000;
    const rate = (now, then) => Math.max(0, (now - (then || 0)) / seconds);
    s.total.rate = rate(s.total.requests, old.total);
    for (const u of s.upstreams) if (old.requests.has(u.name)) u.rate = rate(u.requests, old.requests.get(u.name));
  }
  const taken = { at, total: s.total.requests, requests: new Map(s.upstreams.map(u => [u.name, u.requests])) };
  page.history = [...(page.history || []), taken].slice(-6);
  page.before = page.history[0];
}

// ask gets a snapshot, and has it shown. Only the latest answer counts.
async function ask() {
  clearTimeout(page.timer);
  const number = ++page.asked, began = performance.now(), first = !page.snapshot;
  const query = new URLSearchParams([["format", "json"], ["detail", ""], ...[...page.opened].map(name => ["detail", name])]);
  let wait = interval;
  try {
    const answer = await fetch(location.pathname + "?" + query, { headers: { Accept: "application/json" }, cache: "no-store" });
    if (!answer.ok) throw new Error("the server answers " + answer.status);
    const snapshot = await answer.json();
    if (number !== page.asked) return;
    rates(snapshot);
    page.snapshot = snapshot;
    if (first && snapshot.upstreams.length <= 2) for (const u of snapshot.upstreams) page.opened.add(u.name);
    render();
    setText(find("status"), (page.paused ? "paused, as of " : "live, as of ") + clock(snapshot.at));
    setClass(find("status"), "");
    wait = Math.max(interval, 10 * (performance.now() - began));
    if (first && page.opened.size > 0) wait = 0;
  } catch (error) {
    if (number !== page.asked) return;
    setText(find("status"), "not up to date: " + error.message);
    setClass(find("status"), "stalled");
    wait = 3 * interval;
  }
  if (!page.paused && !document.hidden) page.timer = setTimeout(ask, wait);
}

function pause() {
  page.paused = !page.paused;
  find("pause").setAttribute("aria-pressed", String(page.paused));
  setText(find("pause"), page.paused ? "Resume" : "Pause");
  ask();
}

// openLinked opens the upstream that the address names behind its #.
function openLinked() {
  let name = location.hash.slice(1);
  try { name = decodeURIComponent(name); } catch {} // not encoded, then
  if (!name) return;
  find("filter").value = name;
  page.opened.add(name);
}

document.documentElement.classList.add("script");
header(find("upstreams").tHead.rows[0], upstreamColumns, page.sorting, changed);
find("filter").addEventListener("input", changed);
find("show").addEventListener("change", changed);
find("kind").addEventListener("change", changed);
find("pause").addEventListener("click", pause);
find("more").addEventListener("click", () => { page.all = true; render(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && !page.paused) ask(); });
openLinked();
ask();

// Tables whose rows are kept from one snapshot to the next: scrolling, focus and
// selections survive, and only what has changed is touched. They have roles, since
// what CSS makes a grid may no longer count as a table.

// arrange makes wanted the children of parent, in this order.
function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  let at = parent.firstElementChild;
  const adding = document.createDocumentFragment();
  if (!at) { // nothing there: all at once
    adding.append(...wanted);
    parent.append(adding);
    return;
  }
  const focused = document.activeElement;
  for (const child of wanted) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  // Who is moved loses the focus.
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

// header fills a table's head with buttons that sort. sorting is {key, down} and
// is changed by them.
function header(tr, columns, sorting, changed) {
  for (const c of columns) {
    const button = make("button", { type: "button" }, c.title);
    const th = make("th", { scope: "col", role: "columnheader", class: c.class, title: c.help }, button);
    button.addEventListener("click", () => {
      sorting.down = sorting.key === c.key ? !sorting.down : Boolean(c.numeric);
      sorting.key = c.key;
      mark();
      changed();
    });
    c.th = th;
    tr.append(th);
  }
  const mark = () => {
    for (const c of columns) {
      if (c.key === sorting.key) c.th.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      else c.th.removeAttribute("aria-sort");
    }
  };
  mark();
}

function compare(a, b) { return a < b ? -1 : a > b ? 1 : 0; }

function sorted(list, columns, sorting) {
  const column = columns.find(c => c.key === sorting.key), sign = sorting.down ? -1 : 1;
  const keys = new Map(list.map(one => [one, column.sort(one)]));
  return [...list].sort((a, b) => sign * compare(keys.get(a), keys.get(b)));
}

// strip is a bar of parts, [class, n, text].
function strip(e, parts) {
  const there = parts.filter(p => p[1] > 0);
  replaceWhenChanged(e, there.join(), () => there.map(([name, n]) => {
    const i = make("i", { class: name });
    if (there.length > 1) i.style.flexGrow = n;
    return i;
  }));
  setTitle(e, there.map(p => `${count(p[1])} ${p[2]}`).join(", "));
}

function numberCell(td, n, alarm) {
  setText(td, count(n));
  setClass(td, "num" + (n === 0 ? " zero" : alarm ? " " + alarm : ""));
}

// withStrip is for a cell with a text and a bar below it.
function withStrip(td, text, parts) {
  setText(td.firstChild, text);
  strip(td.lastChild, parts);
}

const upstreamColumns = [
  { key: "open", title: "Connections", numeric: true, strip: true, help: "Open connections: in use, idle, being dialed, canaries. Those that drain are HTTP/2 connections that only end their streams, and do not count against max_conns", sort: u => u.open,
    cell: (td, u) => withStrip(td, u.open === 0 ? "none" : `${count(u.open)} open` + (u.in_use ? `, ${count(u.in_use)} in use` : u.idle ? `, ${count(u.idle)} idle` : "") + (u.draining ? `, ${count(u.draining)} draining` : ""),
      [["s-use", u.in_use, "in use"], ["s-idle", u.idle, "idle"], ["s-dial", u.dialing, "being dialed"], ["s-canary", u.canaries, "canary"]]) },
  { key: "requests", title: "Requests", numeric: true, class: "num", help: "Attempts that got a connection, and how many there were per second lately", sort: u => u.requests,
    cell: (td, u) => { setText(td, count(u.requests) + (u.rate ? ` (${perSecond(u.rate)})` : "")); setClass(td, "num"); } },
  { key: "stale", title: "Met a close", numeric: true, class: "num", help: "Requests sent on a connection that the server had closed", sort: u => u.stale,
    cell: (td, u) => numberCell(td, u.stale, "warn-text") },
  { key: "resent", title: "Sent again", numeric: true, class: "num", help: "Attempts whose connection failed and that were sent again", sort: u => u.resent,
    cell: (td, u) => numberCell(td, u.resent) },
  { key: "lost", title: "Lost", numeric: true, class: "num", help: "Requests that failed for good since their connection did", sort: u => u.lost,
    cell: (td, u) => numberCell(td, u.lost, "bad-text") },
  { key: "limit", title: "Idle limit", numeric: true, class: "num", help: "How long a connection may be idle, and where that comes from", sort: u => u.source === "none" ? Infinity : u.idle_limit_ns,
    cell: (td, u) => {
      setClass(td, "num");
      const [word, help] = sources[u.source] || [u.source, ""];
      replaceWhenChanged(td, u.source + u.idle_limit_ns, () => [u.source === "none" ? "–" : duration(u.idle_limit_ns), make("br"), make("small", {}, word)]);
      setTitle(td, help);
    } },
  { key: "closed", title: "Closed, last hour", numeric: true, strip: true, help: "Connections closed in the last hour, by whom", sort: u => total(u.closed_last_hour),
    cell: (td, u) => {
      const by = { idlewise: 0, server: 0, program: 0, trouble: 0 };
      for (const [reason, n] of Object.entries(u.closed_last_hour || {})) by[closer(reason)] += n;
      withStrip(td, count(total(by)), closers.map(c => ["by-" + c, by[c], c === "trouble" ? "by trouble" : "by " + (c === "idlewise" ? c : "the " + c)]));
    } },
  { key: "state", title: "To do", numeric: true, help: "Advice, and what is not as usual; open the upstream to read it", sort: u => urgency(u),
    cell: (td, u) => { const all = chips(u); replaceWhenChanged(td, all.join(), () => all.map(([level, text]) => make("span", { class: "chip " + level }, text))); } },
];
upstreamColumns.unshift({ key: "name", title: "Upstream", help: "Scheme, host and port", sort: u => u.name });

function chips(u) {
  const out = [];
  if (u.breaker && u.breaker !== "closed") out.push([u.breaker === "open" ? "problem" : "note", "breaker " + u.breaker]);
  if (u.waiting) out.push(["advice-level", count(u.waiting) + " waiting"]);
  if (u.dialing) out.push(["note", count(u.dialing) + " dialing"]);
  for (const [level, name] of Object.entries(levels)) {
    const n = (u.advice || []).filter(a => a.level === level).length;
    if (n > 0) out.push([name, counted(n, level, level === "advice" ? "advice" : level + "s")]);
  }
  return out;
}

// urgency sorts what has problems before what has only advice.
function urgency(u) {
  let n = u.breaker === "open" ? 1e6 : 0;
  for (const a of u.advice || []) n += a.level === "problem" ? 1e4 : a.level === "advice" ? 100 : 1;
  return n;
}

// As with connections', rows are copied.
const emptyUpstreamRow = make("tr", { role: "row" },
  make("th", { scope: "row", role: "rowheader" }, make("button", { type: "button", class: "name", "aria-expanded": "false" }), make("small")),
  ...upstreamColumns.slice(1).map(c => make("td", { role: "cell", "data-label": c.title }, ...(c.strip ? [make("span"), make("div", { class: "strip" })] : []))));

// A row is an upstream's, and its details' below it.
function upstreamRow(name, toggle) {
  const tr = emptyUpstreamRow.cloneNode(true);
  const [head, ...cells] = tr.children, [button, pattern] = head.children;
  button.textContent = name;
  button.addEventListener("click", () => toggle(name));
  const place = make("td", { role: "cell", colspan: upstreamColumns.length });
  const below = make("tr", { role: "row", class: "detail" }, place);
  let details, wasOpen = false;
  return {
    tr, below,
    update(u, open) {
      if (open !== wasOpen) button.setAttribute("aria-expanded", String(open));
      wasOpen = open;
      setClass(tr, open ? "opened" : "");
      setText(pattern, u.pattern ? " by " + u.pattern : "");
      upstreamColumns.slice(1).forEach((c, i) => c.cell(cells[i], u));
      if (!open) {
        if (details) place.replaceChildren();
        details = undefined;
      } else if (u.detail) {
        if (!details) {
          details = detailPanels(u);
          place.replaceChildren(details.element);
        }
        details.update(u);
      } else if (!details) place.textContent = "loading…";
    },
  };
}

// What is shown of an upstream that is opened.

function panel(title, wide, ...children) {
  return make("div", { class: "panel" + (wide ? " wide" : "") }, make("h3", {}, title), ...children);
}

function detailPanels(u) {
  const advice = make("div", { class: "panel wide" });
  const sentence = make("p"), picture = make("div"), probe = make("p");
  const reasonsBody = make("tbody"), evidenceBody = make("tbody");
  const state = make("p");
  const policyNote = make("p"), policySet = make("pre"), policyAll = make("pre");
  const connections = connectionTable();
  const element = make("div", { class: "panels" },
    advice,
    panel("How long connections may idle", false, sentence, picture, chartLegend(), probe),
    panel("Why connections were closed in the last hour", false, make("table", { class: "reasons" }, reasonsBody),
      make("h3", {}, "Attempts whose connection failed"), make("table", { class: "reasons" }, evidenceBody), state),
    panel("Connections", true, connections.element),
    panel("Policy in force", true, policyNote, make("div", { class: "policy" }, policySet),
      make("details", {}, make("summary", {}, "all settings, defaults included"), policyAll)));
  return {
    element,
    update(u) {
      const d = u.detail;
      advice.hidden = !u.advice;
      replaceWhenChanged(advice, JSON.stringify(u.advice), () => [make("h3", {}, "What to do"), ...(u.advice || []).map(a => adviceItem("div", a))]);
      setText(sentence, deadlineSentence(u));
      replaceWhenChanged(picture, JSON.stringify([d.ages, d.learned && d.learned.timeouts, d.conns.map(c => c.idle && c.idle_age_ns), u.idle_limit_ns, chartWidth()]), () => [drawChart(u)]);
      setText(probe, d.probe || "");
      probe.hidden = !d.probe;
      replaceWhenChanged(reasonsBody, JSON.stringify(u.closed_last_hour), () => reasonRows(u.closed_last_hour));
      replaceWhenChanged(evidenceBody, JSON.stringify([d.failed, d.resent]), () => evidenceRows(d.failed, d.resent));
      setText(state, stateText(u));
      connections.update(d.conns, d.max_conn_age_ns);
      setText(policyNote, (u.pattern ? `Selected by the pattern ${u.pattern}.` : "Policies.Default.") +
        (d.policy_set ? " What differs from idlewise's defaults:" : " It is idlewise's defaults."));
      setText(policySet, d.policy_set || "");
      policySet.hidden = !d.policy_set;
      setText(policyAll, d.policy);
    },
  };
}

function stateText(u) {
  const since = `Counted since ${clock(u.since)}.`;
  const budget = `Budget: ${counted(u.budget, "retry", "retries")} could be sent at once now.`;
  return `${budget} Breaker: ${u.breaker || "none"}. ${u.group ? `Group: ${u.group}. ` : ""}${since}`;
}

function track(part, name, title) {
  const i = make("i", { class: name });
  setWidth(i, Math.min(100, 100 * part) + "%");
  return make("div", { class: "track", title }, i);
}

function reasonRows(closed) {
  const rows = Object.entries(closed || {}).sort((a, b) => b[1] - a[1]);
  if (rows.length === 0) return [make("tr", {}, make("td", {}, "None were."))];
  return rows.map(([reason, n]) => make("tr", {},
    make("td", {}, make("b", {}, reason), " ", make("small", {}, reasonText(reason))),
    make("td", { class: "num" }, count(n)),
    make("td", { class: "w-mid" }, track(n / rows[0][1], "by-" + closer(reason), "closed by: " + closer(reason)))));
}

function evidenceRows(failed, resent) {
  const rows = Object.entries(failed || {});
  if (rows.length === 0) return [make("tr", {}, make("td", {}, "There were none."))];
  return rows.map(([evidence, n]) => {
    const again = (resent || {})[evidence] || 0;
    return make("tr", {}, make("td", {}, make("b", {}, evidence), " ", make("small", {}, evidences[evidence] || "")),
      make("td", { class: "num" }, `${count(n)}, ${count(again)} sent again`));
  });
}

const connectionColumns = [
  { key: "id", title: "Conn", numeric: true, help: "Its number, as in events and traces", sort: c => c.id },
  { key: "remote", title: "From → to", help: "Local and remote address", sort: c => c.remote },
  { key: "age", title: "Age", numeric: true, help: "Since its dial began; the bar ends at max_conn_age", sort: c => c.age_ns },
  { key: "idle", title: "Idle age, of its limit", numeric: true, help: "How long it has been idle; the bar ends where idlewise closes it", sort: c => c.idle ? c.idle_age_ns : -1 },
  { key: "requests", title: "Requests", numeric: true, class: "num", help: "How many were sent on it", sort: c => c.requests },
  { key: "rtt", title: "Round trip", numeric: true, class: "num", help: "As measured when it was dialed", sort: c => c.rtt_ns },
];

function connectionTable() {
  const head = make("tr", { role: "row" }), body = make("tbody", { role: "rowgroup" }), none = make("p", {}, "None is open.");
  const sorting = { key: "idle", down: true }, rows = new Map();
  let conns = [], maxAge = 0;
  const element = make("div", { class: "conns", tabindex: "0", role: "region", "aria-label": "Connections" }, none, make("table", { class: "rows", role: "table", "aria-label": "Connections" }, make("thead", { role: "rowgroup" }, head), body));
  const render = () => {
    none.hidden = conns.length > 0;
    element.lastChild.hidden = conns.length === 0;
    const eldest = maxAge || Math.max(1, ...conns.map(c => c.age_ns));
    const ids = new Set(conns.map(c => c.id));
    for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
    arrange(body, sorted(conns, connectionColumns, sorting).map(c => {
      let row = rows.get(c.id);
      if (!row) rows.set(c.id, row = connectionRow(c));
      row.update(c, eldest);
      return row.tr;
    }));
  };
  header(head, connectionColumns, sorting, render);
  return { element, update(list, age) { conns = list; maxAge = age; render(); } };
}

// labeledTrack is a cell with a text above a bar.
function labeledTrack(td) {
  const text = td.firstChild, bar = td.lastChild.firstChild;
  return (words, part, near) => {
    setText(text, words);
    setWidth(bar, part === undefined ? "0" : (100 * Math.min(1, part)).toFixed(1) + "%");
    if (near !== undefined) setClass(bar, near ? "near" : "");
  };
}

// Rows are copied from this one, which is quicker than making each.
const emptyConnectionRow = make("tr", { role: "row" },
  make("td", { role: "cell" }, make("span"), make("br"), make("small")),
  make("td", { role: "cell" }),
  make("td", { role: "cell" }, make("span"), make("div", { class: "track" }, make("i", { class: "age" }))),
  make("td", { role: "cell" }, make("span"), make("div", { class: "track" }, make("i"))),
  make("td", { role: "cell", class: "num" }),
  make("td", { role: "cell", class: "num" }));

function connectionRow(c) {
  const tr = emptyConnectionRow.cloneNode(true);
  const [name, addresses, ageCell, idleCell, requests, rtt] = tr.children;
  name.firstChild.textContent = c.id;
  name.lastChild.textContent = c.proto;
  addresses.append((c.local || "?") + " → ", make("wbr"), c.remote);
  const age = labeledTrack(ageCell), idle = labeledTrack(idleCell);
  return {
    tr,
    update(c, eldest) {
      age(duration(c.age_ns), c.age_ns / eldest);
      if (!c.idle) idle("in use", undefined, false);
      else if (!c.retire_at_ns) idle(duration(c.idle_age_ns) + ", no limit", undefined, false);
      else idle(`${duration(c.idle_age_ns)} of ${duration(c.retire_at_ns)}`, c.idle_age_ns / c.retire_at_ns, c.idle_age_ns > 0.8 * c.retire_at_ns);
      setText(requests, count(c.requests));
      setText(rtt, c.rtt_ns ? duration(c.rtt_ns) : "–");
    },
  };
}

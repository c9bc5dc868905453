// What makes texts and elements. Texts are set as text, never as HTML.

function make(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") e.className = value;
    else if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) e.setAttribute(key, value);
  }
  e.append(...children);
  return e;
}

function draw(tag, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes || {})) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

// setText and its like leave the document alone where nothing changes. They
// remember what they have set, since asking the document takes longer.
function setText(e, text) { if (e.lastText !== text) e.textContent = e.lastText = text; }
function setClass(e, name) { if (e.lastClass !== name) e.className = e.lastClass = name; }
function setTitle(e, text) { if (e.lastTitle !== text) e.title = e.lastTitle = text; }
function setWidth(e, width) { if (e.lastWidth !== width) e.style.width = e.lastWidth = width; }

// replaceWhenChanged replaces e's children by what makes returns, if the key is
// another than the last time.
function replaceWhenChanged(e, key, makes) {
  if (e.lastKey === key) return;
  e.lastKey = key;
  e.replaceChildren(...makes());
}

const millisecond = 1e6, second = 1e9, minute = 60e9, hour = 3600e9;

// duration writes nanoseconds with three digits or so.
function duration(ns) {
  if (ns === 0) return "0s";
  if (ns < millisecond) return trim(ns / 1e3) + "µs";
  if (ns < second) return trim(ns / millisecond) + "ms";
  if (ns < minute) return trim(ns / second) + "s";
  if (ns < hour) return parts(ns, minute, "m", second, "s");
  return parts(ns, hour, "h", minute, "m");
}

function trim(n) { return String(Number(n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : n.toFixed(0))); }

function parts(ns, big, bigUnit, small, smallUnit) {
  let whole = Math.floor(ns / big), rest = Math.round((ns - whole * big) / small);
  if (rest * small >= big) { whole++; rest = 0; }
  return whole + bigUnit + (rest > 0 ? rest + smallUnit : "");
}

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
function count(n) { return n < 1000 ? String(Math.round(n)) : grouped.format(n); }
function counted(n, one, many) { return count(n) + " " + (n === 1 ? one : many || one + "s"); }

// perSecond is "" where it is not known.
function perSecond(rate) {
  if (rate === undefined) return "";
  return (rate < 10 ? trim(rate) : count(rate)) + "/s";
}

function clock(text) {
  const t = new Date(text);
  return t.toLocaleTimeString("en-GB");
}

function total(counts) { return Object.values(counts || {}).reduce((a, b) => a + b, 0); }

function sumOf(list) { return (list || []).reduce((a, b) => a + b, 0); }

// What the names mean, in words.

const reasons = {
  idle_deadline: ["idlewise", "reached its idle limit: idlewise closed it before the server would"],
  max_age: ["idlewise", "reached max_conn_age"],
  max_requests: ["idlewise", "served as many requests as it may"],
  pool_full: ["idlewise", "more connections were idle than max_idle_conns"],
  sibling: ["idlewise", "a request met a closed connection, and this one had to be expected to be closed too"],
  connection_close: ["server", "the request or the response said that the connection ends with it"],
  goaway: ["server", "the server sent an HTTP/2 GOAWAY, as before a restart"],
  server_fin: ["server", "the server closed it while it was idle"],
  server_rst: ["server", "the server reset it while it was idle"],
  liveness: ["server", "a look before use found that the server had closed it"],
  stale_on_use: ["trouble", "the server had closed it when a request was sent on it"],
  vanished: ["trouble", "the peer acknowledged nothing any more"],
  ping_timeout: ["trouble", "the server did not answer an HTTP/2 PING"],
  unexpected_data: ["trouble", "the server sent bytes that no request had asked for"],
  failed: ["trouble", "a request on it failed: a timeout, a malformed response, a connection that broke in mid-response"],
  body_unread: ["program", "the program closed a response body before its end"],
  canceled: ["program", "the context of its request ended"],
  upgraded: ["program", "a 101 response handed it to the program"],
  shutdown: ["program", "Close, Shutdown or CloseIdleConnections"],
};

const closers = ["idlewise", "server", "program", "trouble"];

function closer(reason) { return (reasons[reason] || ["trouble"])[0]; }
function reasonText(reason) { return (reasons[reason] || ["", ""])[1]; }

const evidences = {
  unsent: "no byte of the request was written: safe to send again",
  refused: "the server said that it has not processed it: safe to send again",
  undelivered: "the kernel shows that the server had closed before a byte reached it: safe to send again",
  unknown: "sent, and nothing came back: it may have been executed",
  answered: "a part of a response came: not sent again",
};

const sources = {
  none: ["no limit", "Connections may be idle for ever."],
  max_idle_time: ["max idle time", "Nothing is known of the server, or it allows more than max_idle_time."],
  configured: ["configured", "server_keep_alive of the policy, less a margin."],
  hint: ["announced", "The server's Keep-Alive header, less a margin."],
  learned: ["learned", "The server closed connections at this age again and again; less a margin."],
  provisional: ["provisional", "The server closed a connection at this age once, or an earlier process learned so; less a margin."],
};

// deadlineSentence says how long u's connections may be idle, and why.
function deadlineSentence(u) {
  const limit = duration(u.idle_limit_ns), server = duration(u.server_keep_alive_ns), margin = duration(u.margin_ns);
  const closes = u.closes ? ` (${counted(u.closes, "close")} at that age)` : "";
  switch (u.source) {
    case "none": return "Idle connections are kept without a limit.";
    case "max_idle_time":
      return `Idle connections are closed after ${limit}, by max_idle_time. ` + (u.server_keep_alive_ns ? `The server allows ${server}.` : "No timeout of the server is known.");
    case "configured": return `Idle connections are closed after ${limit}: ${margin} before the ${server} that server_keep_alive says.`;
    case "hint": return `Idle connections are closed after ${limit}: ${margin} before the ${server} that the server announces.`;
    case "learned": return `Idle connections are closed after ${limit}: ${margin} before the ${server} after which the server closes them, as learned${closes}.`;
    case "provisional": return `Idle connections are closed after ${limit}: ${margin} before the ${server} after which the server has closed one${closes}, to be confirmed.`;
  }
  return `Idle connections are closed after ${limit} (${u.source}).`;
}

const levels = { problem: "problem", advice: "advice-level", note: "note" };

// adviceItem is one advice, with what can be pasted.
function adviceItem(tag, a, name, open) {
  const text = make("p", {}, a.text);
  if (name) text.prepend(make("button", { type: "button", class: "where", onclick: () => open(name) }, name), " ");
  const item = make(tag, { class: "advice " + levels[a.level] }, text);
  if (a.yaml) {
    const pre = make("pre", {}, a.yaml.trimEnd());
    item.append(make("div", { class: "yaml" }, pre, copyButton(pre)));
  }
  return item;
}

function copyButton(pre) {
  const button = make("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(pre.textContent + "\n");
      button.textContent = "Copied";
    } catch { // no right to: leave it selected
      getSelection().selectAllChildren(pre);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return button;
}

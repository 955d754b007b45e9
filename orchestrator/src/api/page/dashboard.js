// The dashboard: asks for the whole site once a second and draws it. History of a host is read once and then grows by what comes.
"use strict";

const EVERY_MS = 1000;
const PAST_S = 600;
const AHEAD_S = 90;
const MOVES_EVERY = 3;
const WIDTH = 400;
const HEIGHT = 120;
const LEFT = 36;
const BOTTOM = 14;
const TOKEN = "forestall-token";

const by = (id) => document.getElementById(id);
const history = new Map();
let shown = null;
let turns = 0;

function element(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "polygon"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A token is kept as long as its tab, and sent in the head of a request: it gets into no address, history or log.
async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { ...options, headers });
  const value = await answer.json();
  if (answer.status === 401) {
    sessionStorage.removeItem(TOKEN);
    by("token-form").hidden = false;
    throw new Error(token ? "it does not know this token" : "it wants a token");
  }
  if (!answer.ok) throw new Error(value.error || answer.statusText);
  return value;
}

const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(1)} %`);
const seconds = (ms) => (ms === null ? "–" : `${(ms / 1000).toFixed(1)} s`);
const mib = (bytes) => `${(bytes / 1048576).toFixed(1)} MiB`;
const progress = (copy) => (copy ? `: ${mib(copy.copied_bytes)} sent of ${mib(copy.total_bytes)}, ${mib(copy.remaining_bytes)} left` +
  (copy.rate_bytes_per_s === null ? "" : `, ${mib(copy.rate_bytes_per_s)}/s`) : "");
const clock = (us) => new Date(us / 1000).toLocaleTimeString();

async function remember(host, now) {
  if (!history.has(host.host)) {
    history.set(host.host, []);
    const load = await ask(`v1/hosts/${host.host}/load?since_s=${PAST_S}`);
    history.set(host.host, load.map((point) => [point.at_us, point.load]));
  }
  const points = history.get(host.host);
  if (host.utilization !== null) {
    const at = now - host.sample_age_ms * 1000;
    const last = points.at(-1);
    // The age is told to the microsecond, the instant to a little less: the same sample twice is one point.
    if (!last || at - last[0] > 1e5) points.push([at, host.utilization]);
  }
  while (points.length && points[0][0] < now - PAST_S * 1e6) points.shift();
  return points;
}

function chart(host, points, now) {
  const x = (us) => LEFT + ((us - now) / 1e6 + PAST_S) / (PAST_S + AHEAD_S) * (WIDTH - LEFT);
  const y = (share) => (HEIGHT - BOTTOM) * (1 - Math.min(Math.max(share, 0), 1.05) / 1.05);
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `load of ${host.host}` });
  for (const share of [0, 0.5, 1]) {
    svg.append(element("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: y(share), y2: y(share) }));
    svg.append(element("text", { x: 0, y: y(share) + 3 }, `${share * 100} %`));
  }
  svg.append(element("line", { class: "now", x1: x(now), x2: x(now), y1: 0, y2: HEIGHT - BOTTOM }));
  svg.append(element("text", { x: LEFT, y: HEIGHT - 2 }, `${PAST_S / 60} min ago`));
  svg.append(element("text", { x: x(now) - 10, y: HEIGHT - 2 }, "now"));
  const limit = host.knee ?? host.threshold;
  if (limit !== null) svg.append(element("line", { class: "knee", x1: LEFT, x2: WIDTH, y1: y(limit), y2: y(limit) }));
  if (points.length) {
    const path = points.map(([at, load], i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(load).toFixed(1)}`).join(" ");
    svg.append(element("path", { class: "load", d: path }));
  }
  if (host.forecast) {
    const { level, slope_per_s: slope, trusted, sd } = host.forecast;
    const end = level + (trusted ? slope : 0) * AHEAD_S;
    const edge = now + AHEAD_S * 1e6;
    if (sd !== null) {
      const corners = [[now, level], [edge, end + 2 * sd], [edge, end - 2 * sd]];
      svg.append(element("polygon", { class: "band", points: corners.map(([at, v]) => `${x(at)},${y(v)}`).join(" ") }));
    }
    svg.append(element("path", { class: "forecast", d: `M${x(now)} ${y(level)}L${x(edge)} ${y(end)}` }));
  }
  return svg;
}

function chip(vm, site) {
  const told = site.functions.find((f) => f.vm === vm);
  const seen = site.sightings[vm];
  const viewers = `${told.viewers} viewer${told.viewers === 1 ? "" : "s"}`;
  if (told.given_up) return element("li", { class: "bad" }, `${vm}: needs a person`);
  if (told.migration !== null) return element("li", { class: "moving" }, `${vm}: move ${told.migration} under way`);
  if (seen && seen.verdict === "split") return element("li", { class: "bad" }, `${vm}: runs on ${seen.elsewhere.join(" and ")}, too`);
  if (seen && seen.residency !== "running") return element("li", { class: "bad" }, `${vm}: ${seen.residency} here`);
  const age = site.views[vm]?.picture_age_ms;
  const picture = age ? ` · picture ${age.p95.toFixed(0)} ms old` : "";
  return element("li", {}, `${vm} · ${viewers}${picture} · a move takes ${seconds(told.migration_ms)}`);
}

async function card(host, site) {
  const points = await remember(host, site.at_us);
  const article = element("article", { class: host.freshness, "data-host": host.host });
  const knee = host.forecast && host.forecast.knee_at_us;
  const reaches = knee ? ` · knee in ${Math.max((knee - site.at_us) / 1e6, 0).toFixed(0)} s` : "";
  article.append(element("h3", {}, host.host + (host.draining ? " (being emptied)" : ""),
    element("span", { class: "figure" }, percent(host.utilization))));
  const age = host.sample_age_ms === null ? "no sample yet" : `sample ${seconds(host.sample_age_ms)} old`;
  article.append(element("p", { class: "sample" }, `${host.freshness}: ${age}${reaches}`));
  article.append(chart(host, points, site.at_us));
  const chips = element("ul", { class: "chips" }, ...host.functions.map((vm) => chip(vm, site)));
  for (const move of site.moves.filter((m) => m.target === host.host)) {
    chips.append(element("li", { class: "moving" }, `${move.vm} is coming: ${move.stage}${progress(site.progress[move.migration])}`));
  }
  article.append(chips);
  const taught = site.taught[host.host];
  if (taught) article.append(element("p", { class: "taught" }, taught));
  const why = site.why[host.host];
  article.append(element("p", { class: "why" }, why ? `Nothing leaves: ${why}.` : "A function is leaving."));
  return article;
}

function header(site) {
  const heard = site.hosts.filter((host) => host.freshness === "fresh").length;
  const state = by("state");
  const bad = site.functions.filter((f) => f.given_up).map((f) => f.vm);
  state.textContent = `policy ${site.policy}, trust ${site.trust}, ${heard} of ${site.hosts.length} servers heard, ` +
    `${site.functions.length} functions, ${site.moves.length} moves under way, ${clock(site.at_us)}`;
  state.classList.toggle("alarm", bad.length > 0);
  if (bad.length) state.textContent += ` · needs a person: ${bad.join(", ")}`;
  const arm = by("arm");
  arm.hidden = false;
  arm.textContent = site.armed ? "Disarm" : "Arm (it is disarmed)";
  arm.dataset.path = site.armed ? "v1/disarm" : "v1/arm";
}

async function moves() {
  const list = await ask("v1/moves?limit=15");
  const rows = list.map((move) => {
    const verdict = move.verdict || "open";
    const kind = { moved: "moved", open: "open", stayed: "" }[verdict] ?? "bad";
    const link = element("button", { type: "button", "data-move": move.migration }, String(move.migration));
    const cells = [move.vm, move.source, move.target, move.cause, clock(move.decided_at_us), seconds(move.predicted_ms),
      seconds(move.took_ms), seconds(move.margin_ms),
      move.engine_downtime_ms === null ? "–" : `${move.engine_downtime_ms.toFixed(0)} ms`];
    const row = element("tr", { "data-move": move.migration }, element("td", {}, link));
    row.append(...cells.map((text) => element("td", {}, text)), element("td", { class: kind }, verdict + progress(move.progress)));
    return row;
  });
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: 11, class: "none" }, "Nothing was moved yet.")));
  by("moves").replaceChildren(...rows);
}

async function why() {
  if (shown === null) return;
  const told = await ask(`v1/moves/${shown}/why`);
  by("why").textContent = told.lines.join("\n");
  by("why").hidden = false;
}

// The map: servers by site, those that no site names last.
function map(site, cards) {
  const card = new Map(site.hosts.map((host, at) => [host.host, cards[at]]));
  const group = (name, hosts) => element("section", { class: "site", "data-site": name },
    ...(name ? [element("p", { class: "place" }, name)] : []), ...hosts.map((host) => card.get(host)));
  const placed = new Set(Object.values(site.sites).flat());
  const apart = site.hosts.map((host) => host.host).filter((host) => !placed.has(host));
  const groups = Object.entries(site.sites).map(([name, hosts]) => group(name, hosts));
  return apart.length > 0 ? [...groups, group("", apart)] : groups;
}

async function turn() {
  try {
    const site = await ask("v1/site");
    const cards = await Promise.all(site.hosts.map((host) => card(host, site)));
    header(site);
    by("hosts").replaceChildren(...map(site, cards));
    if (turns++ % MOVES_EVERY === 0) {
      await moves();
      await why();
    }
  } catch (error) {
    by("state").textContent = `The orchestrator does not answer: ${error.message}`;
    by("state").classList.add("alarm");
  }
  setTimeout(turn, EVERY_MS);
}

by("moves").addEventListener("click", (event) => {
  const row = event.target.closest("[data-move]");
  if (row) {
    shown = row.dataset.move;
    why();
  }
});
by("arm").addEventListener("click", async (event) => {
  const headers = { "content-type": "application/json" };
  try {
    await ask(event.target.dataset.path, { method: "POST", headers, body: "{}" });
    by("notice").textContent = "";
  } catch (error) {
    by("notice").textContent = error.message;
  }
});
by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, by("token").value);
  by("token").value = "";
  by("token-form").hidden = true;
});
turn();

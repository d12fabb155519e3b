"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = (id) => document.getElementById(id);
const whole = (n) => n.toLocaleString("en");
const number = (v) => (typeof v !== "number" ? (v ?? "–") : Number.isInteger(v) ? whole(v)
  : Math.abs(v) >= 1e-3 ? Number(v.toPrecision(3)).toString() : v.toExponential(1));
const COLUMNS = [["source", "source"], ["target", "target"], ["weight", "weight, nats"], ["mi_nats", "MI, nats"], ["se_nats", "± se"],
  ["q_value", "q-value"], ["p_value", "p-value"], ["spearman", "Spearman"], ...(facts.lagged ? [["lag_s", "lag, s"]] : [])];

async function ask(path, query = {}) {
  const answer = await fetch(`${path}?${new URLSearchParams(query)}`).catch(() => null);
  if (!answer) throw new Error("the server does not answer: was mmg-ray explore stopped?");
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

function make(name, parent, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  parent.append(made);
  return made;
}

function fail(place, error) {
  place.textContent = error.message;
  place.classList.add("error");
}

// --- the run, and how far the server has read its edges

at("title").textContent = facts.url;
at("about").textContent = `${whole(facts.n_variables)} variables, ${whole(facts.n_samples)} samples, ${whole(facts.n_pairs)} pairs, denoiser `
  + `${facts.denoiser}${facts.conditions.length ? `, given ${facts.conditions.join(", ")}` : ""}.`
  + (facts.lagged ? " An edge leads from the end that is first; its lag is the time by which the target follows." : "");
Object.entries(facts.rankings).forEach(([key, label]) => make("option", at("by"), label, { value: key }));
if (facts.lagged) at("by").value = "p_value";
at("max_q").max = facts.loosest_q;

async function wait() {
  const state = await ask("/state");
  if (!state.ready) {
    at("state").textContent = `Reading the edges, ${whole(state.read)} of ${whole(state.of)} shards `;
    make("progress", at("state"), undefined, { max: state.of, value: state.read });
    return wait();  // the server answers when it has read more
  }
  at("state").textContent = state.n_left_out ? `${whole(state.n_left_out)} edges of the smallest weights are not shown: they do not fit into memory.` : "";
  if (!state.n_tests) {
    at("state").textContent += " No pair of this run has a p-value, so edges are by MI alone.";
    at("max_q").disabled = true;
    at("max_q").value = 1;
  }
  return state;
}

// --- edges

// The view is in the address behind #, so that reloading or a bookmark brings it back.
const view = new URLSearchParams(location.hash.slice(1));
["variable", "max_q", "min_mi", "by"].forEach((id) => { if (view.has(id)) at(id).value = view.get(id); });
function keep(changes) {
  Object.entries(changes).forEach(([key, value]) => view.set(key, value));
  history.replaceState(null, "", `#${view}`);
}

const filters = () => ({ variable: at("variable").value.trim(), max_q: at("max_q").value, min_mi: at("min_mi").value, by: at("by").value });
let asked = 0;

async function showEdges() {
  const mine = ++asked, query = filters();
  keep(query);
  at("download").href = `/edges.csv?${new URLSearchParams(query)}`;
  at("count").classList.remove("error");
  let found;
  try { found = await ask("/edges", query); } catch (error) {
    if (mine === asked) { fail(at("count"), error); at("edges").tBodies[0].replaceChildren(); }
    return;
  }
  if (mine !== asked) return;  // the filters have changed since
  const of = query.variable ? ` of ${query.variable}` : "";
  at("count").textContent = `${whole(found.n)} edges${of}${found.n > found.rows.length ? `, the first ${whole(found.rows.length)} here; the download has all` : ""}.`;
  const head = at("edges").tHead, body = at("edges").tBodies[0];
  head.replaceChildren();
  body.replaceChildren();
  const titles = make("tr", head);
  COLUMNS.forEach(([key, title], k) => make("th", titles, title, { scope: "col", class: k > 1 ? "n" : "" }));
  found.rows.forEach((row) => {
    const line = make("tr", body);
    COLUMNS.forEach(([key], k) => {
      const cell = make("td", line, undefined, { class: k > 1 ? "n" : "" });
      if (k > 1) { cell.textContent = number(row[key]); return; }
      make("button", cell, row[key], { type: "button", title: `edges of ${row[key]}` })
        .addEventListener("click", (event) => { event.stopPropagation(); choose(row[key]); });
    });
    line.tabIndex = 0;
    const open = () => { body.querySelector(".chosen")?.classList.remove("chosen"); line.classList.add("chosen"); showPair(row); };
    line.addEventListener("click", open);
    line.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === line) open(); });
  });
}

function choose(name) {
  at("variable").value = name;
  showEdges();
}

let typed = 0;
function suggest(id, then = () => {}) {
  at(id).addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(async () => {
      const text = at(id).value;
      const found = await ask("/variables", { text }).catch(() => []);
      at("matches").replaceChildren();
      found.forEach((v) => make("option", at("matches"), `${whole(v.n_edges)} edges`, { value: v.name }));
      then(text, found);
    }, 150);
  });
}
suggest("variable", (text, found) => { if (!text || found.some((v) => v.name === text)) showEdges(); });
suggest("one");
suggest("other");
at("filters").addEventListener("submit", (event) => { event.preventDefault(); showEdges(); });
["variable", "max_q", "min_mi", "by"].forEach((id) => at(id).addEventListener("change", showEdges));
at("all").addEventListener("click", () => choose(""));

// --- one pair

let opened = 0;
async function showPair(edge) {
  const mine = ++opened;
  keep({ source: edge.source, target: edge.target });
  at("pair-title").textContent = `${edge.source} ${facts.lagged ? "→" : "–"} ${edge.target}`;
  at("pair-said").classList.remove("error");
  at("pair-said").textContent = "Reading ...";
  at("pair-charts").replaceChildren();
  at("pair-facts").replaceChildren();
  let found;
  try { found = await ask("/pair", { source: edge.source, target: edge.target }); } catch (error) {
    if (mine === opened) fail(at("pair-said"), error);
    return;
  }
  if (mine !== opened) return;
  at("pair-said").textContent = !found.row ? "This pair has no row: the run does not have it, or a filter left it out."
    : found.charts.length ? "" : "There is no chart of this pair: it is of groups, or of too few samples.";
  found.charts.forEach(([svg, caption]) => {
    const figure = make("figure", at("pair-charts"));
    figure.insertAdjacentHTML("beforeend", svg);  // drawn by the server, names escaped
    make("figcaption", figure, caption);
  });
  Object.entries(found.row ?? {}).forEach(([key, value]) => {
    if (["i", "j", "source", "target"].includes(key)) return;
    const line = make("tr", at("pair-facts"));
    make("th", line, key, { scope: "row" });
    make("td", line, number(value));
  });
}

at("any-pair").addEventListener("submit", (event) => {
  event.preventDefault();
  showPair({ source: at("one").value.trim(), target: at("other").value.trim() });
});

// --- modules

at("find-modules").addEventListener("click", async () => {
  at("modules-said").textContent = "Looking for groups of variables with many edges among themselves ...";
  at("modules-said").classList.remove("error");
  at("find-modules").disabled = true;
  try {
    const found = await ask("/modules");
    at("modules").replaceChildren();
    const titles = make("tr", at("modules"));
    ["module", "variables", "best connected first"].forEach((title, k) => make("th", titles, title, { scope: "col", class: k === 1 ? "n" : "" }));
    found.forEach((module, k) => {
      const line = make("tr", at("modules"));
      make("td", line, String(k + 1));
      make("td", line, whole(module.members.length), { class: "n" });
      const cell = make("td", line);
      module.members.slice(0, 30).forEach((name, m) => {
        if (m) cell.append(", ");
        make("button", cell, name, { type: "button" }).addEventListener("click", () => { choose(name); scrollTo(0, 0); });
      });
      if (module.members.length > 30) cell.append(`, and ${whole(module.members.length - 30)} more`);
    });
    at("modules-said").textContent = found.length ? "Louvain communities of the edges of largest weight at a false-discovery rate of 5 %; a name shows its edges." : "No group of three or more variables.";
  } catch (error) { fail(at("modules-said"), error); }
  at("find-modules").disabled = false;
});

wait().then(() => {
  if (view.has("source")) showPair({ source: view.get("source"), target: view.get("target") });
  return showEdges();
}).catch((error) => fail(at("state"), error));

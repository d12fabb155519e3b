"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const number = (v) => (v === null ? "–" : v.toPrecision(3));

// Heat map: one cell a pixel, drawn large; the pointer or the arrow keys read a cell out.
(function heat() {
  const canvas = document.getElementById("heat");
  if (!canvas) return;
  const names = data.heat.names, rows = data.heat.rows, n = names.length;
  const said = document.getElementById("heat-said");
  const most = Math.max(...rows.flat().filter((v) => v !== null), 1e-9);
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  canvas.width = canvas.height = n;
  const context = canvas.getContext("2d"), image = context.createImageData(n, n);
  rows.forEach((row, i) => row.forEach((v, j) => {
    let colour = [128, 128, 128, 70];
    if (v !== null) {  // by the square root, which is about |rho|
      const t = Math.sqrt(Math.min(v / most, 1)) * 4, k = Math.min(Math.floor(t), 3), f = t - k;
      colour = stops[k].map((c, m) => c + f * (stops[k + 1][m] - c)).concat(255);
    }
    image.data.set(colour, 4 * (i * n + j));
  }));
  context.putImageData(image, 0, 0);
  let at = [0, 0];
  const say = () => {
    const v = rows[at[0]][at[1]];
    said.textContent = `${names[at[0]]} – ${names[at[1]]}: ` + (at[0] === at[1] ? "itself" :
      v === null ? "no value" : `${v.toFixed(4)} nats`);
  };
  canvas.addEventListener("pointermove", (e) => {
    const box = canvas.getBoundingClientRect(), clamp = (v) => Math.max(0, Math.min(n - 1, Math.floor(v)));
    at = [clamp((e.clientY - box.top) / box.height * n), clamp((e.clientX - box.left) / box.width * n)];
    say();
  });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
    if (!step) return;
    e.preventDefault();
    at = at.map((v, k) => Math.max(0, Math.min(n - 1, v + step[k])));
    say();
  });
})();

// Network: laid out when the page was made; pan, zoom, search, and the neighbours of one variable.
(function graph() {
  const box = document.getElementById("graph");
  if (!box) return;
  const { nodes, edges } = data.graph, svg = box.querySelector("svg"), world = svg.querySelector("g");
  const said = document.getElementById("graph-said"), make = (name, attributes, parent) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([k, v]) => made.setAttribute(k, v));
    parent.appendChild(made);
    return made;
  };
  const most = Math.max(...edges.map((e) => e.weight));
  const around = nodes.map(() => []);
  const drawn = edges.map((e) => {
    around[e.a].push(e); around[e.b].push(e);
    const [p, q] = [nodes[e.a], nodes[e.b]];
    const line = make("line", { x1: p.x, y1: p.y, x2: q.x, y2: q.y, class: e.sign < 0 ? "edge minus" : "edge",
      "stroke-width": 1 + 4 * e.weight / most }, world);
    make("title", {}, line).textContent = describe(e);
    return line;
  });
  function describe(e) {
    return `${nodes[e.a].name} ${data.graph.directed ? "→" : "–"} ${nodes[e.b].name}: ${e.mi.toFixed(3)} nats, q ${number(e.q)}`;
  }
  const shown = nodes.map((p, k) => {
    const node = make("g", { class: `node m${p.module}`, tabindex: 0, role: "button", "aria-label": `${p.name}, ${around[k].length} edges`,
      transform: `translate(${p.x} ${p.y})` }, world);
    make("circle", { r: 3 + Math.sqrt(around[k].length) }, node);
    make("text", { x: 5 + Math.sqrt(around[k].length), y: 4 }, node).textContent = p.name.length > 24 ? p.name.slice(0, 23) + "…" : p.name;
    node.addEventListener("click", () => choose(k));
    node.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(k); } });
    return node;
  });
  // Names that would overlap are left out, those of the best connected last; hovering or choosing shows them.
  const bySize = [...nodes.keys()].sort((a, b) => around[b].length - around[a].length || a - b);
  function declutter(scale) {
    world.style.setProperty("--name", `${11 / Math.sqrt(scale)}px`);
    shown.forEach((node) => node.classList.remove("quiet"));  // what is not displayed has no size
    const taken = nodes.map((p) => [p.x - 4, p.y - 4, p.x + 4, p.y + 4]);
    for (const k of bySize) {
      const b = shown[k].lastChild.getBBox(), { x, y } = nodes[k];
      const own = [x + b.x, y + b.y, x + b.x + b.width, y + b.y + b.height];
      const quiet = taken.some((o, m) => m !== k && own[0] < o[2] && o[0] < own[2] && own[1] < o[3] && o[1] < own[3]);
      shown[k].classList.toggle("quiet", quiet);
      if (!quiet) taken.push(own);
    }
  }
  let chosen = -1;
  function choose(k) {
    chosen = chosen === k ? -1 : k;
    const near = new Set(chosen < 0 ? nodes.keys() : [chosen, ...around[chosen].flatMap((e) => [e.a, e.b])]);
    shown.forEach((node, m) => { node.classList.toggle("faded", !near.has(m)); node.classList.toggle("near", chosen >= 0 && near.has(m)); node.classList.toggle("chosen", m === chosen); });
    drawn.forEach((line, m) => line.classList.toggle("faded", chosen >= 0 && edges[m].a !== chosen && edges[m].b !== chosen));
    said.textContent = chosen < 0 ? "" : [...around[chosen]].sort((e, f) => f.mi - e.mi).slice(0, 8).map(describe).join("; ");
  }
  let view = { x: 0, y: 0, k: 1 };
  const move = () => world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
  const zoom = (f, x = 500, y = 300) => {
    const k = Math.max(0.4, Math.min(12, view.k * f));
    view = { x: x - (x - view.x) * k / view.k, y: y - (y - view.y) * k / view.k, k };
    move();
    declutter(k);
  };
  const place = (e) => new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
  svg.addEventListener("wheel", (e) => { if (!e.ctrlKey && !e.metaKey) return; e.preventDefault(); const p = place(e); zoom(Math.exp(-e.deltaY / 400), p.x, p.y); }, { passive: false });
  let held = null;
  svg.addEventListener("pointerdown", (e) => { held = place(e); });
  window.addEventListener("pointerup", () => { held = null; });
  svg.addEventListener("pointermove", (e) => {
    if (!held) return;
    const p = place(e);
    view.x += p.x - held.x; view.y += p.y - held.y; held = p;
    move();
  });
  document.getElementById("closer").addEventListener("click", () => zoom(1.4));
  document.getElementById("wider").addEventListener("click", () => zoom(1 / 1.4));
  document.getElementById("whole").addEventListener("click", () => { view = { x: 0, y: 0, k: 1 }; move(); declutter(1); if (chosen >= 0) choose(chosen); });
  document.getElementById("search").addEventListener("change", (e) => {
    const wanted = e.target.value.trim().toLowerCase();
    const k = nodes.findIndex((p) => p.name.toLowerCase() === wanted);
    if (k < 0) { said.textContent = wanted ? `${e.target.value} is not among the variables shown` : ""; return; }
    if (chosen !== k) choose(k);
    view = { x: 500 - 2 * nodes[k].x, y: 300 - 2 * nodes[k].y, k: 2 };
    move();
    declutter(2);
  });
  declutter(1);
})();

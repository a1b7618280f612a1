// A part's page, filled from the data block. Text is shown as text only.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
let view = null;

function rows(table, head, lines) {
  const add = (cells, kind) => {
    const row = table.insertRow();
    for (const cell of cells) {
      const element = document.createElement(kind);
      element.textContent = cell;
      row.append(element);
    }
  };
  if (head) add(head, "th");
  lines.forEach(line => add(line, "td"));
}

function drawGraph() {
  const svg = at("graph"), space = "http://www.w3.org/2000/svg";
  at("graph-note").textContent = data.graph.note;
  svg.style.display = data.graph.places.length ? "" : "none";
  for (const [from, to] of data.graph.arcs) {
    const line = document.createElementNS(space, "line");
    const [x1, y1] = data.graph.places[from], [x2, y2] = data.graph.places[to];
    for (const [key, value] of Object.entries({x1, y1, x2, y2})) line.setAttribute(key, value);
    svg.append(line);
  }
  const radius = Math.max(0.012, Math.min(0.045, 0.6 / Math.sqrt(data.graph.places.length || 1) / 4));
  data.graph.places.forEach(([x, y], face) => {
    const dot = document.createElementNS(space, "circle");
    for (const [key, value] of Object.entries({cx: x, cy: y, r: radius})) dot.setAttribute(key, value);
    dot.dataset.face = face;
    dot.addEventListener("click", () => choose(face, true));
    svg.append(dot);
  });
}

function coloring() {
  return data.colorings[at("coloring").selectedIndex - 1] || null;
}

function recolor() {
  const chosen = coloring();
  if (view) view.setFaceColors(chosen ? chosen.colors : null);
  for (const dot of at("graph").querySelectorAll("circle")) {
    const color = chosen ? chosen.colors[dot.dataset.face] : [172, 193, 218];
    dot.style.fill = "rgb(" + (color || [190, 190, 190]).join(",") + ")";
  }
  at("legend").replaceChildren(...(chosen ? chosen.legend : []).map(([color, text]) => {
    const item = document.createElement("li"), patch = document.createElement("span");
    patch.style.background = "rgb(" + color.join(",") + ")";
    item.append(patch, text);
    return item;
  }));
}

function choose(face, updateView) {
  const chosen = coloring();
  at("face").textContent = face < 0 ? "" : "face " + face + (chosen ? ": " + chosen.texts[face] : "");
  if (updateView && view) view.select(face < 0 ? [] : [face]);
  for (const dot of at("graph").querySelectorAll("circle")) {
    dot.classList.toggle("chosen", Number(dot.dataset.face) === face);
  }
}

async function showSolid() {
  const canvas = at("canvas");
  if (data.hasMesh) {
    try {
      const answer = await fetch("mesh?id=" + data.id);
      if (!answer.ok) throw new Error("the mesh cannot be read");
      const buffer = await answer.arrayBuffer();
      view = new PartView(canvas, {onPick: face => choose(face, false)});
      view.load(buffer);
      recolor();
      return;
    } catch (error) { at("face").textContent = error.message; }
  } else at("face").textContent = "no 3D data";
  const instead = document.createElement(data.hasPicture ? "img" : "div");
  if (data.hasPicture) instead.src = "thumb?id=" + data.id;
  else instead.textContent = "no preview";
  instead.id = "instead";
  canvas.replaceWith(instead);
}

document.title = data.name + " – dflow";
at("name").textContent = data.id + ": " + data.name;
at("source").textContent = data.source;
if (data.id > 0) at("previous").href = "part?id=" + (data.id - 1);
if (data.id < data.last) at("next").href = "part?id=" + (data.id + 1);
at("coloring").append(new Option("one colour"), ...data.colorings.map(c => new Option(c.name)));
at("coloring").selectedIndex = data.colorings.length ? 1 : 0;
at("coloring").addEventListener("change", recolor);
rows(at("values"), null, data.values);
rows(at("arrays"), ["group", "array", "shape", "type", "range", "first values"], data.arrays);
for (const failure of data.failures) {
  const box = document.createElement("div"), trace = document.createElement("pre"), head = document.createElement("b");
  box.className = "failure";
  head.textContent = failure.kind + " in " + failure.task + ": " + failure.message;
  trace.textContent = failure.traceback;
  box.append(head, trace);
  at("failures").append(box);
}
drawGraph();
recolor();
window.ready = showSolid();


"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const MIDDLE = 0.3, HIGH = 0.5;

function element(name, className, text, parent) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function drawn(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

const isDone = (one) => one.state === "done" || one.state === "accepted";
const ml = (value) => (value >= 0.05 || value === 0 ? value.toFixed(1) : value.toPrecision(2)) + " mL";
const level = (doubt) => (doubt >= HIGH ? "high" : doubt >= MIDDLE ? "middle" : "low");
const color = (parts) => `rgb(${parts.map((part) => Math.round(part * 255)).join(",")})`;
const anchor = (place) => `case-${place}`;

// Each case, as a row that is filled when it comes near the window

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    near.unobserve(entry.target);
    fill(entry.target, data.cases[Number(entry.target.dataset.place)]);
  }
}, { rootMargin: "600px" });

function article(one, place) {
  const made = element("article", isDone(one) ? "" : "short");
  made.id = anchor(place);
  made.dataset.place = place;
  near.observe(made);
  return made;
}

function fill(made, one) {
  if (one.thumbnail) {
    const image = element("img", "", undefined, made);
    image.src = "data:image/png;base64," + one.thumbnail;
    image.alt = "";
  } else {
    element("div", "noimage", one.state === "failed" ? "!" : "…", made);
  }
  const left = element("div", "case", undefined, made);
  element("div", "name", one.name, left);
  if (isDone(one)) {
    element("span", "doubt " + level(one.doubt), "doubt " + one.doubt.toFixed(2), left);
    if (one.accepted) {
      const words = one.corrected ? "corrected and accepted" : "accepted";
      element("span", "accepted", words, left).title = one.accepted;
    }
    if (one.draft) element("span", "draft", "draft", left).title = "Work on it is not accepted yet";
    element("p", "", `${one.seconds.toFixed(1)} s` + (one.rate ? `, ${one.rate.toFixed(1)} slices/s` : ""), left);
    const files = [["segmentation", "segmentation.seg.nrrd"], ["overview", "overview.png"], ["report", "report.json"]];
    if (one.corrected) files.splice(1, 0, ["the model's", "segmentation.model.seg.nrrd"]);
    for (const [text, file] of files) {
      const link = element("a", "", text, left);
      link.href = encodeURIComponent(one.name) + "/" + file;
    }
  }
  const right = element("div", "objects", undefined, made);
  if (one.state === "failed") element("p", "failed", "Failed: " + one.failed, right);
  if (one.state === "open") element("p", "", "Not done yet.", right);
  for (const object of one.objects) objectLine(object, one, right);
  for (const notice of one.notices) element("p", "stops", "Note: " + notice, right);
}

function objectLine(object, one, parent) {
  const line = element("div", "object", undefined, parent);
  const name = element("div", "", undefined, line);
  element("span", "swatch", undefined, name).style.background = color(object.color);
  name.append(object.name);
  const volume = element("div", "volume" + (object.outlier ? " unusual" : ""), ml(object.volume_ml), line);
  if (object.outlier) volume.title = "Far from the volumes of the other cases";
  strip(object, one, line);
  const words = element("div", "stops", undefined, line);
  const said = [];
  if (!object.slices) said.push("nothing found");
  if (object.lowest) said.push(`lowest confidence ${object.lowest[0].toFixed(2)} on slice ${object.lowest[1]}`);
  for (const [direction, reason] of Object.entries(object.stops)) said.push(`${direction} ${reason}`);
  words.textContent = said.join("; ");
  if (object.agreement) {
    const agreed = object.agreement;
    element("div", "", `Dice ${agreed.dice.toFixed(3)}, surface ${agreed.surface_dice.toFixed(3)}, ` +
      `reference ${ml(agreed.reference_ml)}`, words);
  }
}

function strip(object, one, parent) {
  const canvas = element("canvas", "", undefined, parent);
  const [first, last] = one.range, count = last - first;
  canvas.width = 600;
  canvas.height = 48;
  canvas.title = `Confidence on slices ${first} to ${last - 1}; black: prompted`;
  const pen = canvas.getContext("2d"), width = canvas.width / count;
  pen.fillStyle = "#8882";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  object.strip.forEach((percent, place) => {
    if (percent === null) return;
    const height = Math.max(2, canvas.height * percent / 100);
    pen.fillStyle = { high: "#c25100", middle: "#f2c200", low: "#56b4e9" }[level(1 - percent / 100)];
    pen.fillRect((object.start + place - first) * width, canvas.height - height, Math.max(1, width), height);
  });
  pen.fillStyle = "#000";
  for (const slice of object.prompted) pen.fillRect((slice - first) * width, 0, Math.max(3, width), 8);
}

// Distributions and agreement

function dots(title, points, parent) {
  const figure = element("figure", "", undefined, parent), wide = 360, high = 92, left = 8;
  element("h2", "", title, figure);
  const svg = drawn("svg", { width: wide, height: high, role: "img", "aria-label": title }, figure);
  const values = points.map((point) => point.value).filter((value) => value > 0).map(Math.log10);
  const low = Math.min(...values, Infinity), top = Math.max(...values, -Infinity);
  const span = top - low || 1;
  const x = (value) => left + (value > 0 ? 24 + (Math.log10(value) - low) / span * (wide - 2 * left - 24) : 0);
  const stacks = new Map();
  for (const point of points) {
    const at = Math.round(x(point.value) / 5) * 5;
    stacks.set(at, [...(stacks.get(at) || []), point]);
  }
  const step = Math.min(5, (high - 30) / Math.max(...[...stacks.values()].map((stack) => stack.length), 1));
  for (const [at, stack] of stacks) stack.forEach((point, place) => dot(svg, at, high - 21 - place * step, point));
  if (values.length) {
    const ticks = span === 1 && low === top ? [low] : [low, (low + top) / 2, top];
    for (const tick of ticks) {
      const anchored = tick === low && ticks.length > 1 ? "start" : tick === top ? "end" : "middle";
      drawn("text", { x: x(10 ** tick), y: high - 4, "text-anchor": anchored }, svg, ml(10 ** tick));
    }
  }
  const unusual = points.filter((point) => point.outlier).length;
  element("figcaption", "", `${points.length} cases, volumes on a logarithmic scale` +
    (unusual ? `; ${unusual} far from the others` : ""), figure);
}

function dot(svg, x, y, point) {
  const circle = drawn("circle", { cx: x, cy: y, r: point.outlier ? 4 : 3 }, svg);
  if (point.outlier) circle.setAttribute("class", "outlier");
  drawn("title", {}, circle, `${point.name}: ${point.text}`);
  circle.addEventListener("click", () => goTo(point.place));
}

function blandAltman(name, agreed, parent) {
  const figure = element("figure", "", undefined, parent), wide = 360, high = 120, pad = 40;
  element("h2", "", `${name}: difference of volumes`, figure);
  const svg = drawn("svg", { width: wide, height: high, role: "img" }, figure);
  const points = agreed.points;
  const xs = points.map((point) => point.mean), ys = points.map((point) => point.difference);
  const limits = [agreed.mean - 1.96 * agreed.sd, agreed.mean, agreed.mean + 1.96 * agreed.sd];
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)], all = [...ys, ...limits, 0];
  const [y0, y1] = [Math.min(...all), Math.max(...all)];
  const x = (value) => pad + (value - x0) / (x1 - x0 || 1) * (wide - pad - 12);
  const y = (value) => high - 24 - (value - y0) / (y1 - y0 || 1) * (high - 36);
  limits.forEach((limit, place) => {
    drawn("line", { x1: pad, x2: wide - 8, y1: y(limit), y2: y(limit), "stroke-dasharray": place === 1 ? "" : "4 3" }, svg);
    drawn("text", { x: 2, y: y(limit) + 4 }, svg, limit.toPrecision(3));
  });
  for (const point of points) {
    dot(svg, x(point.mean), y(point.difference), { ...point, text: `${ml(point.difference)} at ${ml(point.mean)}` });
  }
  drawn("text", { x: pad, y: high - 6 }, svg, ml(x0));
  drawn("text", { x: wide - 8, y: high - 6, "text-anchor": "end" }, svg, ml(x1));
  element("figcaption", "", "result minus reference over their mean; lines: mean, 1.96 standard deviations", figure);
}

function agreementTable(parent) {
  const found = objects().filter(([, object]) => object.agreement);
  if (!found.length) return;
  const figure = element("figure", "agreement", undefined, parent);
  element("h2", "", "Agreement with references", figure);
  const table = element("table", "numbers", undefined, figure);
  const head = element("tr", "", undefined, table);
  for (const text of ["object", "cases", "Dice", `surface Dice (${data.tolerance_mm} mm)`, "difference of volumes"]) {
    element("th", "", text, head);
  }
  for (const [name, { agreement }] of found) {
    const line = element("tr", "", undefined, table);
    for (const text of [name, agreement.points.length, agreement.dice.toFixed(3), agreement.surface_dice.toFixed(3),
      `${agreement.mean.toFixed(1)} ` + (agreement.points.length > 1 ? `± ${agreement.sd.toFixed(1)} mL` : "mL")]) {
      element("td", "", text, line);
    }
  }
}

// Those of most cases first

const objects = () => Object.entries(data.objects).sort(([, a], [, b]) => b.points.length - a.points.length);

function plots() {
  const parent = document.getElementById("plots");
  agreementTable(parent);
  for (const [name, object] of objects().filter(([, object]) => object.points.length > 1)) {
    const group = element("div", "plots", undefined, parent);
    dots(name, object.points, group);
    if (object.agreement && object.agreement.points.length > 1) blandAltman(name, object.agreement, group);
  }
}

// Filters and order

const asked = (id) => document.getElementById(id);
const worstDice = (one) => Math.min(...one.objects.map((object) => object.agreement?.dice ?? Infinity));
const volume = (one) => one.objects.reduce((sum, object) => sum + object.volume_ml, 0);
const ORDERS = {
  doubt: (a, b) => Boolean(a.accepted) - Boolean(b.accepted) || b.doubt - a.doubt || a.row - b.row,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
  volume: (a, b) => volume(b) - volume(a),
  dice: (a, b) => (worstDice(a) === worstDice(b) ? a.row - b.row : worstDice(a) - worstDice(b)),
  row: (a, b) => a.row - b.row,
};

function fits(one) {
  const text = asked("search").value.trim().toLowerCase(), state = asked("state").value;
  if (text && ![one.name, ...one.objects.map((object) => object.name)].some((name) => name.toLowerCase().includes(text))) {
    return false;
  }
  if (state === "outlier" && !one.objects.some((object) => object.outlier)) return false;
  if (state === "empty" && !one.objects.some((object) => !object.slices)) return false;
  if (["done", "accepted", "failed", "open"].includes(state) && one.state !== state) return false;
  return one.doubt >= Number(asked("least").value);
}

function show() {
  const places = [...data.cases.keys()].filter((place) => fits(data.cases[place]));
  const order = ORDERS[asked("order").value];
  places.sort((a, b) => order(data.cases[a], data.cases[b]));
  near.disconnect();
  asked("leastShown").textContent = asked("least").value;
  asked("shown").textContent = `${places.length} of ${data.cases.length} shown`;
  asked("cases").replaceChildren(...places.map((place) => article(data.cases[place], place)));
}

function goTo(place) {
  let made = document.getElementById(anchor(place));
  if (!made) {
    asked("search").value = "";
    asked("state").value = "";
    asked("least").value = 0;
    show();
    made = document.getElementById(anchor(place));
  }
  for (const other of document.querySelectorAll(".chosen")) other.classList.remove("chosen");
  made.classList.add("chosen");
  made.scrollIntoView({ block: "center" });
}

asked("counts").textContent = data.counts;
for (const id of ["search", "state", "least", "order"]) asked(id).addEventListener("input", show);
plots();
show();

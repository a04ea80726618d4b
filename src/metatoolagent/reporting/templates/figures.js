// Draws the figures, and keeps them and their tables at what the reader chose.
const figures = JSON.parse(document.getElementById("data-figures").textContent);
const choice = {split: document.querySelector("[data-choice=split]").value, pool: "all", reading: "scored"};
const views = {};
const drawn = new Set();

function chosen(figure) {
  const names = (figure.spec.params || []).map((param) => param.name);
  return figure.rows.filter((row) => names.every((name) => row[name] === choice[name]));
}

function cell(tag, value) {
  const element = document.createElement(tag);
  element.textContent = value;
  return element;
}

// What a row is of comes before its numbers.
const ORDER = ["split", "pool", "reading", "method", "value", "pair", "distractor", "candidates", "update", "accuracy", "low", "high"];

function place_of(column) {
  const place = ORDER.indexOf(column);
  return place < 0 ? ORDER.length : place;
}

function written(value) {
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : value ?? "";
}

function fill(name) {
  const figure = figures[name];
  const rows = chosen(figure);
  const place = document.querySelector(`#figure-${name} .numbers .scroll`);
  const table = document.createElement("table");
  const columns = Object.keys(figure.rows[0] || {}).sort((one, other) => place_of(one) - place_of(other));
  const head = table.createTHead().insertRow();
  columns.forEach((column) => head.append(cell("th", column)));
  const body = table.createTBody();
  rows.forEach((row) => {
    const line = body.insertRow();
    columns.forEach((column) => line.append(cell("td", written(row[column]))));
  });
  place.replaceChildren(table);
}

const last = {};

// One drawing of a figure at a time: what a reader chooses meanwhile is drawn behind it.
function draw(element) {
  const name = element.dataset.figure;
  drawn.add(element);
  last[name] = (last[name] || Promise.resolve()).then(() => drawNow(element));
}

// A legend and an axis' title stand over and under the plot, which is what the axis labels leave of the figure; they would end
// outside a narrow one. From its right edge they have the whole of it, and a method's mark and name take 90 pixels at most.
function fitting(config, element) {
  const columns = Math.max(1, Math.floor(element.clientWidth / 90));
  return {...config, legend: {...config.legend, columns, layout: {top: {anchor: "end"}}}, axisX: {titleAnchor: "end"}};
}

async function drawNow(element) {
  const name = element.dataset.figure;
  const figure = figures[name];
  const params = (figure.spec.params || []).map((param) => ({...param, value: choice[param.name]}));
  const config = fitting(figure.spec.config, element);
  const spec = {...figure.spec, config, params, data: {name: "rows", values: figure.rows}};
  const {line, step} = spec.usermeta || {};
  if (line) spec.height = new Set(chosen(figure).map((row) => row[line])).size * step;
  const first = params.every((param, index) => param.value === figure.spec.params[index].value);
  const what = params.map((param) => `${param.name} ${param.value}`).join(", ");
  const told = chosen(figure).length ? "the numbers are in the table below" : "there is nothing to show";
  if (views[name]) views[name].finalize();
  views[name] = undefined;
  if (chosen(figure).length) views[name] = await window.vegaEmbed(element, spec, {actions: false, renderer: "svg"});
  else element.textContent = "There is nothing to show of this choice.";
  // Vega names the element "Vega visualization", and takes it for a document.
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", first ? figure.alt : `${figure.title}. ${what}: ${told}.`);
  document.querySelector(`#figure-${name} .said`).hidden = !first;
  fill(name);
}

const places = [...document.querySelectorAll(".plot")];
const seen = new IntersectionObserver((entries) => {
  entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    seen.unobserve(entry.target);
    draw(entry.target);
  });
}, {rootMargin: "600px"});
places.forEach((element) => seen.observe(element));

document.querySelectorAll("[data-choice]").forEach((select) => select.addEventListener("change", () => {
  choice[select.dataset.choice] = select.value;
  document.querySelectorAll(`[data-choice=${select.dataset.choice}]`).forEach((other) => { other.value = select.value; });
  drawn.forEach(draw);
}));

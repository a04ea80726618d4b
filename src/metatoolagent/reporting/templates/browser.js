// The browser of tasks. Whatever comes from the data is set as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data-tasks").textContent);
  const PAGE = 20;
  const field = (id) => document.getElementById(id);
  const states = new Map();
  let shown = PAGE;

  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const options = (select, values, first) => {
    const kept = select.value;
    select.replaceChildren(...(first ? [new Option(first, "")] : []), ...values.map((value) => new Option(value, value)));
    if ([...select.options].some((option) => option.value === kept)) select.value = kept;
  };
  const split = () => data.splits[field("split").value];
  const tool = (number) => data.catalogs[split().catalog][number];
  const isRight = (task, index) => task[6][index][field("reading").value === "scored" ? 0 : 1] === task[5];

  function stateSelects() {
    field("filters").querySelector(".states").replaceChildren(...split().methods.map((method) => {
      const label = make("label", method);
      const select = document.createElement("select");
      select.dataset.method = method;
      select.append(new Option("any", ""), new Option("right", "right"), new Option("wrong", "wrong"));
      select.value = states.get(method) || "";
      select.addEventListener("change", () => { states.set(method, select.value); update(); });
      label.append(select);
      return label;
    }));
  }

  function fillSplit() {
    options(field("pool"), [...new Set(split().tasks.map((task) => task[1]))]);
    options(field("domain"), [...new Set(split().tasks.map((task) => tool(task[4][task[5]])[1]))].sort(), "any");
    options(field("kind"), [...new Set(split().tasks.map((task) => task[3]))].sort(), "any");
    stateSelects();
  }

  function matches(task) {
    const gold = tool(task[4][task[5]]);
    if (task[1] !== field("pool").value) return false;
    if (field("domain").value && gold[1] !== field("domain").value) return false;
    if (field("kind").value && task[3] !== field("kind").value) return false;
    for (const [index, method] of split().methods.entries()) {
      const state = states.get(method);
      if (state && isRight(task, index) !== (state === "right")) return false;
    }
    const sought = field("search").value.trim().toLowerCase();
    return !sought || [task[0], task[2], ...task[4].map((number) => tool(number)[0])].join("\n").toLowerCase().includes(sought);
  }

  function verdicts(task) {
    const row = make("span", undefined, "verdicts");
    split().methods.forEach((method, index) => {
      const right = isRight(task, index);
      row.append(make("span", `${right ? "✓" : "✗"} ${method}`, right ? "verdict right" : "verdict"));
    });
    return row;
  }

  function inside(task) {
    const box = make("div", undefined, "inside");
    const scroll = make("div", undefined, "scroll");
    const table = make("table");
    const head = table.createTHead().insertRow();
    ["candidate", ...split().methods].forEach((text) => head.append(make("th", text)));
    const body = table.createTBody();
    task[4].forEach((number, place) => {
      const [name, , description] = tool(number);
      const line = body.insertRow();
      if (place === task[5]) line.className = "gold";
      const candidate = make("th", place === task[5] ? `${name} (gold)` : name);
      candidate.append(make("span", description, "doc"));
      line.append(candidate);
      task[6].forEach((answer) => {
        const share = answer[4] ? `${answer[4][place]} %` : "";
        line.append(make("td", answer[0] === place ? `● ${share}` : share, answer[0] === place ? "pick" : ""));
      });
    });
    scroll.append(table);
    const free = make("dl");
    task[6].forEach((answer, index) => {
      const text = answer[3] ?? tool(task[4][answer[1]])[0];
      free.append(make("dt", split().methods[index]), make("dd", `${text} (${answer[2].replace("_", " ")})`));
    });
    const about = "● is the scored choice; the shares are of the probability of the candidates' names. Free answers:";
    box.append(scroll, make("p", about), free);
    task[6].forEach((answer, index) => {
      if (answer[5]) box.append(make("p", `${split().methods[index]} reasoned: ${answer[5]}`, "intro"));
    });
    return box;
  }

  function entry(task) {
    const details = make("details", undefined, "task");
    const summary = make("summary");
    const gold = tool(task[4][task[5]]);
    summary.append(make("span", task[2], "ask"), make("span", `${task[0]} · ${gold[0]} · ${gold[1]} · ${task[3]}`, "meta"), verdicts(task));
    details.append(summary);
    details.addEventListener("toggle", () => { if (details.open && !details.querySelector(".inside")) details.append(inside(task)); });
    return details;
  }

  const found = () => split().tasks.filter(matches);

  function more() {
    const tasks = found();
    field("list").append(...tasks.slice(shown, shown += PAGE).map(entry));
    field("more").hidden = tasks.length <= shown;
  }

  function update() {
    const all = split().tasks.filter((task) => task[1] === field("pool").value);
    const tasks = found();
    field("count").textContent = `${tasks.length} of ${all.length} tasks`;
    field("list").replaceChildren(...tasks.slice(0, shown).map(entry));
    field("more").hidden = tasks.length <= shown;
    document.querySelectorAll(".presets button").forEach((button) => {
      const wanted = JSON.parse(button.dataset.states);
      const same = split().methods.every((method) => (states.get(method) || "") === (wanted[method] || ""));
      button.setAttribute("aria-pressed", String(same));
    });
  }

  const presets = {
    "All": {},
    "mta right, ft wrong": {mta: "right", ft: "wrong"},
    "ft right, mta wrong": {mta: "wrong", ft: "right"},
    "both wrong": {mta: "wrong", ft: "wrong"},
    "bm25 right, mta wrong": {bm25: "right", mta: "wrong"},
  };
  for (const [name, wanted] of Object.entries(presets)) {
    const button = make("button", name);
    button.type = "button";
    button.dataset.states = JSON.stringify(wanted);
    button.addEventListener("click", () => {
      states.clear();
      Object.entries(wanted).forEach(([method, state]) => states.set(method, state));
      shown = PAGE;
      stateSelects();
      update();
    });
    field("filters").querySelector(".presets").append(button);
  }
  options(field("split"), Object.keys(data.splits));
  field("split").addEventListener("input", fillSplit);  // before the form's own listener, which then lists the new split
  field("filters").addEventListener("submit", (event) => event.preventDefault());
  field("filters").addEventListener("input", () => { shown = PAGE; update(); });
  field("more").addEventListener("click", more);
  fillSplit();
  update();
})();

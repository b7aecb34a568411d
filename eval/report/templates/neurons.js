// Lists the neurons of a set, or of a place of its map, or those that a search finds; copies and saves the list.
(function () {
  const SHOWN = 200;

  function list(root) {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const frame = root.querySelector(".list");
    const output = root.querySelector("output");
    const choose = {};
    root.querySelectorAll("[data-choose]").forEach(function (field) { choose[field.dataset.choose] = field; });
    const panels = root.querySelectorAll("figure[data-set]");
    const all = data.neurons.map(function (row) {
      const group = data.groups[row[0]];
      return { group: group, layer: row[1], index: row[2], languages: row[3], name: "L" + row[1] + "." + group + "." + row[2] };
    });

    function isIn(neuron, set) {
      const n = data.languages.length;
      const shared = neuron.languages.length === n;
      if (set === 0) { return shared; }
      if (set <= n) { return !shared && neuron.languages.includes(set - 1); }
      return n > 1 && neuron.languages.length === 1 && neuron.languages[0] === set - n - 1;
    }
    function chosen() {
      const text = choose.text.value.trim().toLowerCase();
      const set = choose.set.value;
      if (!text && set === "") { return []; }
      return all.filter(function (neuron) {
        return (set === "" || isIn(neuron, Number(set))) && (choose.layer.value === "" || neuron.layer === Number(choose.layer.value)) &&
          (choose.group.value === "" || neuron.group === choose.group.value) && (!text || neuron.name.toLowerCase().includes(text) || (!/^l\d/.test(text) && root.polyneuron.says(neuron, text)));
      });
    }
    function names(neuron) {
      return neuron.languages.length === data.languages.length ? "all" : neuron.languages.map(function (i) { return data.names[i]; }).join(", ");
    }
    function add(row, tag, words) {
      const cell = document.createElement(tag);
      cell.textContent = words;
      row.append(cell);
      return cell;
    }
    function show() {
      const found = chosen();
      const table = document.createElement("table");
      const head = table.createTHead().insertRow();
      ["neuron", "layer", "group", "index", "needed by"].forEach(function (words) { add(head, "th", words).scope = "col"; });
      const body = table.createTBody();
      found.slice(0, SHOWN).forEach(function (neuron) {
        const row = body.insertRow();
        const name = add(row, "th", "");
        name.scope = "row";
        const link = document.createElement("a");
        link.href = root.polyneuron.address(neuron.name);
        link.textContent = neuron.name;
        name.append(link);
        [neuron.layer, neuron.group, neuron.index].forEach(function (value) { add(row, "td", value); });
        add(row, "td", names(neuron)).className = "words";
      });
      frame.replaceChildren(...(found.length ? [table] : []));
      output.textContent = (found.length === 1 ? "1 neuron" : found.length + " neurons") + (found.length > SHOWN ? ", the first " + SHOWN + " shown" : "");
    }
    function pick(set, layer, group) {
      choose.set.value = set;
      choose.layer.value = layer;
      choose.group.value = group;
      choose.text.value = "";
      show();
    }
    function csv() {
      const rows = chosen().map(function (neuron) {
        return [neuron.layer, neuron.group, neuron.index, neuron.languages.map(function (i) { return data.languages[i]; }).join(" ")].join(",");
      });
      return ["layer,group,neuron,languages"].concat(rows).join("\n") + "\n";
    }
    function python(neurons) {
      const places = new Map();
      neurons.forEach(function (neuron) {
        const place = "(" + neuron.layer + ", " + JSON.stringify(neuron.group) + ")";
        places.set(place, (places.get(place) || []).concat(neuron.index));
      });
      const lines = Array.from(places, function (entry) { return "    " + entry[0] + ": [" + entry[1].join(", ") + "],"; });
      return "import polyneuron as pn\n\nneurons = pn.NeuronSet.from_indices(" + JSON.stringify(data.model) + ", " + JSON.stringify(data.widths) +
        ", " + data.layers + ", {\n" + lines.join("\n") + "\n})\n";
    }
    panels.forEach(function (panel) {
      panel.querySelector("button").addEventListener("click", function () { pick(panel.dataset.set, "", ""); });
      const map = panel.querySelector("svg.place");
      map.addEventListener("click", function (event) {
        const box = map.getBoundingClientRect();
        const layer = Math.floor((event.clientX - box.left) / box.width * data.layers);
        const group = Math.floor((event.clientY - box.top) / box.height * data.groups.length);
        pick(panel.dataset.set, Math.min(data.layers - 1, Math.max(0, layer)), data.groups[Math.min(data.groups.length - 1, Math.max(0, group))]);
      });
    });
    Object.keys(choose).forEach(function (name) { choose[name].addEventListener("input", show); });
    root.querySelector("[data-do=csv]").addEventListener("click", function () { window.polyneuronCopy(this, csv()); });
    root.querySelector("[data-do=python]").addEventListener("click", function () { window.polyneuronCopy(this, python(chosen())); });
    root.querySelector("[data-do=save]").addEventListener("click", function () { window.polyneuronSave("neurons.csv", "text/csv", csv()); });
    root.polyneuron = { data: data, all: all, python: python };
    show();
  }

  document.querySelectorAll(".neurons").forEach(list);
})();

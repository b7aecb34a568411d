"use strict";
// Moves each threshold slider: numbers come from the counts embedded in the page, nothing is computed anew.
(function () {
  const whole = new Intl.NumberFormat("en");
  const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

  function explorer(root) {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const slider = root.querySelector("input[type=range]");
    const choice = root.querySelector("select");
    const output = root.querySelector("output");
    const warning = root.querySelector(".warning");
    const marker = root.querySelector(".marker");
    const cells = {};
    root.querySelectorAll("[data-cell]").forEach(function (cell) { cells[cell.dataset.cell] = cell; });

    function counts(g, point) {
      const chosen = choice.value === "" ? data.languages.map(function (_, i) { return i; }) : [Number(choice.value)];
      const mean = function (table) {
        return chosen.reduce(function (sum, i) { return sum + table[g][i][point]; }, 0) / chosen.length;
      };
      const shared = data.shared[g][point];
      const related = mean(data.related);
      return { shared: shared, related: related, exclusive: related - shared, strict: mean(data.strict) };
    }

    function show() {
      const point = Number(slider.value);
      const multiplier = data.multipliers[point];
      const total = { shared: 0, related: 0, exclusive: 0, strict: 0 };
      data.groups.forEach(function (group, g) {
        const row = counts(g, point);
        Object.keys(row).forEach(function (kind) {
          total[kind] += row[kind];
          cells[g + "." + kind].textContent = whole.format(Math.round(row[kind]));
        });
        const bar = cells[g + ".threshold"];
        if (bar) { bar.textContent = short.format(data.thresholds[g] * multiplier); }
      });
      Object.keys(total).forEach(function (kind) {
        cells["all." + kind].textContent = whole.format(Math.round(total[kind]));
      });
      const words = point === data.start ? "the study’s threshold" : short.format(multiplier) + " times the study’s threshold";
      output.textContent = words;
      slider.setAttribute("aria-valuetext", words + ": " + whole.format(total.shared) + " shared");
      const place = (100 * point) / (data.multipliers.length - 1) + "%";
      marker.setAttribute("x1", place);
      marker.setAttribute("x2", place);
      warning.hidden = data.certifiedFrom === null || multiplier >= data.certifiedFrom;
    }

    slider.addEventListener("input", show);
    choice.addEventListener("change", show);
    root.querySelector("button").addEventListener("click", function () {
      slider.value = data.start;
      show();
    });
    slider.value = data.start; // browsers restore the old position on reload
    show();
  }

  document.querySelectorAll(".explorer").forEach(explorer);
})();

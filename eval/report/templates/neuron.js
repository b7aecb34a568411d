// The page of one neuron, made when a link or an address asks for it; nothing in its texts is ever read as markup.
(function () {
  const AROUND = 60;
  const NEAR = 24;
  const HOW = {
    contexts: ["tokens in context", "contexts.top_tokens=5"],
    lens: ["tokens promoted and suppressed", "contexts.top_tokens=5"],
    activations: ["activations by language", "activations.detectors=lape"],
  };
  const SVG = "http://www.w3.org/2000/svg";
  const frame = document.querySelector(".face");
  const roots = Array.from(document.querySelectorAll(".neurons"));
  if (!frame || !roots.length) { return; }
  const title = document.title;
  let left = null;

  function el(tag, set, ...children) {
    const made = document.createElement(tag);
    Object.keys(set || {}).forEach(function (name) { made.setAttribute(name, set[name]); });
    made.append(...children);
    return made;
  }
  function drawn(width, height, marks) {
    const svg = document.createElementNS(SVG, "svg");
    Object.entries({ viewBox: "0 0 " + width + " " + height, preserveAspectRatio: "none", "aria-hidden": "true" })
      .forEach(function (entry) { svg.setAttribute(entry[0], entry[1]); });
    marks.forEach(function (mark) {
      const rect = document.createElementNS(SVG, "rect");
      ["class", "x", "y", "width", "height"].forEach(function (name, i) { rect.setAttribute(name, mark[i]); });
      svg.append(rect);
    });
    return svg;
  }
  function table(heads, rows, words) {
    const made = el("table");
    const head = made.createTHead().insertRow();
    heads.forEach(function (text, i) { head.append(el("th", { scope: "col", class: words.includes(i) ? "words" : "" }, text)); });
    const body = made.createTBody();
    rows.forEach(function (cells) {
      const row = body.insertRow();
      cells.forEach(function (cell, i) { row.append(el(i ? "td" : "th", i ? { class: words.includes(i) ? "words" : "" } : { scope: "row" }, cell)); });
    });
    return el("div", { class: "scroll", tabindex: "0" }, made);
  }
  function number(value) { return value === null ? "" : value.toLocaleString("en", { maximumSignificantDigits: 4 }); }
  function brief(value) {
    const digits = value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : Number(value.toPrecision(3)).toString();
    return digits.replace(/-/g, "−");
  }
  function shown(text) { return text.replace(/\r?\n|\r/g, "↵"); }
  function clipped(text, start, end) {
    if (start > 0 && /[\udc00-\udfff]/.test(text[start])) { start -= 1; }
    if (end < text.length && /[\udc00-\udfff]/.test(text[end])) { end += 1; }
    return text.slice(start, end);
  }
  function pages(root) {
    const own = root.polyneuron;
    own.pages = own.pages || JSON.parse(root.querySelector("script[data-pages]").textContent);
    return own.pages;
  }
  function address(root, name) { return "#" + (roots.length > 1 ? root.id.replace(/-neurons$/, ":") : "") + name; }

  function impacts(data, all, page, neuron) {
    const most = Math.max(...page[1]);
    const rows = data.names.map(function (language, i) {
      const value = page[1][i];
      const bar = value === null ? "too small to be measured" : drawn(100, 10, [[neuron.languages.includes(i) ? "own" : "pale", 0, 0, most > 0 ? 100 * value / most : 0, 10]]);
      return [language + (neuron.languages.includes(i) ? " ✓" : ""), number(value), bar, page[2][i] === null ? "" : number(page[2][i])];
    });
    return [el("h2", null, "Impact by language"),
      el("p", { class: "caption" }, "✓: needed. Rank among the " + number(all.ranked[neuron.group]) + " " + neuron.group + " neurons of the model."),
      table(["language", "impact", "beside the largest", "rank"], rows, [2])];
  }
  function contexts(data, all, page, neuron) {
    if (!page[3]) { return []; }
    const made = [el("h2", null, "Tokens on which it is strongest")];
    const needed = neuron.languages;
    const order = needed.concat(data.languages.map(function (_, i) { return i; }).filter(function (i) { return !needed.includes(i); }));
    order.forEach(function (language) {
      const found = page[3][language];
      if (!found.length) { return; }
      made.push(el("h3", null, data.names[language]));
      const list = el("ol", { class: "contexts" });
      for (let i = 0; i < found.length; i += 2) {
        const [place, start, end] = all.tokens.slice(3 * found[i], 3 * found[i] + 3);
        const text = all.texts[place];
        const from = Math.max(0, start - AROUND);
        const to = Math.min(text.length, end + AROUND);
        const words = el("bdi", { lang: data.languages[language] },
          (from ? "…" : "") + shown(clipped(text, from, start)), el("mark", null, shown(text.slice(start, end)) || "∅"), shown(clipped(text, end, to)) + (to < text.length ? "…" : ""));
        list.append(el("li", null, el("span", { class: "value" }, brief(found[i + 1])), words));
      }
      made.push(list);
    });
    return made;
  }
  function lens(all, page) {
    if (!page[4]) { return []; }
    const made = [el("h2", null, "Tokens that its output promotes and suppresses")];
    page[4].forEach(function (ends, direction) {
      if (page[4].length > 1) { made.push(el("h3", null, "Query head " + (direction + 1) + " of those that read it")); }
      const rows = [];
      for (let i = 0; i < ends[0].length; i += 2) {
        rows.push(ends.flatMap(function (end) { return [el("bdi", { class: "code" }, "“" + shown(all.words[end[i]]) + "”"), (end[i + 1] > 0 ? "+" : "") + number(end[i + 1]).replace("-", "−")]; }));
      }
      made.push(table(["promoted", "logit", "suppressed", "logit"], rows, [0, 2]));
    });
    made.push(el("p", { class: "caption" }, "Logit lens: its output weights, with the gains of the norms after them, through the head; 0 is the mean of the vocabulary. Only the order counts, and where the output is negative the ends change places."));
    return made;
  }
  function activations(data, all, page) {
    return Object.keys(page[5] || {}).flatMap(function (site) {
      const found = page[5][site];
      const present = found.filter(Boolean);
      const low = Math.min(0, ...present.map(function (each) { return each[2]; }));
      const high = Math.max(0, ...present.map(function (each) { return each[8]; }));
      const x = function (value) { return high > low ? 200 * (value - low) / (high - low) : 0; };
      const rows = data.names.flatMap(function (language, i) {
        if (!found[i]) { return []; }
        const [positive, mean, least, p5, p25, p50, p75, p95, most] = found[i];
        const strip = drawn(200, 14, [["pale", x(least), 6, x(most) - x(least), 2], ["dot", x(p5), 4, x(p95) - x(p5), 6], ["own", x(p25), 2, Math.max(1, x(p75) - x(p25)), 10],
          ["ink", x(p50) - 1, 0, 2, 14], ["ink", x(0), 0, .6, 14]]);
        return [[language, strip, number(least), number(p50), number(most), number(mean), (100 * positive).toFixed(1) + "%"]];
      });
      return [el("h2", null, "Activation by language" + (Object.keys(page[5]).length > 1 ? " (" + site + ")" : "")),
        el("p", { class: "caption" }, "Line: least to most; bars: the middle 90% and 50% of tokens; tick: median."),
        table(["language", "spread", "least", "median", "most", "mean", "positive"], rows, [1])];
    });
  }
  function neighbours(root, all, page, neuron) {
    const own = root.polyneuron;
    const names = all.sets[page[0]];
    const same = own.all.filter(function (other, i) { return other !== neuron && all.neurons[i] && all.neurons[i][0] === page[0]; });
    const near = same.filter(function (other) { return other.layer === neuron.layer && other.group === neuron.group; });
    const listed = near.concat(same.filter(function (other) { return !near.includes(other); })).slice(0, NEAR);
    const links = listed.flatMap(function (other, i) { return [i ? ", " : "", el("a", { href: address(root, other.name) }, other.name)]; });
    return [el("h2", null, "Sets"), el("p", null, names.join(", ") + "."),
      el("p", null, "Other neurons in exactly these sets: " + number(same.length) + (listed.length ? ": " : "."), ...links, same.length > listed.length ? " and " + number(same.length - listed.length) + " more." : listed.length ? "." : "")];
  }
  function missing(all, neuron) {
    const absent = all.missing.filter(function (part) {
      return part === "contexts" || (part === "activations" && neuron.group === "ffn") || (part === "lens" && !"qk".includes(neuron.group));
    }).map(function (part) { return HOW[part]; });
    if (!absent.length) { return []; }
    const settings = Array.from(new Set(absent.map(function (how) { return how[1]; })));
    return [el("p", { class: "none" }, "Not measured in this study: " + absent.map(function (how) { return how[0]; }).join(", ") + ". To add them: ",
      el("code", null, "polyneuron detect CONFIG " + settings.join(" ")))];
  }
  function button(words, act) {
    const made = el("button", { type: "button" }, words);
    made.addEventListener("click", function () { act(made); });
    return made;
  }

  function page(root, name) {
    const own = root.polyneuron;
    const at = own.all.findIndex(function (each) { return each.name === name; });
    const neuron = own.all[at];
    const found = neuron && pages(root).neurons[at];
    const heading = el("h1", { id: "face-name", tabindex: "-1" }, name);
    const back = el("a", { href: "#" + root.id, class: "back" }, "← Back to the list");
    if (!found) {
      const why = neuron ? "The report has no room for the page of this neuron." : "This neuron is in no set of the study.";
      return [back, heading, el("p", null, why + " Its page: ", el("code", null, "polyneuron neuron " + name + " --store STORE"))];
    }
    const all = pages(root);
    const needed = neuron.languages.map(function (i) { return own.data.names[i]; }).join(", ");
    return [back, heading,
      el("p", { class: "lead" }, own.data.model + ", layer " + neuron.layer + ", group " + neuron.group + ". Needed by " + needed + "."),
      el("div", { class: "row" }, button("Copy link", function (made) { window.polyneuronCopy(made, location.href); }),
        button("Copy Python", function (made) { window.polyneuronCopy(made, own.python([neuron])); })),
      ...contexts(own.data, all, found, neuron), ...lens(all, found), ...activations(own.data, all, found), ...impacts(own.data, all, found, neuron),
      ...neighbours(root, all, found, neuron), ...missing(all, neuron)];
  }

  function asked() {
    let hash = location.hash;
    try { hash = decodeURIComponent(hash); } catch (error) { return null; }
    const parts = /^#(?:(.*):)?(L\d+\.[a-z]+\.\d+)$/.exec(hash);
    if (!parts) { return null; }
    const named = roots.filter(function (root) { return parts[1] === undefined || root.id === parts[1] + "-neurons"; });
    const holding = named.find(function (root) { return root.polyneuron.all.some(function (each) { return each.name === parts[2]; }); });
    return named.length ? { root: holding || named[0], name: parts[2] } : null;
  }
  function follow(event) {
    const wanted = asked();
    if (!wanted) { return close(); }
    if (!left) { left = { y: window.scrollY, hash: event ? new URL(event.oldURL).hash : "", focus: document.activeElement }; }
    frame.replaceChildren(...page(wanted.root, wanted.name));
    frame.hidden = false;
    frame.setAttribute("aria-labelledby", "face-name");
    document.body.classList.add("faced");
    document.title = wanted.name + " · " + title;
    window.scrollTo(0, 0);
    frame.querySelector("h1").focus({ preventScroll: true });
    frame.querySelectorAll(".scroll").forEach(window.polyneuronWatch);
  }
  function close() {
    if (!left) { return; }
    const before = left;
    left = null;
    frame.hidden = true;
    frame.replaceChildren();
    document.body.classList.remove("faced");
    document.title = title;
    const target = document.getElementById(location.hash.slice(1));
    if (target && location.hash !== before.hash) {
      target.scrollIntoView();
    } else {
      window.scrollTo(0, before.y);
    }
    if (before.focus && before.focus.isConnected) { before.focus.focus({ preventScroll: true }); }
  }

  roots.forEach(function (root) {
    root.polyneuron.address = function (name) { return address(root, name); };
    root.polyneuron.says = function (neuron, text) {
      const all = pages(root);
      const found = all.neurons[root.polyneuron.all.indexOf(neuron)];
      if (!found) { return false; }
      const words = (found[3] || []).flatMap(function (list) {
        return list.filter(function (_, i) { return i % 2 === 0; }).map(function (token) {
          return all.texts[all.tokens[3 * token]].slice(all.tokens[3 * token + 1], all.tokens[3 * token + 2]);
        });
      }).concat((found[4] || []).flatMap(function (ends) { return ends[0].filter(function (_, i) { return i % 2 === 0; }).map(function (word) { return all.words[word]; }); }));
      return words.some(function (word) { return word.toLowerCase().includes(text); });
    };
  });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape" && !frame.hidden) { frame.querySelector(".back").click(); }
  });
  window.addEventListener("hashchange", follow);
  window.addEventListener("load", function () { follow(null); });
})();

"use strict";
// What the page does as a whole: opens what a link leads to, opens all for the printer, shows where a table goes on, and saves.
(function () {
  function open() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) { return; }
    for (let part = target; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") { part.open = true; }
    }
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", open);
  window.addEventListener("load", open);
  document.querySelectorAll(".toc a").forEach(function (link) { link.addEventListener("click", function () { setTimeout(open); }); });

  let folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("details:not([open])"));
    folded.forEach(function (part) { part.open = true; });
  });
  window.addEventListener("afterprint", function () { folded.forEach(function (part) { part.open = false; }); });

  function edge(frame) { frame.classList.toggle("more", frame.scrollLeft + frame.clientWidth < frame.scrollWidth - 2); }
  const watch = new ResizeObserver(function (entries) { entries.forEach(function (entry) { edge(entry.target); }); });
  window.polyneuronWatch = function (frame) {
    watch.observe(frame);
    frame.addEventListener("scroll", function () { edge(frame); }, { passive: true });
  };
  document.querySelectorAll(".scroll").forEach(window.polyneuronWatch);

  function say(button, words) {
    const before = button.dataset.words || button.textContent;
    button.dataset.words = before;
    button.textContent = words;
    setTimeout(function () { button.textContent = before; }, 1500);
  }
  window.polyneuronSave = function (name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: type }));
    link.download = name;
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  };
  window.polyneuronCopy = function (button, text) {
    navigator.clipboard.writeText(text).then(function () { say(button, "copied"); }, function () { say(button, "not allowed"); });
  };
  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    button.addEventListener("click", function () { window.polyneuronCopy(button, document.getElementById(button.dataset.copy).textContent); });
  });
  document.querySelectorAll("button[data-save]").forEach(function (button) {
    button.addEventListener("click", function () {
      window.polyneuronSave(button.dataset.name, "application/json", document.getElementById(button.dataset.save).textContent);
    });
  });
})();

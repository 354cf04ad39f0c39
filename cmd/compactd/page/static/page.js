// A page works without this. It finds columns in a long list, keeps the button that compares up to date, knows a few keys, and does not load a
// page again while somebody works with it.
"use strict";
(function () {
  // The button that compares says how many runs are ticked.
  var compare = document.getElementById("compare");
  var boxes = Array.prototype.slice.call(document.querySelectorAll("input[name=run][type=checkbox]"));
  function ticked() {
    var n = boxes.filter(function (b) { return b.checked; }).length;
    if (compare) {
      compare.textContent = n < 2 ? "Compare (tick two or more)" : "Compare " + n + " runs";
      compare.disabled = n < 2;
    }
  }
  boxes.forEach(function (b) {
    b.addEventListener("change", function () {
      ticked();
      document.getElementById("ticked").textContent = boxes.filter(function (b) { return b.checked; }).length + " ticked";
    });
  });
  ticked();
  window.addEventListener("pageshow", ticked);

  // The list of columns can be searched.
  var find = document.getElementById("find-column");
  if (find) {
    find.hidden = false;
    find.addEventListener("input", function () {
      var text = find.value.toLowerCase();
      Array.prototype.forEach.call(document.querySelectorAll("#choices label"), function (l) {
        l.hidden = l.textContent.toLowerCase().indexOf(text) < 0;
      });
    });
    find.addEventListener("keydown", function (e) {
      if (e.key === "Enter") { e.preventDefault(); }
    });
  }

  // A page that is loaded again now and then waits while it is not seen, something is written or ticked, or columns are being chosen.
  function busy() {
    var fields = Array.prototype.slice.call(document.querySelectorAll("input, select"));
    return document.hidden || find && find.closest("details").open || fields.some(function (f) {
      return f.type === "checkbox" ? f.checked !== f.defaultChecked : f.tagName === "INPUT" && f.type !== "hidden" && (f.value !== f.defaultValue || f === document.activeElement);
    });
  }
  var every = Number(document.body.dataset.every);
  if (every) {
    window.setInterval(function () { if (!busy()) { window.location.reload(); } }, every * 1000);
  }

  // Keys: / goes to the filter, n and p turn pages. Not while somebody writes, and not with another key held.
  document.addEventListener("keydown", function (e) {
    var t = e.target;
    if (e.ctrlKey || e.altKey || e.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(t.tagName)) { return; }
    var to = null;
    if (e.key === "/") { to = document.getElementById("where"); }
    if (e.key === "n") { to = document.querySelector("a[rel=next]"); }
    if (e.key === "p") { to = document.querySelector("a[rel=prev]"); }
    if (!to) { return; }
    e.preventDefault();
    if (to.tagName === "A") { to.click(); } else { to.focus(); to.select(); }
  });
})();

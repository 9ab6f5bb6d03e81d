"use strict";
// The page without its figures: sorting, filtering, the colour scheme, printing.
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // -- sorting: a click or Enter on a column's button; what has no value stays last ----------------

  const key = (row, index) => {
    const cell = row.cells[index];
    if (index === 0) return row.dataset.name;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) =>
    typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;

  function sort(button) {
    const head = button.closest("th");
    const table = head.closest("table");
    const descending = head.getAttribute("aria-sort") === "ascending";
    const index = head.cellIndex;
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, index), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return descending ? compare(b, a) : compare(a, b);
    });
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }
  all("button.sort").forEach((button) => button.addEventListener("click", () => sort(button)));

  // -- filtering ------------------------------------------------------------------------------------

  const tools = $("tools");
  if (tools) {
    const titles = new Set(all(".evaluator").map((each) => each.dataset.evaluator));
    titles.forEach((title) => $("evaluator").append(new Option(title, title)));

    const filter = () => {
      const wanted = $("filter").value.trim().toLowerCase();
      const chosen = $("evaluator").value;
      const names = new Set();
      const visible = new Set();
      all("[data-name]").forEach((each) => {
        const isControl = each.classList.contains("control");
        const fits = each.dataset.name.toLowerCase().includes(wanted);
        each.hidden = !fits || (isControl && !$("controls").checked);
        if (each.tagName !== "TR") return;
        names.add(each.dataset.name);
        if (!each.hidden) visible.add(each.dataset.name);
      });
      all(".evaluator").forEach((each) => {
        const empty = !all("tbody tr", each).some((row) => !row.hidden);
        each.hidden = empty || (chosen !== "" && each.dataset.evaluator !== chosen);
      });
      $("shown").textContent = `${visible.size} of ${names.size} names shown`;
      document.dispatchEvent(new CustomEvent("filtered"));
    };
    tools.addEventListener("input", filter);
    tools.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  // -- light or dark: what the system says until the reader says otherwise ---------------------------

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const changed = () => {
    $("theme").setAttribute("aria-pressed", String(isDark()));
    document.dispatchEvent(new CustomEvent("recoloured"));
  };
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    changed();
  });
  system.addEventListener("change", changed);
  changed();

  // -- links into closed parts open them, and paper shows all ----------------------------------------

  const open = () => {
    let at = null;
    try {
      at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    } catch {
      return; // no valid fragment
    }
    for (let each = at; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    if (at) at.scrollIntoView();
  };
  window.addEventListener("hashchange", open);
  if (location.hash) open();

  let opened = [];
  let theme;
  window.addEventListener("beforeprint", () => {
    opened = all("details.sae:not([open])");
    opened.forEach((each) => (each.open = true));
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    changed();
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((each) => (each.open = false));
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    changed();
  });
})();

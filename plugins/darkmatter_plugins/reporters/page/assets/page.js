"use strict";
// The page without its figures: sorting, filtering, the colour scheme, printing.
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // -- what only a script can do is made or shown by it --------------------------------------------

  all("#theme, #tools, [data-drawn-by-script]").forEach((each) => (each.hidden = false));
  all(".sortable thead th").forEach((head) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "sort" });
    button.title = head.title;
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head));
    head.removeAttribute("title");
    head.append(button);
  });

  // -- sorting: best first, then turned around; controls stay below, and what has no value is last ---

  const key = (row, index) => {
    const cell = row.cells[index];
    if (index === 0) return row.dataset.name;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) =>
    typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;

  function sort(head) {
    const table = head.closest("table");
    const first = head.dataset.better === "high" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    const index = head.cellIndex;
    const isControl = (row) => row.classList.contains("control");
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, index), row]);
    rows.sort(([a, one], [b, two]) => {
      if (isControl(one) !== isControl(two)) return isControl(one) - isControl(two);
      if (a === null || b === null) return (a === null) - (b === null);
      return order === "descending" ? compare(b, a) : compare(a, b);
    });
    all("th[aria-sort]", table).forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }

  // -- a box that scrolls sideways says so -------------------------------------------------------------

  const hints = new ResizeObserver((seen) => {
    seen.forEach(({ target }) => {
      target.previousElementSibling.hidden = target.scrollWidth <= target.clientWidth + 1;
    });
  });
  all(".scroll").forEach((box) => {
    const hint = Object.assign(document.createElement("p"), { className: "hint", hidden: true });
    hint.textContent = "Scroll sideways for more columns \u2192";
    box.before(hint);
    hints.observe(box);
  });

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
      const held = wanted === "" ? "" : ` whose name holds \u201C${$("filter").value.trim()}\u201D`;
      const nothing = `There is nothing${held}${$("controls").checked ? "" : ", controls aside"}`;
      all(".compared, #saes").forEach((part) => {
        const isTables = part.matches(".compared");
        const found = all(isTables ? ".evaluator" : "details.sae", part).some((each) => !each.hidden);
        const said = part.querySelector(":scope > .nothing");
        said.hidden = found;
        said.textContent = isTables && chosen !== "" ? `${nothing}, in a table of ${chosen}.` : `${nothing}.`;
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

"use strict";
(() => {
  const page = document.documentElement;
  const KEY = "deadheat-theme";
  const THEMES = ["auto", "light", "dark"];

  // A page from a file may be refused a store; then the choice lasts as long as the page.
  const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem(KEY, theme); } catch { /* see above */ } };
  const show = (theme) => {
    if (theme === "light" || theme === "dark") page.dataset.theme = theme;
    else delete page.dataset.theme;
  };
  show(stored());

  function themeButton() {
    const button = document.getElementById("theme");
    const write = () => { button.textContent = `Theme: ${page.dataset.theme ?? "auto"}`; };
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(page.dataset.theme ?? "auto") + 1) % THEMES.length];
      show(next);
      store(next);
      write();
    });
    write();
  }

  function filters() {
    const form = document.getElementById("filters");
    if (!form) return;
    const rows = [...document.querySelectorAll(".heat tbody tr")];
    const columns = [...document.querySelectorAll(".heat [data-language]")];
    const shown = document.getElementById("shown");

    const wanted = (row, asked) => {
      const of = row.dataset;
      const here = asked.environment ? of.environment === asked.environment : "speaks" in of;
      return here
        && (asked.cases === "all" || "headline" in of)
        && (!asked.group || of.group === asked.group)
        && (!asked.kind || of.kinds.split(" ").includes(asked.kind));
    };
    const apply = () => {
      const data = new FormData(form);
      const asked = Object.fromEntries(data);
      const languages = data.getAll("language");
      page.dataset.view = asked.view;
      for (const row of rows) row.hidden = !wanted(row, asked);
      for (const cell of columns) cell.hidden = !languages.includes(cell.dataset.language);
      const left = rows.filter((row) => !row.hidden);
      const systems = new Set(left.map((row) => row.dataset.slug)).size;
      shown.textContent = `${left.length} ${left.length === 1 ? "case" : "cases"} of ${systems} ${systems === 1 ? "system" : "systems"} shown.`;
    };
    form.hidden = false;
    form.addEventListener("change", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    apply();
  }

  function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target?.closest("details");
    if (folded && !folded.open) {
      folded.open = true;
      target.scrollIntoView();
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    filters();
    openTarget();
  });
  window.addEventListener("hashchange", openTarget);
})();

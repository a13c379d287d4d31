// What Sphinx and the theme leave out for those who read by keyboard or screen reader.
const every = (selector, change) => document.querySelectorAll(selector).forEach(change);
const become = (element, tag, className) => {
  const other = document.createElement(tag);
  other.className = className;
  other.append(...element.childNodes);
  element.replaceWith(other);
};

// Code and tables that are wider than the page scroll: by keyboard they can only if they take the focus.
const reach = () =>
  every("pre, .table-wrapper, .cell_output", (box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });

document.addEventListener("DOMContentLoaded", () => {
  every(".sidebar-drawer", (part) => part.setAttribute("aria-label", "All pages"));
  every(".toc-drawer", (part) => part.setAttribute("aria-label", "This page"));
  every(".caption[role=heading]", (caption) => caption.setAttribute("aria-level", "2"));
  // A signature over several lines is marked up as a list of definitions that defines nothing.
  every("dt.sig dl > dd", (line) => become(line, "div", "sig-line"));
  every("dt.sig dl", (lines) => become(lines, "div", "sig-lines"));
  // The corner above a table's first column heads nothing.
  every("th", (cell) => cell.textContent.trim() === "" && become(cell, "td", cell.className));
  if (!document.querySelector("h1")) {
    const heading = document.createElement("h1");
    heading.textContent = document.title.split(" - ")[0];
    document.querySelector("article, [role=main]")?.prepend(heading);
  }
  reach();
});
window.addEventListener("resize", reach);

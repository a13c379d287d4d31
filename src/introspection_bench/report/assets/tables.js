// Tables that can be sorted and taken along, and links to what a page shows. No dependency and no network: a file is
// made of what the page holds, so that it also works from file://. Without this script the tables stand as they are.
(() => {
  "use strict";
  const element = (tag, className, text) => {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const textOf = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
  const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40) || "report";
  const page = slug(document.querySelector("h1").textContent);
  const hand = (name, type, text) => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // What a table holds: names of columns, those above them put before, and the cells. A rate is "k,n,low,high".

  const read = (table) => {
    const [over, names] = table.tHead.rows.length > 1 ? table.tHead.rows : [null, table.tHead.rows[0]];
    const above = over ? [...over.cells].flatMap((c) => Array(c.colSpan).fill(textOf(c))) : [];
    const columns = [...names.cells].map((c, i) => [above[i], textOf(c)].filter(Boolean).join(" "));
    return { columns, rows: [...table.tBodies[0].rows].map((r) => [...r.cells]) };
  };
  const rateOf = (cell) => (cell.dataset.v ? cell.dataset.v.split(",").map(Number) : null);
  const number = (text) => (/^[−-]?[\d,]*\d(\.\d+)?$/.test(text) ? text.replace("−", "-").replaceAll(",", "") : text);

  const csvField = (text) => {
    const plain = number(text);
    // What a spreadsheet would calculate stands behind an apostrophe.
    const safe = plain === text && /^\s*[=+\-@\t\r]/.test(text) ? `'${text}` : plain;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = (table) => {
    const { columns, rows } = read(table);
    const rates = columns.map((_, i) => rows.some((r) => r[i].dataset.v));
    const head = columns.flatMap((name, i) => (rates[i] ? ["k", "n", "rate", "low", "high"].map((p) => `${name} ${p}`) : [name]));
    const lines = rows.map((r) => r.flatMap((cell, i) => {
      if (!rates[i]) return [textOf(cell)];
      const v = rateOf(cell);
      return v ? [v[0], v[1], v[0] / v[1], v[2], v[3]].map(String) : ["", "0", "", "", ""];
    }));
    return [head, ...lines].map((l) => l.map(csvField).join(",")).join("\r\n") + "\r\n";
  };

  const TEX = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}",
                "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}",
                "\u00a0": "~", "–": "--", "−": "$-$", "′": "$'$", "‖": "$\\|$", "·": "$\\cdot$", "κ": "$\\kappa$", "…": "\\dots{}" };
  const tex = (text) => text.replace(/[\\&%$#_{}~^<>\u00a0–−′‖·κ…]/g, (c) => TEX[c]).replaceAll(" \\%", "~\\%");
  const texCell = (cell) => {
    if (!cell.dataset.v) return tex(textOf(cell));
    const [rate, count, ends] = [...cell.querySelectorAll("b, small")].map(textOf);
    return tex(`${rate} (${count}; ${ends})`);
  };
  const latex = (table) => {
    const { columns, rows } = read(table);
    const line = (cells) => `  ${cells.join(" & ")} \\\\`;
    const told = table.caption ? textOf(table.caption) : "";
    return [
      "% needs \\usepackage{booktabs}", "\\begin{table}", "  \\centering", `  \\caption{${tex(told)}}`,
      `  \\begin{tabular}{l${"r".repeat(columns.length - 1)}}`, "  \\toprule", line(columns.map(tex)), "  \\midrule",
      ...rows.map((r) => line(r.map(texCell))), "  \\bottomrule", "  \\end{tabular}", "\\end{table}", "",
    ].join("\n");
  };

  // Sorting: what a cell begins with counts, a count as its rate; what is no number comes last.

  const key = (cell) => {
    const v = rateOf(cell);
    if (v) return v[0] / v[1];
    const text = textOf(cell), count = text.match(/^(\d+)\/(\d+)/);
    if (count) return count[1] / count[2];
    const found = text.match(/^[+−-]?[\d,]*\.?\d+/);
    return found ? Number(found[0].replace("−", "-").replaceAll(",", "")) : NaN;
  };
  const compare = (numeric) => (a, b) => {
    if (!numeric) return a.text.localeCompare(b.text, "en", { numeric: true });
    return a.key - b.key;
  };
  const sortable = (table) => {
    const body = table.tBodies[0], before = [...body.rows];
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, i) => {
      const button = element("button", "sort");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] || "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next === "none") { body.append(...before); return; }
        head.setAttribute("aria-sort", next);
        const rows = before.map((row) => ({ row, key: i ? key(row.cells[i]) : NaN, text: textOf(row.cells[i]) }));
        const numeric = rows.some((r) => !Number.isNaN(r.key));
        const there = numeric ? rows.filter((r) => !Number.isNaN(r.key)) : rows;
        const lacking = numeric ? rows.filter((r) => Number.isNaN(r.key)) : [];
        there.sort(compare(numeric));
        if (next === "descending") there.reverse();
        body.append(...there.map((r) => r.row), ...lacking.map((r) => r.row));
      });
    });
  };
  const tool = (label, what, act) => {
    const b = element("button", "", label);
    b.type = "button";
    b.setAttribute("aria-label", `${label} of ${what}`);
    b.addEventListener("click", act);
    return b;
  };
  [...document.querySelectorAll("main table")].forEach((table, i) => {
    if (!table.tHead || !table.tBodies[0] || !table.tBodies[0].rows.length) return;
    const what = table.caption ? textOf(table.caption).slice(0, 80) : `table ${i + 1}`;
    const name = `${page}-${slug(what)}`;
    const tools = element("div", "tools");
    tools.append(
      tool("CSV", what, () => hand(`${name}.csv`, "text/csv;charset=utf-8", csv(table))),
      tool("LaTeX", what, () => hand(`${name}.tex`, "text/x-tex;charset=utf-8", latex(table))));
    table.closest(".scroll").after(tools);
    if (table.tBodies[0].rows.length > 1) sortable(table);
  });
  const bibtex = document.querySelector(".bibtex");
  if (bibtex) {
    const tools = element("div", "tools");
    tools.append(tool("BibTeX", "these works", () => hand("introspection_bench.bib", "application/x-bibtex", `${bibtex.textContent.trim()}\n`)));
    bibtex.closest(".scroll").after(tools);
  }
  // A place's own address, for whoever has the page too.
  for (const [place, holder] of [...document.querySelectorAll("main > section[id]:not(.on-paper)")].map((s) => [s, s.querySelector("h2")])
    .concat([...document.querySelectorAll("figure[id]")].map((f) => [f, f.querySelector("figcaption")]))) {
    const link = element("a", "anchor", "#");
    link.href = `#${place.id}`;
    link.setAttribute("aria-label", `Link to ${textOf(holder).slice(0, 60)}`);
    holder.append(" ", link);
  }
})();

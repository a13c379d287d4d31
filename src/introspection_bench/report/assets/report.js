// The transcript browser: filters, search, keyboard, permalinks. No dependency and no network. All text that
// comes from a model or a judge reaches the page through textContent alone, so that nothing in it can become markup.
(() => {
  "use strict";
  const source = document.getElementById("transcripts-data");
  const root = document.getElementById("browser");
  if (!source || !root) return;
  const data = JSON.parse(source.textContent);
  const ROW = 64; // px; the height of .item in report.css
  const F = { id: 0, condition: 1, item: 2, draw: 3, model: 4, seed: 5, finish: 6, tokens: 7, receipts: 8,
              verdicts: 9, reply: 10, reasoning: 11, prompt: 12 };
  const V = { judge: 0, values: 1, unscored: 2, concept: 3, notes: 4, evidence: 5 };
  const CRITERIA = data.criteria;
  const MARKS = data.marks; // places of the criteria that the list shows
  // Where texts lie beside the page, a trial has none (its reply is null) until its file was read.
  const files = data.parts || [];
  const trials = files.length
    ? data.trials.map(([id, condition, item, draw, verdicts]) =>
      [id, condition, item, draw, -1, null, null, 0, [], verdicts, null, null, -1])
    : data.trials;
  const $ = (id) => document.getElementById(id);
  const list = $("list"), detail = $("detail"), tally = $("tally"), search = $("q");

  // The files beside the page: scripts, because a page from file:// can fetch nothing else.

  const firstOf = []; // of each file, the place of its first trial
  const fileOf = new Uint32Array(trials.length);
  let before = 0;
  files.forEach(([, count], file) => { firstOf.push(before); fileOf.fill(file, before, before += count); });
  const filled = new Set();
  window.introspectionBenchPart = (file, rests) => {
    if (!(file in firstOf) || rests.length !== files[file][1]) return;
    rests.forEach((rest, i) => {
      const t = trials[firstOf[file] + i];
      const verdicts = t[F.verdicts].map((v, j) => [v[V.judge], v[V.values], ...rest[5][j]]);
      t.splice(F.model, rest.length, ...rest.slice(0, 5), verdicts, ...rest.slice(6));
    });
    filled.add(file);
  };
  const loading = new Map();
  const load = (file) => {
    if (!loading.has(file)) {
      loading.set(file, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const missing = () => {
          loading.delete(file); // so that it is tried again once the file is there
          reject(new Error(`${data.folder}/${files[file][0]} is missing or not this page's. ` +
            "The folder belongs beside the page: move the two together, then reload."));
        };
        script.addEventListener("load", () => {
          script.remove();
          if (!filled.has(file)) { missing(); return; }
          paint(true); // rows that were waiting for it
          resolve();
        });
        script.addEventListener("error", missing);
        script.src = `${data.address}/${files[file][0]}`;
        document.head.append(script);
      }));
    }
    return loading.get(file);
  };
  const isThere = (t) => t[F.reply] !== null;

  // Reading a trial

  const number = (x) => (x === null || x === undefined ? "?" : String(Number(x.toPrecision(6))));
  const conditionOf = (t) => data.conditions[t[F.condition]];
  const verdictOf = (t, judge) => t[F.verdicts].find((v) => v[V.judge] === judge) || null;
  const name = (t) => `${conditionOf(t).name}${t[F.item] === null ? "" : ` · ${t[F.item]}`} · no ${t[F.draw]}`;
  const word = (x) => (x === true ? "yes" : x === false ? "no" : "n/a");
  const disagree = (t) => {
    const scored = t[F.verdicts].filter((v) => v[V.unscored] === null);
    return MARKS.some((i) => new Set(scored.map((v) => v[V.values][i])).size > 1);
  };

  // Filters: each knows its options, and whether a trial passes.

  const state = { judge: 0, q: "", trial: null };
  const byText = (a, b) => a.localeCompare(b, "en", { numeric: true });
  const plain = (label, read) => ({ label, options: () => counted(read), pass: (t, value) => read(t) === value });
  const told = (label, field) => plain(label, (t) => conditionOf(t)[field] ?? "none");
  const counted = (read) => {
    const counts = new Map();
    for (const t of trials) { const k = read(t); counts.set(k, (counts.get(k) || 0) + 1); }
    return [...counts].sort((a, b) => byText(a[0], b[0])).map(([k, n]) => [k, `${k || "none"} (${n})`]);
  };
  const inDoseOrder = (filter) => {
    const place = ([dose]) => (data.doses.includes(dose) ? data.doses.indexOf(dose) : data.doses.length);
    return { ...filter, options: () => filter.options().sort((a, b) => place(a) - place(b)) };
  };
  const filters = {
    concept: told("Concept", "concept"),
    layer: told("Layer", "layers"),
    dose: inDoseOrder(told("Magnitude", "dose")),
    arm: told("Arm", "arm"),
    scaffold: told("Scaffold", "scaffold"),
    scored: {
      label: "Scoring",
      options: () => [["scored", "scored"], ["unscored", "unscored"], ["none", "not judged"]].concat(
        data.judges.length > 1 ? [["disagree", "judges disagree"]] : []),
      verdict: true,
      pass: (t, value) => {
        if (value === "disagree") return disagree(t);
        const v = verdictOf(t, state.judge);
        return value === (v === null ? "none" : v[V.unscored] === null ? "scored" : "unscored");
      },
    },
  };
  // What needs no filter in most runs has one where it tells cells apart.
  for (const field of data.further) filters[field] = told(field[0].toUpperCase() + field.slice(1), field);
  if (trials.some((t) => t[F.item] !== null)) filters.item = plain("Item", (t) => t[F.item] ?? "none");
  CRITERIA.forEach((criterion, i) => {
    filters[criterion] = {
      label: criterion[0].toUpperCase() + criterion.slice(1),
      options: () => [["yes", "yes"], ["no", "no"], ["n/a", "not applicable"]],
      pass: (t, value) => {
        const v = verdictOf(t, state.judge);
        return v !== null && v[V.unscored] === null && word(v[V.values][i]) === value;
      },
      verdict: true,
    };
  });

  const element = (tag, className, text) => {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const control = (key, label, options, first) => {
    const box = element("div"), tag = element("label", "", label), select = element("select");
    select.id = `f-${key}`;
    tag.htmlFor = select.id;
    if (first) select.append(new Option(first, ""));
    for (const [value, text] of options) select.append(new Option(text, value));
    box.append(tag, select);
    return [box, select];
  };
  const selects = {};
  for (const [key, filter] of Object.entries(filters)) {
    const [box, select] = control(key, filter.label, filter.options(), "any");
    selects[key] = select;
    $(filter.verdict ? "filters-verdict" : "filters-trial").append(box);
    select.addEventListener("change", () => apply());
  }
  const [judgeBox, judgeSelect] = control("judge", "Verdicts of", data.judges.map((j, i) => [String(i), j]), null);
  if (data.judges.length > 1) $("filters-verdict").prepend(judgeBox);
  judgeSelect.addEventListener("change", () => apply());

  // The list: only the rows in view exist, so that 10,000 trials cost as much as ten.

  let shown = [];
  let folded = null; // replies in lower case, made at the first search
  const spacer = element("div");
  spacer.setAttribute("role", "presentation");
  list.append(spacer);
  const rows = new Map();

  const marks = (t) => {
    const box = element("span", "marks"), v = verdictOf(t, state.judge);
    const said = [];
    if (v === null || v[V.unscored] !== null) {
      const text = v === null ? "not judged" : "unscored";
      box.append(element("i", "unscored", text));
      said.push(text);
    } else {
      MARKS.forEach((i) => {
        const criterion = CRITERIA[i], value = v[V.values][i];
        const mark = element("i", value === true ? "yes" : value === false ? "no" : "na", criterion.slice(0, 2).replace(/^./, (c) => c.toUpperCase()));
        mark.title = `${criterion}: ${word(value)}`;
        mark.setAttribute("aria-hidden", "true");
        box.append(mark);
        said.push(`${criterion} ${word(value)}`);
      });
    }
    box.append(element("span", "visually-hidden", said.join(", ")));
    return box;
  };
  const row = (position) => {
    const t = trials[shown[position]];
    const item = element("div", "item");
    item.id = `row-${t[F.id]}`;
    item.dataset.position = String(position);
    item.setAttribute("role", "option");
    item.setAttribute("aria-setsize", String(shown.length));
    item.setAttribute("aria-posinset", String(position + 1));
    item.setAttribute("aria-selected", String(t[F.id] === state.trial));
    item.style.top = `${position * ROW}px`;
    const bottom = element("div", "bottom");
    const said = isThere(t) ? t[F.reply].slice(0, 140).replace(/\s+/g, " ").trim() || "(empty reply)" : "…";
    const snippet = element("div", "snippet", said);
    snippet.dir = "auto";
    bottom.append(snippet, marks(t));
    item.append(element("span", "what", name(t)), bottom);
    return item;
  };
  const paint = (fresh) => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 6);
    for (const [position, item] of rows) {
      if (fresh || position < first || position >= last) { item.remove(); rows.delete(position); }
    }
    for (let position = first; position < last; position++) {
      if (!rows.has(position)) { const item = row(position); rows.set(position, item); list.append(item); }
    }
    const chosen = document.getElementById(`row-${state.trial}`);
    if (chosen) list.setAttribute("aria-activedescendant", chosen.id);
    else list.removeAttribute("aria-activedescendant");
    clearTimeout(resting);
    resting = setTimeout(readInView, 80); // not what is only scrolled past
  };
  let resting = 0;
  const readInView = () => {
    const missing = [...rows.keys()].map((position) => shown[position]).filter((n) => !isThere(trials[n]));
    for (const file of new Set(missing.map((n) => fileOf[n]))) load(file).catch(() => {}); // who looks at a transcript is told
  };
  // A search reads everything.
  let reading = false;
  const readAll = async () => {
    if (reading) return;
    reading = true;
    try {
      for (let file = 0; file < files.length; file++) {
        tally.textContent = `Reading ${file + 1} of ${files.length} files`;
        await load(file);
      }
      reading = false;
      apply();
    } catch (error) {
      reading = false;
      tally.textContent = `Not searched: ${error.message}`;
    }
  };
  let queued = false;
  list.addEventListener("scroll", () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; paint(false); });
  });
  new ResizeObserver(() => paint(false)).observe(list);

  const passes = (t, n, wanted, needle) =>
    wanted.every(([key, value]) => filters[key].pass(t, value)) && (!needle || folded[n].includes(needle));
  const apply = (options = {}) => {
    state.judge = Number(judgeSelect.value) || 0;
    state.q = search.value.trim();
    const needle = state.q.toLowerCase();
    if (needle && filled.size < files.length) { readAll(); return; }
    if (needle && folded === null) {
      folded = trials.map((t) => [t[F.reply], t[F.reasoning] || "", ...t[F.verdicts].map((v) => `${v[V.notes]} ${v[V.unscored] || ""}`)]
        .join("\n").toLowerCase());
    }
    const wanted = Object.entries(selects).filter(([, s]) => s.value).map(([key, s]) => [key, s.value]);
    for (const s of [...Object.values(selects)]) s.classList.toggle("active", s.value !== "");
    search.classList.toggle("active", needle !== "");
    shown = [];
    for (let n = 0; n < trials.length; n++) if (passes(trials[n], n, wanted, needle)) shown.push(n);
    spacer.style.height = `${shown.length * ROW}px`;
    const count = (n) => n.toLocaleString("en");
    tally.textContent = `${count(shown.length)} of ${count(trials.length)} transcripts`;
    $("reset").disabled = !wanted.length && !needle;
    let position = shown.findIndex((n) => trials[n][F.id] === state.trial);
    if (position < 0) { position = 0; state.trial = shown.length ? trials[shown[0]][F.id] : null; }
    scrollTo(position, true);
    paint(true);
    show();
    if (!options.keepHash) remember();
  };
  const position = () => shown.findIndex((n) => trials[n][F.id] === state.trial);
  const scrollTo = (at, middle) => {
    const top = at * ROW, bottom = top + ROW;
    if (middle && (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight)) {
      list.scrollTop = Math.max(0, top - list.clientHeight / 3);
    } else if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  };
  const choose = (at) => {
    if (!shown.length) return;
    const to = Math.min(Math.max(at, 0), shown.length - 1);
    state.trial = trials[shown[to]][F.id];
    scrollTo(to, false);
    paint(true);
    show();
    remember();
  };
  list.addEventListener("click", (event) => {
    const item = event.target.closest(".item");
    if (!item) return;
    choose(Number(item.dataset.position));
    if (matchMedia("(max-width: 60rem)").matches) detail.scrollIntoView({ block: "nearest" });
  });

  // One transcript

  const pieces = (text, evidence, needle) => {
    // Spans may overlap: cut at every border, then mark each piece with all that covers it.
    const hits = [];
    if (needle) {
      const low = text.toLowerCase();
      if (low.length === text.length) { // a few letters change length in lower case; then marks would be misplaced
        for (let at = low.indexOf(needle); at >= 0; at = low.indexOf(needle, at + needle.length)) {
          hits.push([at, at + needle.length]);
        }
      }
    }
    const spans = evidence.filter((e) => e[2] > e[1]);
    const cuts = new Set([0, text.length]);
    for (const e of spans) { cuts.add(e[1]); cuts.add(e[2]); }
    for (const h of hits) { cuts.add(h[0]); cuts.add(h[1]); }
    const sorted = [...cuts].filter((c) => c >= 0 && c <= text.length).sort((a, b) => a - b);
    return sorted.slice(0, -1).map((start, i) => {
      const stop = sorted[i + 1];
      const why = spans.filter((e) => e[1] <= start && stop <= e[2]);
      const hit = hits.some((h) => h[0] <= start && stop <= h[1]);
      return { text: text.slice(start, stop), why, hit };
    });
  };
  const replyBlock = (t) => {
    const block = element("p", "reply"), v = verdictOf(t, state.judge);
    block.dir = "auto";
    if (!t[F.reply]) { block.append(element("span", "empty", "(empty reply)")); return block; }
    for (const piece of pieces(t[F.reply], v ? v[V.evidence] : [], state.q.toLowerCase())) {
      let node = document.createTextNode(piece.text);
      if (piece.hit) { const m = element("mark"); m.append(node); node = m; }
      if (piece.why.length) {
        const e = element("span", "evidence");
        e.title = piece.why.map((w) => `${w[0]}: ${w[3]}`).join("\n");
        e.append(node);
        node = e;
      }
      block.append(node);
    }
    return block;
  };
  const reasoningBlock = (t) => {
    const block = element("details", "reasoning"), text = element("p", "reply", t[F.reasoning] || "(empty)");
    text.dir = "auto";
    block.append(element("summary", "", "Reasoning before the answer"), text);
    return block;
  };
  const verdictBlock = (v) => {
    const box = element("div", "verdict"), who = element("p");
    who.append(element("b", "", data.judges[v[V.judge]]), v[V.concept] ? ` asked about ${v[V.concept]}` : "");
    box.append(who);
    if (v[V.unscored] !== null) box.append(element("p", "note", `Unscored: ${v[V.unscored]}`));
    else {
      const answers = element("dl");
      CRITERIA.forEach((criterion, i) => {
        const pair = element("div"), value = v[V.values][i];
        pair.append(element("dt", "", criterion), element("dd", value === true ? "yes-word" : "no-word", word(value)));
        answers.append(pair);
      });
      box.append(answers);
    }
    if (v[V.notes]) box.append(element("p", "note", v[V.notes]));
    return box;
  };
  const fact = (box, term, text) => {
    const pair = element("div");
    pair.append(element("dt", "", term), element("dd", "", text));
    box.append(pair);
  };
  const facts = (t) => {
    const box = element("dl", "meta");
    const c = conditionOf(t);
    fact(box, "Scaffold", c.scaffold);
    if (t[F.item] !== null) fact(box, "Item", t[F.item]);
    fact(box, "Arm", c.arm);
    if (c.span !== null) fact(box, "Span", c.span);
    if (c.beside !== null) fact(box, "Beside", c.beside);
    fact(box, "Model · backend", data.models[t[F.model]]);
    if (!t[F.receipts].length) fact(box, "‖delta‖/‖h‖", "nothing was steered");
    for (const [steer, found] of t[F.receipts]) {
      fact(box, `‖delta‖/‖h‖, ${steer}`, found ? `mean ${number(found[0])}, max ${number(found[1])}; ` +
        `${found[2]} positions of the prompt, ${found[3]} generated` : "no receipt");
    }
    const tokens = t[F.tokens] || !t[F.reply] ? `${t[F.tokens]} tokens` : "token count unknown";
    const ends = { stop: "the model ended it", length: "cut off by the token limit" };
    fact(box, "Reply", `${tokens}; ${ends[t[F.finish]] || "how it ended is unknown"}`);
    if (t[F.seed] !== null) fact(box, "Seed", t[F.seed]);
    fact(box, "Trial", t[F.id]);
    return box;
  };
  const button = (text, act, off) => {
    const b = element("button", "", text);
    b.type = "button";
    b.disabled = Boolean(off);
    b.addEventListener("click", act);
    return b;
  };
  const show = () => {
    const at = position();
    detail.replaceChildren();
    if (at < 0) {
      detail.append(element("p", "empty", trials.length ? "No transcript matches these filters." : "This run has no transcripts."));
      return;
    }
    const t = trials[shown[at]], v = verdictOf(t, state.judge);
    if (!isThere(t)) {
      const waits = element("p", "empty", "Reading its file…");
      detail.append(element("h3", "", name(t)), waits);
      load(fileOf[shown[at]]).then(
        () => { if (state.trial === t[F.id]) show(); },
        (error) => { waits.className = "warning"; waits.textContent = error.message; },
      );
      return;
    }
    const bar = element("div", "bar");
    const link = button("Copy link", () => {
      remember(); // the one that is shown at first is in no address yet
      // Where the file lies here is nothing to a co-author: from its name on, the address fits any copy.
      const here = location.protocol === "file:";
      const address = here ? decodeURIComponent(location.pathname.split("/").pop()) + location.hash : location.href;
      const done = () => { link.textContent = here ? "Copied, from the file's name on" : "Link copied"; };
      if (navigator.clipboard) navigator.clipboard.writeText(address).then(done, () => { link.textContent = "Copy it from the address bar"; });
      else link.textContent = "Copy it from the address bar";
    });
    bar.append(button("Previous", () => choose(at - 1), at === 0), button("Next", () => choose(at + 1), at === shown.length - 1), link);
    detail.append(element("h3", "", name(t)), element("div", "note", `${at + 1} of ${shown.length} in this selection`), bar, replyBlock(t));
    if (t[F.reasoning] !== null) detail.append(reasoningBlock(t));
    const reasons = v ? v[V.evidence].filter((e) => e[3]) : [];
    if (reasons.length) {
      const ul = element("ul", "reasons");
      for (const [criterion, , , why] of reasons) {
        const li = element("li");
        li.append(element("b", "", criterion), document.createTextNode(`: ${why}`));
        ul.append(li);
      }
      detail.append(ul);
    }
    detail.append(element("h4", "", t[F.verdicts].length === 1 ? "Verdict" : "Verdicts"));
    if (!t[F.verdicts].length) detail.append(element("p", "empty", "Not judged."));
    for (const each of t[F.verdicts]) detail.append(verdictBlock(each));
    const prompt = t[F.prompt] < 0 ? null : data.prompts[t[F.prompt]];
    if (prompt) {
      const fold = element("details");
      fold.append(element("summary", "", "What the model was asked"), element("p", "prompt", prompt));
      fold.open = promptOpen;
      fold.addEventListener("toggle", () => { promptOpen = fold.open; });
      detail.append(element("h4", "", "Prompt"), fold);
    }
    detail.append(element("h4", "", "Trial"), facts(t));
    detail.scrollTop = 0;
  };
  let promptOpen = false;

  // The address: every filter and the chosen trial, so that a view can be cited.

  let ready = false;
  const remember = () => {
    if (!ready) return;
    const p = new URLSearchParams();
    for (const [key, s] of Object.entries(selects)) if (s.value) p.set(key, s.value);
    if (state.judge) p.set("judge", String(state.judge));
    if (state.q) p.set("q", state.q);
    if (state.trial) p.set("trial", state.trial);
    history.replaceState(null, "", `#${p}`);
  };
  const recall = () => {
    const hash = location.hash.slice(1);
    const linked = hash.includes("=");
    const p = new URLSearchParams(linked ? hash : "");
    for (const [key, s] of Object.entries(selects)) s.value = p.get(key) || "";
    judgeSelect.value = p.get("judge") || "0";
    if (judgeSelect.selectedIndex < 0) judgeSelect.selectedIndex = 0;
    for (const s of Object.values(selects)) if (s.selectedIndex < 0) s.selectedIndex = 0;
    search.value = p.get("q") || "";
    const wanted = p.get("trial");
    if (wanted) { const t = trials.find((x) => x[F.id].startsWith(wanted)); state.trial = t ? t[F.id] : null; }
    else if (linked) state.trial = null;
    apply({ keepHash: true });
    if (linked) $("transcripts").scrollIntoView({ behavior: "instant" });
  };
  addEventListener("hashchange", () => { if (location.hash.includes("=")) recall(); });

  // Search and keys

  let timer = 0;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 90); });
  const reset = () => {
    for (const s of Object.values(selects)) s.value = "";
    search.value = "";
    apply();
  };
  $("reset").addEventListener("click", reset);
  $("filters").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); apply(); list.focus(); });
  const help = $("help");
  $("keys").addEventListener("click", () => help.showModal());
  $("help-close").addEventListener("click", () => help.close());
  const inView = () => {
    const box = root.getBoundingClientRect();
    if (box.top > innerHeight * 0.6 || box.bottom < innerHeight * 0.3) root.scrollIntoView({ block: "start" });
  };
  const step = (by) => { inView(); choose(position() + by); };
  const page = () => Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const letters = {
    j: () => step(1),
    k: () => step(-1),
    x: () => reset(),
    "/": () => { inView(); search.focus({ preventScroll: true }); search.select(); },
    "?": () => help.showModal(),
  };
  const moves = { ArrowDown: () => choose(position() + 1), ArrowUp: () => choose(position() - 1),
                  PageDown: () => choose(position() + page()), PageUp: () => choose(position() - page()),
                  Home: () => choose(0), End: () => choose(shown.length - 1) };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const typing = event.target.closest && event.target.closest("input, select, textarea");
    if (event.key === "Escape" && event.target === search) { search.value = ""; apply(); list.focus(); return; }
    if (event.key === "ArrowDown" && event.target === search) { event.preventDefault(); list.focus(); choose(Math.max(position(), 0)); return; }
    const act = event.target === list ? moves[event.key] || letter(event) : typing ? null : letter(event);
    if (!act) return;
    event.preventDefault();
    act();
  });
  const letter = (event) => ($("single-keys").checked ? letters[event.key] : undefined);

  recall();
  if (matchMedia("(max-width: 40rem)").matches) $("more-filters").open = Object.values(selects).some((s) => s.value);
  ready = true;
  root.dataset.ready = "true";
})();

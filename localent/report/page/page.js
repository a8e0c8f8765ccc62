"use strict";
(() => {
  // --- unpacking: base64, gzip, JSON -------------------------------------------------------------------------------
  const bytesOf = (id, home) => {
    const text = atob(home.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  };

  const unpack = async (id, home = document) => {
    if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old to unpack them. Open the file in a newer one.");
    return new Response(new Blob([bytesOf(id, home)]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  };

  // --- small helpers -----------------------------------------------------------------------------------------------
  const $ = (id) => document.getElementById(id);
  const el = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  const svg = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const fixed = (value, n = 2) => (value === null || value === undefined ? "-" : value.toFixed(n));
  const visible = (text) => String(text).replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"));
  const percent = (p) => (p >= 0.0995 ? (100 * p).toFixed(0) : (100 * p).toFixed(1)) + " %";

  const NOTHING = 0.0005;  // a smaller share would read 0.0 %
  const PAGE = 60;  // rows shown at once
  const ID = 0, RUN = 1, PROBLEM = 2, SAMPLE = 3, RIGHT = 4, ANSWER = 5, TOKENS = 6, STEPS = 7, MEAN = 8, HALF = 9, MECHANISM = 10, CUT = 11;

  let data = null, found = [], shown = 0, open = null, measure = "entropy";
  const details = new WeakMap();  // the element of a trace's steps -> its data
  const flipped = new Set();  // problem and sample that one run gets right and another wrong
  const chunks = new Map();
  const filters = $("filters"), list = $("list"), pane = $("trace"), tip = $("tip");

  const same = (t) => t[PROBLEM] + ":" + t[SAMPLE];
  const dataOf = (span) => details.get(span.closest(".steps"));

  // --- the list ----------------------------------------------------------------------------------------------------
  const wanted = () => {
    const f = filters.elements, text = f.text.value.trim().toLowerCase();
    const low = f.low.value === "" ? -Infinity : Number(f.low.value), high = f.high.value === "" ? Infinity : Number(f.high.value);
    const bounded = f.low.value !== "" || f.high.value !== "";
    const rows = [];
    data.traces.forEach((t, i) => {
      if (f.outcome.value === "flip" ? !flipped.has(same(t)) : f.outcome.value !== "" && String(t[RIGHT]) !== f.outcome.value) return;
      if (f.run.value !== "" && String(t[RUN]) !== f.run.value) return;
      if (f.mechanism.value !== "" && t[MECHANISM] !== f.mechanism.value) return;
      if (bounded && (t[MEAN] === null || t[MEAN] < low || t[MEAN] > high)) return;
      const p = data.problems[t[PROBLEM]];
      if (text && ![p[0], p[1], p[2], String(t[ANSWER]), t[ID]].some((part) => part.toLowerCase().includes(text))) return;
      rows.push(i);
    });
    const by = f.order.value;
    if (by === "new") rows.reverse();
    else if (by !== "") rows.sort((a, b) => (data.traces[b][by] ?? -1) - (data.traces[a][by] ?? -1));
    return rows;
  };
  const row = (i) => {
    const t = data.traces[i], p = data.problems[t[PROBLEM]];
    const mark = el("span", { class: t[RIGHT] ? "mark ok" : "mark no" }, t[RIGHT] ? "✓ right" : "✗ wrong");
    const meta = el("span", { class: "meta" }, mark,
      ` ${visible(t[ANSWER] ?? "no answer")}${t[RIGHT] ? "" : ` (true: ${visible(p[2])})`} · ${visible(p[0])} · ${fixed(t[MEAN])} nats` +
      (data.runs.length > 1 ? ` · ${data.runs[t[RUN]]}` : "") + (t[MECHANISM] ? ` · ${t[MECHANISM]}` : ""));
    const button = el("button", { type: "button" }, el("span", { class: "q" }, visible(p[1]).replace(/\n/g, " ")), meta);
    return el("li", { "data-i": i, ...(i === open ? { "aria-current": "true" } : {}) }, button);
  };
  const grow = () => {
    list.append(...found.slice(shown, shown + PAGE).map(row));
    shown = Math.min(shown + PAGE, found.length);
    $("more").hidden = shown >= found.length;
  };
  const filter = () => {
    found = wanted(); shown = 0;
    list.replaceChildren();
    $("count").textContent = `${found.length.toLocaleString("en")} of ${data.traces.length.toLocaleString("en")} traces`;
    grow();
  };

  // --- one trace ---------------------------------------------------------------------------------------------------
  const traceData = async (i) => {
    if (live) return (await got(`traces/${data.traces[i][ID]}.json`)).json();
    const n = Math.floor(i / data.chunk);
    if (!chunks.has(n)) {
      if (chunks.size > 30) chunks.delete(chunks.keys().next().value);
      chunks.set(n, unpack("chunk" + n));
    }
    return (await chunks.get(n))[i % data.chunk];
  };
  const level = (value, bounds) => bounds.filter((bound) => value >= bound).length;
  const paint = () => {
    const { unit, levels } = data.measures[measure];
    for (const span of pane.querySelectorAll("[data-t]")) {
      const d = dataOf(span), i = Number(span.dataset.t);
      const kind = (d.g ?? []).includes(i) ? "given" : "l" + level(d[measure][i], levels);
      span.className = kind + (span.classList.contains("differs") ? " differs" : "");
    }
    const scale = pane.querySelector(".scale");
    scale.replaceChildren(...[0, ...levels].map((bound, i) => el("span", { class: "l" + i }, String(bound))));
    scale.setAttribute("title", `${measure}${unit ? ", " + unit : ""}: each colour from this value on`);
  };
  const word = (text, i) => {
    const span = el("span", { "data-t": i });
    visible(text).split("\n").forEach((part, n) => {
      if (n) span.append(el("span", { class: "nl" }, "↵"), "\n");
      span.append(part);
    });
    return span;
  };
  const beside = (probe, answers, truth) => {
    if (!probe) return el("div", { class: "beside" });
    const box = el("div", { class: "beside" }, el("div", { class: "quiet" }, `would answer now · ${fixed(probe[2])} nats · p(true) ${fixed(probe[5], 3)}`));
    for (let j = 1; j < Math.min(answers.length, 9); j += 2) {
      if (answers[j + 1] < NOTHING) continue;
      const fill = el("u"), bar = el("div", { class: answers[j] === truth ? "bar true" : "bar" },
        el("b", { title: visible(answers[j]) }, visible(answers[j]) + (answers[j] === truth ? " ✓" : "")), el("i", {}, fill), el("em", {}, percent(answers[j + 1])));
      fill.style.width = Math.max(1, 100 * answers[j + 1]) + "%";
      box.append(bar);
    }
    for (const [name, share] of [["not explored", probe[7]], ["no valid answer", probe[8]]]) {
      if (share >= 0.05) box.append(el("div", { class: "bar quiet" }, el("b", {}, name), el("i"), el("em", {}, percent(share))));
    }
    return box;
  };
  const importance = (row) => {
    if (!row) return null;
    const [, shift, shiftSe, change, changeSe] = row, pm = (value, se) => `${value >= 0 ? "+" : "−"}${fixed(Math.abs(value))} ± ${fixed(1.96 * se)}`;
    const box = el("div", { class: "quiet", title: "from rollouts before and after the step, with 95 % intervals" },
      `resampled: p(true) ${pm(change, changeSe)} · answers moved ${pm(shift, shiftSe)}`);
    return box;
  };
  const spark = (probes) => {
    const top = 1.25 * Math.max(...probes.map((p) => p[2]), 0.1), n = Math.max(probes.length - 1, 1);  // the upper bounds may lie far above
    const at = (k, h) => `${(34 + (k / n) * 380).toFixed(1)} ${(60 - (Math.min(h, top) / top) * 50).toFixed(1)}`;
    const band = probes.map((p, k) => at(k, p[4])).concat(probes.map((p, k) => at(k, p[3])).reverse());
    const node = svg("svg", { viewBox: "0 0 420 74", class: "spark", role: "img", "aria-label": "answer entropy by step, with bounds" });
    const label = (x, y, text, anchor) => { const t = svg("text", { x, y, class: "tick " + anchor }); t.textContent = text; return t; };
    node.append(svg("path", { class: "grid", d: "M34 60L414 60M34 10L414 10" }), svg("path", { class: "band c0", d: "M" + band.join("L") + "Z" }),
      svg("path", { class: "curve c0", d: "M" + probes.map((p, k) => at(k, p[2])).join("L") }),
      label(30, 14, fixed(top, 1), "end"), label(30, 64, "0", "end"), label(34, 73, "start", ""), label(414, 73, `step ${probes.length - 1}`, "end"));
    return node;
  };
  const parts = (d) => {
    const starts = d.st.map((step) => step[0]);
    const bounds = [...new Set([0, ...starts, d.t.length])].sort((a, b) => a - b);
    return bounds.slice(0, -1).map((start, i) => ({ start, end: bounds[i + 1], step: d.st.find((step) => step[0] === start) }));
  };
  const measures = () => {
    const box = el("fieldset", { class: "measures" }, el("legend", { class: "quiet" }, "Colour by"));
    for (const name of Object.keys(data.measures)) {
      const input = el("input", { type: "radio", name: "measure", value: name });
      input.checked = name === measure;
      box.append(el("label", {}, input, " " + name));
    }
    box.append(el("span", { class: "scale" }));
    return box;
  };
  const body = (d, truth) => {
    const weights = new Map((d.im ?? []).map((row) => [row[0], row]));
    const byStep = new Map(d.pr.map((probe) => [probe[0], probe])), answers = new Map(d.an.map((some) => [some[0], some]));
    const steps = el("div", { class: "steps", tabindex: "0", "aria-label": "The text, token by token: arrow keys move" });
    steps.append(el("div", { class: "step" }, el("div", { class: "words none" }, "before the first step"), beside(byStep.get(0), answers.get(0) ?? [], truth)));
    let k = 0;
    for (const { start, end, step } of parts(d)) {
      const words = el("div", { class: "words" });
      for (let i = start; i < end; i++) words.append(word(d.t[i], i));
      const probe = step && step[2] === "reasoning" ? byStep.get(++k) : null;
      if (step && step[2] === "reasoning" && weights.has(k)) words.append(importance(weights.get(k)));
      steps.append(el("div", { class: "step" }, words, probe ? beside(probe, answers.get(k) ?? [], truth) : el("div", { class: "beside quiet" }, step && step[2] === "answer" ? "the answer, as written" : "")));
    }
    details.set(steps, d);
    return steps;
  };
  const others = (i) => {
    const t = data.traces[i];
    const rows = data.traces.map((_, j) => j).filter((j) => j !== i && data.traces[j][PROBLEM] === t[PROBLEM]);
    const rank = (j) => 2 * (data.traces[j][SAMPLE] !== t[SAMPLE]) + (data.traces[j][RIGHT] === t[RIGHT]);
    return rows.sort((a, b) => rank(a) - rank(b));
  };
  const named = (j) => {
    const t = data.traces[j];
    return `${data.runs[t[RUN]]}, sample ${t[SAMPLE]}: ${t[RIGHT] ? "✓" : "✗"} ${visible(t[ANSWER] ?? "no answer")}`;
  };
  const firstDifference = (a, b) => {
    let at = 0;
    while (at < a.length && at < b.length && a[at] === b[at]) at++;
    return at;
  };
  const beside2 = async (i, j, holder) => {
    const pair = [i, j].filter((one) => one !== null), truth = data.problems[data.traces[i][PROBLEM]][2];
    const all = await Promise.all(pair.map(traceData));
    const columns = all.map((d, n) => el("div", {}, ...(pair.length > 1 ? [el("h4", {}, named(pair[n]))] : []), body(d, truth)));
    if (pair.length > 1) {
      const at = firstDifference(all[0].t, all[1].t);
      columns.forEach((column) => column.querySelector(`[data-t="${at}"]`)?.classList.add("differs"));
      const texts = all.map((d) => at < d.t.length ? JSON.stringify(visible(d.t[at])) : "the end");
      columns.unshift(el("p", { class: "quiet span" }, at < Math.max(all[0].t.length, all[1].t.length) ? `They part at token ${at}: ${texts[0]} and ${texts[1]}.` : "They are the same, token by token."));
    }
    holder.className = pair.length > 1 ? "two" : "";
    holder.replaceChildren(...columns);
    paint();
  };
  const pairing = (i, holder) => {
    const rows = others(i);
    if (!rows.length) return null;
    const select = el("select", { name: "pair" }, el("option", { value: "" }, "nothing"), ...rows.map((j) => el("option", { value: j }, named(j))));
    select.addEventListener("change", () => { hideTip(); beside2(i, select.value === "" ? null : Number(select.value), holder); });
    if (filters.elements.outcome.value === "flip") select.value = rows.find((j) => data.traces[j][RIGHT] !== data.traces[i][RIGHT]) ?? "";
    return el("label", { class: "quiet" }, "Beside it: ", select);
  };
  const show = async (i) => {
    const d = await traceData(i), t = data.traces[i], p = data.problems[t[PROBLEM]];
    const holder = el("div", {}), pair = pairing(i, holder);
    open = i; hideTip();
    for (const li of list.children) li.toggleAttribute("aria-current", Number(li.dataset.i) === i);
    const close = el("button", { type: "button", class: "close", "aria-label": "Close the trace" }, "Close");
    close.addEventListener("click", hide);
    const verdict = el("p", {}, el("span", { class: t[RIGHT] ? "mark ok" : "mark no" }, t[RIGHT] ? "✓ right" : "✗ wrong"),
      `: answered ${visible(t[ANSWER] ?? "nothing that could be parsed")}, the true answer is ${visible(p[2])}. ${t[TOKENS]} tokens${d.g ? ` and ${d.g.length} given` : ""}, ${t[STEPS]} steps${t[CUT] ? ", truncated" : ""}` +
      `${t[MECHANISM] ? "; " + t[MECHANISM] : ""}. `, el("small", {}, `${data.runs[t[RUN]]}, trace ${t[ID]}, problem ${visible(p[0])}, sample ${t[SAMPLE]}`));
    const options = el("ul", { class: "options" }, ...p[3].map(([label, text]) => el("li", {}, `${visible(label)}. ${visible(text)}`)));
    const solution = p[4] ? el("details", {}, el("summary", {}, "Worked solution"), el("p", { class: "question" }, visible(p[4]))) : null;
    pane.replaceChildren(...[el("div", { class: "top" }, el("h3", { class: "question" }, visible(p[1])), close), p[3].length ? options : null, verdict, solution,
      d.pr.length ? el("div", { class: "quiet" }, "answer entropy by step, nats") : null, d.pr.length ? spark(d.pr) : null, pair, measures(), holder].filter(Boolean));
    await beside2(i, pair && pair.querySelector("select").value !== "" ? Number(pair.querySelector("select").value) : null, holder);
    pane.hidden = false;
    $("panes").className = "open";
    history.replaceState(null, "", "#trace=" + t[ID]);
  };
  const openTrace = async (i, scroll) => {
    await show(i);
    pane.focus({ preventScroll: true });
    if (scroll || pane.getBoundingClientRect().top < 0) pane.scrollIntoView({ block: "start" });
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  };
  const hide = () => {
    hideTip();
    if (open === null) return;
    const last = open;
    open = null; pane.hidden = true; $("panes").className = "";
    history.replaceState(null, "", "#browse");
    for (const li of list.children) li.removeAttribute("aria-current");
    list.querySelector(`[data-i="${last}"] button`)?.focus();
  };

  // --- alternatives on hover, tap, or by arrow keys ------------------------------------------------------------------
  const hideTip = () => { tip.hidden = true; pane.querySelector(".on")?.classList.remove("on"); };
  const showTip = (span) => {
    hideTip();
    const detail = dataOf(span), i = Number(span.dataset.t), lines = [`token ${i}: ${JSON.stringify(visible(detail.t[i]))}${(detail.g ?? []).includes(i) ? ", from outside" : ""}`,
      `entropy ${fixed(detail.entropy[i], 3)} nats`, `surprisal ${fixed(detail.surprisal[i], 3)} nats, p = ${percent(Math.exp(-detail.surprisal[i]))}, rank ${detail.rank[i]}`,
      `varentropy ${fixed(detail.varentropy[i], 3)} nats²`];
    const others = detail.a?.find((some) => some[0] === i);
    if (others) {
      lines.push("most likely here:");
      for (let j = 1; j < others.length; j += 2) lines.push(`  ${percent(others[j + 1])}  ${JSON.stringify(visible(others[j]))}`);
    } else lines.push("alternatives: not stored (run with --alternatives 5)");
    tip.textContent = lines.join("\n");
    tip.hidden = false;
    span.classList.add("on");
    const box = span.getClientRects()[0] ?? span.getBoundingClientRect(), width = tip.offsetWidth, height = tip.offsetHeight;
    const room = document.documentElement.clientWidth;
    const below = box.bottom + height + 12 < window.innerHeight;
    tip.style.left = window.scrollX + Math.max(8, Math.min(box.left, room - width - 8)) + "px";
    tip.style.top = window.scrollY + (below ? box.bottom + 8 : box.top - height - 8) + "px";
  };
  const tokenOf = (target) => target instanceof Element ? target.closest("[data-t]") : null;
  pane.addEventListener("mouseover", (event) => { const span = tokenOf(event.target); if (span) showTip(span); else hideTip(); });
  pane.addEventListener("mouseleave", hideTip);
  pane.addEventListener("click", (event) => { const span = tokenOf(event.target); if (span) showTip(span); });
  pane.addEventListener("change", (event) => { if (event.target.name === "measure") { measure = event.target.value; paint(); } });
  const stepToken = (by) => {
    const now = pane.querySelector(".on"), i = now ? Number(now.dataset.t) + by : 0;
    const steps = now ? now.closest(".steps") : pane.querySelector(".steps");
    const next = steps.querySelector(`[data-t="${Math.max(0, Math.min(i, details.get(steps).t.length - 1))}"]`);
    if (next) { next.scrollIntoView({ block: "nearest" }); showTip(next); }
  };

  // --- keys, filters, files ------------------------------------------------------------------------------------------
  const move = (by) => {
    const at = found.indexOf(open), next = at < 0 ? 0 : at + by;
    if (next < 0 || next >= found.length) return;
    while (shown <= next) grow();
    openTrace(found[next]);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { if (event.target.name === "text") event.target.blur(); else if (!tip.hidden) hideTip(); else hide(); return; }
    if (event.target.matches("input:not([type=radio]), select, textarea")) return;
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "/") { filters.elements.text.focus(); event.preventDefault(); }
    else if (event.key === "m" && open !== null) {
      const names = Object.keys(data.measures);
      measure = names[(names.indexOf(measure) + 1) % names.length];
      pane.querySelector(`[value=${measure}]`).checked = true;
      paint();
    } else if (open !== null && !event.target.matches("[type=radio]") && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
      stepToken(event.key === "ArrowRight" ? 1 : -1);
      event.preventDefault();
    }
  });
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(filter));
  $("more").addEventListener("click", grow);
  list.addEventListener("click", (event) => { const li = event.target.closest("li"); if (li) openTrace(Number(li.dataset.i), true); });
  const countSteps = (scale) => {  // in all figures along the reasoning
    document.body.dataset.by = scale;
    for (const button of document.querySelectorAll(".scales button")) button.setAttribute("aria-pressed", button.dataset.scale === scale);
  };
  document.addEventListener("click", (event) => {
    const run = event.target.dataset?.run;
    if (run !== undefined && data) {
      filters.elements.run.value = run;
      filter();
      $("browse").scrollIntoView();
      return;
    }
    const scale = event.target.dataset?.scale;
    if (scale) return countSteps(scale);
    const name = event.target.dataset?.csv;
    if (!name || !data) return;
    const link = el("a", { href: URL.createObjectURL(new Blob([data.csv[name]], { type: "text/csv" })), download: `${name}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  const choices = (select, values) => {
    const value = select.value;
    select.replaceChildren(select.options[0], ...values.map(([value, text]) => el("option", { value }, text)));
    select.value = value;
  };
  const count = () => {  // what depends on all traces
    const outcomes = new Map(), counts = new Map();
    for (const t of data.traces) outcomes.set(same(t), (outcomes.get(same(t)) ?? 0) | (t[RIGHT] ? 1 : 2));
    for (const [key, seen] of outcomes) if (seen === 3) flipped.add(key);
    for (const t of data.traces) if (t[MECHANISM]) counts.set(t[MECHANISM], (counts.get(t[MECHANISM]) ?? 0) + 1);
    choices(filters.elements.run, data.runs.map((name, i) => [i, name]));
    choices(filters.elements.mechanism, [...counts].sort().map(([name, n]) => [name, `${name} (${n})`]));
  };
  const linked = () => {  // the trace that the address names
    const asked = location.hash.match(/^#trace=(\d+)$/);
    return asked && data ? data.traces.findIndex((t) => t[ID] === asked[1]) : -1;
  };
  const begin = () => {
    count();
    filter();
    document.body.dataset.ready = "1";
    if (linked() >= 0) openTrace(linked(), true);
    else if (data.traces.length === 1 && filters.parentNode.hidden) openTrace(0);
  };

  // --- a database followed while runs write to it: the pages of localent view ---------------------------------------
  const live = document.body.dataset.live !== undefined, NEWEST = 5, SOON = 500, PAUSE = 2000, LATER = 10000;  // ms
  let boot = null, analysed = 0;
  const got = async (path) => {
    const reply = await fetch(path);
    if (!reply.ok) throw new Error((await reply.text()).trim());
    return reply;
  };
  const work = (runs) => $("work").replaceChildren(...runs.map((run) => el("div", { class: "run" },
    el("a", { href: run.href }, run.name), ...(run.total ? [el("progress", { max: run.total, value: run.done, "aria-label": run.name })] : []), el("p", {}, run.text))));
  const arrived = () => {
    const held = list.querySelector(":focus")?.closest("li")?.dataset.i, n = Math.max(shown, PAGE);
    count();
    filter();
    while (shown < Math.min(n, found.length)) grow();
    if (held !== undefined) list.querySelector(`[data-i="${held}"] button`)?.focus();
    $("newest").replaceChildren(...data.traces.map((_, i) => i).slice(-NEWEST).reverse().map(row));
  };
  const analyse = async (version) => {
    const text = await (await got("analysis")).text();
    const there = new DOMParser().parseFromString(text, "text/html"), extra = there.getElementById("extra");
    const known = extra ? await unpack("extra", there) : { csv: {}, mechanisms: {} };
    const opened = new Set([...document.querySelectorAll("#analysis details[open] summary")].map((summary) => summary.textContent));
    for (const t of data.traces) t[MECHANISM] = known.mechanisms[t[ID]] ?? "";
    data.csv = known.csv;
    $("analysis").replaceChildren(...there.body.childNodes);
    if (document.body.dataset.by) countSteps(document.body.dataset.by);
    for (const summary of document.querySelectorAll("#analysis summary")) if (opened.has(summary.textContent)) summary.parentNode.open = true;
    analysed = version;
    arrived();
  };
  const poll = async () => {
    const asked = new URLSearchParams({ boot: boot ?? "", traces: data?.traces.length ?? 0, problems: data?.problems.length ?? 0 });
    const news = await (await got(`live?${asked}`)).json();
    if (boot !== null && news.boot !== boot) return location.reload();
    const first = data === null;
    data ??= { traces: [], problems: [], csv: {}, measures: news.measures };
    boot = news.boot;
    data.runs = news.runs;
    data.problems.push(...news.problems);
    data.traces.push(...news.traces);
    if (first) begin();
    if (first || news.traces.length) arrived();
    work(news.work);
    $("state").textContent = news.state;
    if (news.analysis > analysed) await analyse(news.analysis);
    return analysed ? PAUSE : SOON;
  };
  const follow = async () => {
    let pause = LATER;
    try {
      pause = await poll();
    } catch (error) {
      $("state").textContent = error instanceof TypeError ? "localent view does not answer any more: start it again with the same command." : error.message;
    }
    setTimeout(follow, document.hidden ? LATER : pause);
  };

  if (live) {
    $("newest").addEventListener("click", (event) => { const li = event.target.closest("li"); if (li) openTrace(Number(li.dataset.i), true); });
    window.addEventListener("hashchange", () => { const i = linked(); if (i >= 0 && i !== open) openTrace(i, true); });
    follow();
  } else unpack("index").then((all) => { data = all; begin(); })
    .catch((error) => { $("count").textContent = "The traces in this file cannot be shown: " + error.message; });
})();

"use strict";
// How answers are shown, as in answer.html.jinja and report/explanation.py. Nothing of a text is
// ever taken for markup: it goes into text nodes alone.

const LEVELS = 4;
const LEAST_SHARE = 0.1;
const STRONGEST = 8;
const NO_LABEL = "none of the labels";
const UNSURE = "does not know";
const NONE_LIKELY = "no class is likely enough";
const ABOVE = "\u2713";

const $ = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(1)}%`;
const signed = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(2);

function element(name, attributes = {}, ...children) {
  const svg = name === "svg" || name === "rect";
  const made = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The text in pieces, of which some are marked, by its words: where each stands, and its weight.
// Offsets count code points, as Python does; a string of JavaScript counts UTF-16 units.
function pieces(text, words) {
  const characters = Array.from(text);
  const spans = [];
  for (const { start, end, weight } of words) {
    const last = spans.at(-1);
    if (last && last.start === start && last.end === end) {
      last.weight += weight; // Several words stand there.
    } else {
      spans.push({ start, end, weight });
    }
  }
  const largest = spans.reduce((most, { weight }) => Math.max(most, Math.abs(weight)), 0);
  const found = [];
  const add = (start, end, weight, look) =>
    found.push({ text: characters.slice(start, end).join(""), weight, look });
  let done = 0;
  for (const { start, end, weight } of spans) {
    if (start > done) add(done, start, 0, "");
    const share = largest ? Math.abs(weight) / largest : 0;
    const side = weight > 0 ? "for" : "against";
    add(start, end, weight, share >= LEAST_SHARE ? `${side} l${Math.ceil(LEVELS * share)}` : "");
    done = end;
  }
  if (done < characters.length) add(done, characters.length, 0, "");
  return found;
}

function bar(value) {
  return element(
    "svg",
    { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    element("rect", { class: "all", width: "100", height: "8" }),
    element("rect", { class: "part", width: (100 * value).toFixed(1), height: "8" }),
  );
}

function row(name, ...cells) {
  const heading = element("th", { scope: "row" }, element("bdi", {}, name));
  return element("tr", {}, heading, ...cells);
}

// Whether a prediction set gives no answer.
const isUnsure = (inSet) => Boolean(inSet) && inSet.length !== 1;

// Shows the likeliest class, its probability (`share`), and classes with theirs (`shown`). Where a
// text may have several labels, `labels` are those that it has, and are marked. If there is a
// prediction set (`inSet`), it must have exactly one class.
function showAnswer({ label, share, shown, labels, inSet }) {
  $("label").textContent = labels ? labels.join(", ") || NO_LABEL : label;
  $("share").textContent = labels ? "" : percent(share);
  if (isUnsure(inSet)) {
    $("label").textContent = UNSURE;
    $("share").textContent = inSet.join(" or ") || NONE_LIKELY;
  }
  if (labels) $("explained").textContent = label;
  $("probabilities").tBodies[0].replaceChildren(
    ...shown.map(([name, value]) => {
      const cells = [element("td", {}, bar(value)), element("td", {}, percent(value))];
      if (labels) cells.push(element("td", {}, labels.includes(name) ? ABOVE : ""));
      return row(name, ...cells);
    }),
  );
  $("answer").hidden = false;
}

// Shows which words spoke for the likeliest class, by weights for it.
function showWords(text, words) {
  const found = pieces(text, words);
  $("words").replaceChildren(
    ...found.map((part) => {
      return part.look ? element("mark", { class: part.look }, part.text) : part.text;
    }),
  );
  const strongest = found
    .filter(({ look }) => look)
    .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))
    .slice(0, STRONGEST);
  $("strongest").tBodies[0].replaceChildren(
    ...strongest.map(({ text: word, weight }) =>
      row(
        word,
        element("td", { class: "text" }, weight > 0 ? "for" : "against"),
        element("td", {}, signed(weight)),
      ),
    ),
  );
  $("explanation").hidden = false;
}

function problem(reason) {
  $("problem").textContent = reason;
  $("problem").hidden = !reason;
}

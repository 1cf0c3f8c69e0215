"use strict";
// Answers while one types. What is shown, and how, is as in page.html.jinja and page.py. Nothing of
// a text is ever taken for markup: it goes into text nodes alone.

const LEVELS = 4;
const LEAST_SHARE = 0.1;
const STRONGEST = 8;
const PAUSE = 250; // Milliseconds without a keystroke.

const $ = (id) => document.getElementById(id);
const field = $("text");
const most = Number(field.dataset.most);
let asked = new AbortController(); // What was asked last: answers to anything before are dropped.
let timer;

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

// Offsets count code points, as Python does; a string of JavaScript counts UTF-16 units.
function parts(text, label, words) {
  const characters = Array.from(text);
  const spans = [];
  for (const { start, end, weights } of words) {
    const weight = label in weights ? weights[label] : -Object.values(weights)[0];
    const last = spans.at(-1);
    if (last && last.start === start && last.end === end) {
      last.weight += weight; // Several words stand there.
    } else {
      spans.push({ start, end, weight });
    }
  }
  const largest = Math.max(0, ...spans.map(({ weight }) => Math.abs(weight)));
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

function showAnswer({ label, probabilities }) {
  $("label").textContent = label;
  $("share").textContent = percent(probabilities[label]);
  $("probabilities").tBodies[0].replaceChildren(
    ...Object.entries(probabilities).map(([name, value]) =>
      row(name, element("td", {}, bar(value)), element("td", {}, percent(value))),
    ),
  );
  $("answer").hidden = false;
}

function showWords(text, { label, words }) {
  const found = parts(text, label, words);
  $("words").replaceChildren(
    ...found.map((part) => (part.look ? element("mark", { class: part.look }, part.text) : part.text)),
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

// The answer to a text, which is alone in the list under `key`. A busy server is asked again.
async function ask(address, key, text, signal) {
  for (;;) {
    const response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text }),
      credentials: "same-origin",
      signal,
    });
    const type = response.headers.get("Content-Type") ?? "";
    const content = type.startsWith("application/json") ? await response.json() : {};
    signal.throwIfAborted();
    if (response.ok) {
      const [answer] = content[key];
      if (answer.error) throw new Error(answer.error);
      problem("");
      return answer;
    }
    if (response.status !== 503) throw new Error(content.error ?? `status ${response.status}`);
    problem(`${content.error ?? "the server is busy"}: asking again ...`);
    const wait = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
    signal.throwIfAborted();
  }
}

async function classify() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  const text = field.value;
  const [answer, explanation] = [$("answer"), $("explanation")];
  const length = text.length > most ? Array.from(text).length : text.length;
  if (length > most || !text.trim()) {
    const [given, limit] = [length, most].map((number) => number.toLocaleString("en"));
    problem(length > most ? `${given} characters, which are too many: ${limit} at most` : "");
    answer.hidden = true;
    return;
  }
  let predicted = false;
  answer.setAttribute("aria-busy", "true");
  explanation.classList.add("stale");
  try {
    showAnswer(await ask("predict", "predictions", text, signal));
    predicted = true;
    if (!$("words").hasChildNodes()) explanation.hidden = true;
    showWords(text, await ask("explain", "explanations", text, signal));
    explanation.classList.remove("stale");
  } catch (error) {
    if (signal.aborted) return;
    problem(error instanceof TypeError ? "the server does not answer" : error.message);
    (predicted ? explanation : answer).hidden = true;
  }
  answer.removeAttribute("aria-busy");
}

field.addEventListener("input", () => {
  asked.abort();
  clearTimeout(timer);
  timer = setTimeout(classify, PAUSE);
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  classify();
});
if (field.value && $("answer").hidden && $("problem").hidden) classify(); // Kept by the browser.

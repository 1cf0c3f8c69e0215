// Answers while one types: asks the worker. answer.js, which comes before this, shows the answers.

const PAUSE = 120; // Milliseconds without a keystroke.

const field = $("text");
const most = Number(field.dataset.most);
let asked = 0; // The number of the last text: answers to those before are dropped.
let explained; // The answer whose marks are shown.
let timer;

const content = (id) => {
  const { textContent } = $(id);
  $(id).remove(); // It may be large.
  return textContent;
};
const stopped = ({ message }) => {
  problem(`The classifier does not run in this browser: ${message}`);
  $("answer").hidden = true;
};
let worker;
try {
  const source = new Blob([content("worker")], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(source));
} catch (error) {
  stopped(error);
  throw error;
}
worker.addEventListener("error", stopped);
worker.postMessage({ description: content("description"), numbers: content("numbers") });

function classify() {
  asked += 1;
  const text = field.value;
  const length = text.length > most ? Array.from(text).length : text.length;
  if (length > most || !text.trim()) {
    const [given, limit] = [length, most].map((number) => number.toLocaleString("en"));
    problem(length > most ? `${given} characters are too many: ${limit} at most` : "");
    $("answer").hidden = $("inexact").hidden = true;
    return;
  }
  $("answer").setAttribute("aria-busy", "true");
  $("explanation").classList.add("stale");
  worker.postMessage({ id: asked, text, coverage: $("abstain")?.value });
}

worker.addEventListener("message", ({ data: { id, text, label, answer, explanation } }) => {
  if (id !== asked) return;
  if (answer) {
    problem(answer.problem);
    $("answer").hidden = !answer.label;
    if (!answer.label) $("inexact").hidden = true;
    else showAnswer(answer);
    // What speaks for another answer would mislead until the marks of this one are there.
    const unsure = isUnsure(answer.inSet);
    if (answer.label !== explained || unsure) $("explanation").hidden = true;
    if (unsure) {
      explained = undefined;
      $("inexact").hidden = true;
      $("answer").removeAttribute("aria-busy");
    }
    return;
  }
  const { words, difference, complete, done } = explanation;
  showWords(text, words);
  explained = label;
  $("explanation").classList.toggle("stale", !done);
  if (!done) return;
  $("answer").removeAttribute("aria-busy");
  $("inexact").hidden = complete;
  const sum = words.reduce((total, { weight }) => total + weight, 0);
  $("inexact").textContent =
    `The marks are not exact: the words add up to ${signed(sum)} instead of ${signed(difference)}.`;
});

field.addEventListener("input", () => {
  asked += 1;
  clearTimeout(timer);
  timer = setTimeout(classify, PAUSE);
});
$("abstain")?.addEventListener("change", classify);
$("form").addEventListener("submit", (event) => event.preventDefault());
if (field.value) classify(); // Kept by the browser.

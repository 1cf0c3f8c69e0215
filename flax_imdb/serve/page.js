// Answers while one types: asks the server. answer.js, which comes before this, shows the answers.

const PAUSE = 250; // Milliseconds without a keystroke.

const field = $("text");
const most = Number(field.dataset.most);
let asked = new AbortController(); // What was asked last: answers to anything before are dropped.
let timer;

// The answer to a text, which is alone in the list under `key`. A busy server is asked again.
async function ask(address, key, asked, signal) {
  for (;;) {
    const response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked),
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

// Of two classes the first has the weights of the second with the other sign.
function weighed({ start, end, weights }, label) {
  return { start, end, weight: label in weights ? weights[label] : -Object.values(weights)[0] };
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
    const coverage = Number($("abstain")?.value);
    const wanted = coverage ? { text, abstain: coverage } : { text };
    const found = await ask("predict", "predictions", wanted, signal);
    const { label, labels, probabilities, prediction_set: inSet } = found;
    const shown = Object.entries(probabilities);
    const [likeliest, highest] = shown.reduce((a, b) => (b[1] > a[1] ? b : a));
    showAnswer({ label: label ?? likeliest, share: highest, shown, labels, inSet });
    predicted = true;
    if (isUnsure(inSet)) {
      explanation.hidden = true;
      answer.removeAttribute("aria-busy");
      return;
    }
    if (!$("words").hasChildNodes()) explanation.hidden = true;
    const explained = await ask("explain", "explanations", { text }, signal);
    showWords(text, explained.words.map((word) => weighed(word, explained.label)));
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
$("abstain")?.addEventListener("change", classify);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  classify();
});
if (field.value && $("answer").hidden && $("problem").hidden) classify(); // Kept by the browser.

"use strict";
// The classifier, as it runs in a worker of the page: it is sent the model once, and then texts.

// The values of base64.
function bytes(text) {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const value = new Uint8Array(128);
  for (let i = 0; i < digits.length; i++) value[digits.charCodeAt(i)] = i;
  const length = (text.length / 4) * 3;
  const found = new Uint8Array(length);
  for (let i = 0, to = 0; i < text.length; i += 4) {
    const four =
      (value[text.charCodeAt(i)] << 18) |
      (value[text.charCodeAt(i + 1)] << 12) |
      (value[text.charCodeAt(i + 2)] << 6) |
      value[text.charCodeAt(i + 3)];
    found[to++] = four >> 16;
    found[to++] = four >> 8;
    found[to++] = four;
  }
  const end = text.endsWith("==") ? 2 : Number(text.endsWith("="));
  return found.subarray(0, length - end);
}

// What html.py has described, with its arrays. Tables stay in float32: each row is rarely read.
function restored(described, buffer) {
  if (Array.isArray(described)) return described.map((each) => restored(each, buffer));
  if (typeof described !== "object" || described === null) return described;
  if (!("shape" in described)) {
    const entries = Object.entries(described);
    return Object.fromEntries(entries.map(([name, each]) => [name, restored(each, buffer)]));
  }
  const { kind, shape, start } = described;
  const length = shape.reduce((a, b) => a * b, 1);
  if (kind === "int32") return { shape, values: new Int32Array(buffer, start, length) };
  const values = new Float32Array(buffer, start, length);
  return { shape, values: kind === "table" ? values : Float64Array.from(values) };
}

// The ids of the special tokens.
const [PAD, START, UNKNOWN] = [0, 1, 2];

class Classifier {
  constructor(description, numbers) {
    const { rules, words, entities, folded, network, ...settings } = JSON.parse(description);
    Object.assign(this, settings);
    const [names, foldings] = [entities, folded].map((each) => new Map(Object.entries(each)));
    this.split = rules === "keras" ? kerasWords : unicodeWords(names, foldings);
    this.ids = new Map(words.map((word, id) => [word, id]).slice(3));
    this.network = new Network(restored(network, bytes(numbers).buffer));
  }

  // The ids that the model reads of a text.
  encode(words) {
    const ids = [START, ...words.map((word) => this.ids.get(word) ?? UNKNOWN)];
    const read = this.head ? ids.slice(0, this.max_length) : ids.slice(-this.max_length);
    if (this.padding === "masked") return read;
    return [...new Array(this.max_length - read.length).fill(PAD), ...read];
  }

  // The likeliest class, and the probabilities that are shown; or what is wrong with the text. Where
  // it may have several, `labels` are those above their thresholds. With a coverage `inSet` is the
  // prediction set: all classes where no word that is read is known.
  answer(text, coverage) {
    const words = this.split(text);
    if (!words.length) return { problem: text.trim() && "There are no words in this text." };
    const tokens = this.encode(words);
    const probabilities = this.network.probabilities(tokens);
    const best = probabilities.indexOf(Math.max(...probabilities));
    let shown = this.classes.map((name, i) => [name, probabilities[i]]);
    if (this.ranks) shown = shown.sort((a, b) => b[1] - a[1]).slice(0, this.ranks);
    const problem = words.some((word) => this.ids.has(word))
      ? ""
      : "The model knows none of these words: its answer means nothing.";
    const answer = { label: this.classes[best], best, share: probabilities[best], shown, problem };
    if (coverage) {
      const least = tokens.some((token) => token > UNKNOWN) ? this.least[coverage] : 0;
      answer.inSet = this.classes.filter((name, i) => probabilities[i] >= least);
    }
    if (!this.thresholds.length) return answer;
    const isAbove = (name, i) => probabilities[i] > this.thresholds[i];
    return { ...answer, labels: this.classes.filter(isAbove) };
  }

  // Which words made class number `best` the answer. See `attribute`.
  *explain(text, best) {
    const words = this.split(text);
    const tokens = this.encode(words);
    const two = this.classes.length === 2 && !this.thresholds.length;
    const [logit, sign] = two ? [0, best ? 1 : -1] : [best, 1];
    const read = tokens.flatMap((token, t) => (isWord(token) ? [t] : []));
    const first = this.head ? 0 : words.length - read.length;
    const spans = wordSpans(text, this.split, first).slice(0, read.length);
    for (const found of attribute(this.network, tokens, logit)) {
      const word = ([start, end], i) => ({ start, end, weight: sign * found.weights[read[i]] });
      const difference = sign * found?.difference;
      yield found && { ...found, difference, words: spans.map(word) };
    }
  }
}

let classifier;

function open(description, numbers) {
  classifier = new Classifier(description, numbers);
}

const SLICE = 25; // Milliseconds after which it looks whether there is another text.
const REPORT = 400; // Milliseconds after which it shows weights that are not exact yet.
const pause = () => new Promise((resolve) => setTimeout(resolve));
let latest = 0;

async function classify({ id, text, coverage }) {
  latest = id;
  await pause();
  if (latest !== id) return;
  const answer = classifier.answer(text, coverage);
  postMessage({ id, answer });
  if (!answer.label || (answer.inSet && answer.inSet.length !== 1)) return;
  let [paused, reported] = [performance.now(), performance.now()];
  for (const explanation of classifier.explain(text, answer.best)) {
    const now = performance.now();
    if (explanation && (explanation.done || now - reported > REPORT)) {
      postMessage({ id, text, label: answer.label, explanation });
      reported = now;
    }
    if (now - paused > SLICE) {
      await pause();
      if (latest !== id) return;
      paused = performance.now();
    }
  }
}

globalThis.onmessage = ({ data }) => {
  if (data.numbers) open(data.description, data.numbers);
  else {
    // The page hears of an error that is thrown outside of a promise.
    classify(data).catch((error) => setTimeout(() => { throw error; }));
  }
};

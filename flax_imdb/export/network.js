"use strict";
// A classifier: its answers, and their slopes. A sequence is {steps, width, values}, its values one
// step after another. A layer is a function from a sequence to the next one and `back`, which turns
// the slopes of that into those of the sequence given. All is computed in float64.

const sequence = (steps, width) => ({ steps, width, values: new Float64Array(steps * width) });

// out[to ...] += vector[from ...] @ matrix, of which row `row` is the first.
function addProduct(out, to, vector, from, matrix, row, rows, columns) {
  let k = 0;
  for (; k + 4 <= rows; k += 4) {
    const a = vector[from + k];
    const b = vector[from + k + 1];
    const c = vector[from + k + 2];
    const d = vector[from + k + 3];
    const first = (row + k) * columns;
    const second = first + columns;
    const third = second + columns;
    const fourth = third + columns;
    for (let j = 0; j < columns; j++) {
      const two = a * matrix[first + j] + b * matrix[second + j];
      out[to + j] += two + c * matrix[third + j] + d * matrix[fourth + j];
    }
  }
  for (; k < rows; k++) {
    const a = vector[from + k];
    const first = (row + k) * columns;
    for (let j = 0; j < columns; j++) out[to + j] += a * matrix[first + j];
  }
}

// out[to ...] += matrix @ vector[from ...], of the rows from `row` on.
function addTransposed(out, to, vector, from, matrix, row, rows, columns) {
  for (let k = 0; k < rows; k++) {
    const first = (row + k) * columns;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    let j = 0;
    for (; j + 4 <= columns; j += 4) {
      a += matrix[first + j] * vector[from + j];
      b += matrix[first + j + 1] * vector[from + j + 1];
      c += matrix[first + j + 2] * vector[from + j + 2];
      d += matrix[first + j + 3] * vector[from + j + 3];
    }
    for (; j < columns; j++) a += matrix[first + j] * vector[from + j];
    out[to + k] += a + b + c + d;
  }
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// One direction of an LSTM; its gates are in the order i, f, c, o.
function direction({ kernel, recurrent_kernel: recurrent, bias }, input, backward) {
  const { steps, width } = input;
  const size = bias.values.length / 4;
  const output = sequence(steps, size);
  const gates = new Float64Array(4 * size * steps);
  const cells = new Float64Array(size * (steps + 1)); // Before the first step it is 0.
  const at = (n) => (backward ? steps - 1 - n : n); // The step that is computed as number n.
  for (let n = 0; n < steps; n++) {
    const t = at(n);
    const z = 4 * size * t;
    gates.set(bias.values, z);
    addProduct(gates, z, input.values, width * t, kernel.values, 0, width, 4 * size);
    const before = size * at(n - 1);
    if (n) addProduct(gates, z, output.values, before, recurrent.values, 0, size, 4 * size);
    for (let j = 0; j < size; j++) {
      const i = (gates[z + j] = sigmoid(gates[z + j]));
      const f = (gates[z + size + j] = sigmoid(gates[z + size + j]));
      const candidate = (gates[z + 2 * size + j] = Math.tanh(gates[z + 2 * size + j]));
      const o = (gates[z + 3 * size + j] = sigmoid(gates[z + 3 * size + j]));
      const cell = f * cells[size * n + j] + i * candidate;
      cells[size * (n + 1) + j] = cell;
      output.values[size * t + j] = o * Math.tanh(cell);
    }
  }

  // Adds the slopes of the inputs to `of`.
  function back(slopes, of) {
    const ofGates = new Float64Array(4 * size);
    const ofState = new Float64Array(size);
    const ofCell = new Float64Array(size);
    for (let n = steps - 1; n >= 0; n--) {
      const t = at(n);
      const z = 4 * size * t;
      for (let j = 0; j < size; j++) {
        const i = gates[z + j];
        const f = gates[z + size + j];
        const candidate = gates[z + 2 * size + j];
        const o = gates[z + 3 * size + j];
        const active = Math.tanh(cells[size * (n + 1) + j]);
        const ofOutput = slopes[size * t + j] + ofState[j];
        const ofNew = ofCell[j] + ofOutput * o * (1 - active * active);
        ofGates[j] = ofNew * candidate * i * (1 - i);
        ofGates[size + j] = ofNew * cells[size * n + j] * f * (1 - f);
        ofGates[2 * size + j] = ofNew * i * (1 - candidate * candidate);
        ofGates[3 * size + j] = ofOutput * active * o * (1 - o);
        ofCell[j] = ofNew * f;
      }
      addTransposed(of, width * t, ofGates, 0, kernel.values, 0, width, 4 * size);
      ofState.fill(0);
      if (n) addTransposed(ofState, 0, ofGates, 0, recurrent.values, 0, size, 4 * size);
    }
  }
  return { output, back, last: steps ? at(steps - 1) : -1 };
}

function lstm({ forward, backward, return_sequences: all }, input) {
  const parts = [];
  if (forward) parts.push(direction(forward, input, false));
  if (backward) parts.push(direction(backward, input, true));
  const width = parts.reduce((sum, { output }) => sum + output.width, 0);
  const output = sequence(all ? input.steps : 1, width);
  // Calls `copy` with where a vector stands in a part's outputs and in those of the layer.
  const each = (copy) => {
    let column = 0;
    for (const part of parts) {
      const size = part.output.width;
      if (all) {
        for (let t = 0; t < input.steps; t++) copy(part, size * t, width * t + column, size);
      } else if (part.last >= 0) copy(part, size * part.last, column, size);
      column += size;
    }
  };
  each((part, from, to, size) =>
    output.values.set(part.output.values.subarray(from, from + size), to),
  );
  const back = (slopes) => {
    const of = new Float64Array(input.values.length);
    const ofParts = new Map(
      parts.map((part) => [part, new Float64Array(part.output.values.length)]),
    );
    each((part, from, to, size) => ofParts.get(part).set(slopes.subarray(to, to + size), from));
    for (const [part, its] of ofParts) part.back(its, of);
    return of;
  };
  return { output, back };
}

// A convolution with ReLU.
function convolution({ kernel, bias }, input) {
  const [size, width, features] = kernel.shape;
  const { steps } = input;
  const output = sequence(steps, features);
  const each = (apply) => {
    for (let t = 0; t < steps; t++) {
      for (let k = 0; k < size; k++) {
        const from = t + k - ((size - 1) >> 1);
        if (from >= 0 && from < steps) apply(features * t, width * from, width * k);
      }
    }
  };
  for (let t = 0; t < steps; t++) output.values.set(bias.values, features * t);
  each((to, from, row) =>
    addProduct(output.values, to, input.values, from, kernel.values, row, width, features),
  );
  output.values.forEach((value, i) => (output.values[i] = Math.max(0, value)));
  const back = (slopes) => {
    const of = new Float64Array(input.values.length);
    const active = slopes.map((slope, i) => (output.values[i] > 0 ? slope : 0));
    each((to, from, row) =>
      addTransposed(of, from, active, to, kernel.values, row, width, features),
    );
    return of;
  };
  return { output, back };
}

// The maximum of each `window` steps; elements that share it split the slope.
function maxPool({ window }, input) {
  const { steps, width, values } = input;
  const output = sequence(Math.max(1, Math.ceil(steps / window)), width);
  const place = (i) => width * Math.floor(i / (width * window)) + (i % width);
  const found = output.values;
  if (steps) found.fill(-Infinity);
  values.forEach((value, i) => (found[place(i)] = Math.max(found[place(i)], value)));
  const back = (slopes) => {
    const alike = new Float64Array(found.length);
    values.forEach((value, i) => (alike[place(i)] += value === found[place(i)]));
    return values.map((value, i) =>
      value === found[place(i)] ? slopes[place(i)] / alike[place(i)] : 0,
    );
  };
  return { output, back };
}

function meanPool(input) {
  const { steps, width, values } = input;
  const output = sequence(1, width);
  values.forEach((value, i) => (output.values[i % width] += value / steps));
  return { output, back: (slopes) => values.map((_, i) => slopes[i % width] / steps) };
}

function maxAndMeanPool(input) {
  const pools = [POOLINGS.max(input), meanPool(input)];
  const output = sequence(1, 2 * input.width);
  pools.forEach((pool, i) => output.values.set(pool.output.values, i * input.width));
  const back = (slopes) => {
    const [ofMax, ofMean] = pools.map((pool, i) =>
      pool.back(slopes.subarray(i * input.width, (i + 1) * input.width)),
    );
    return ofMax.map((slope, i) => slope + ofMean[i]);
  };
  return { output, back };
}

const POOLINGS = {
  max: (input) => maxPool({ window: Math.max(1, input.steps) }, input),
  mean: meanPool,
  max_mean: maxAndMeanPool,
};

const LAYERS = { LSTMLayer: lstm, ConvLayer: convolution, MaxPoolLayer: maxPool };

// MurmurHash3 (x86, 32 bits, seed 0) of the `n` tokens that end at a step, modulo `buckets`; steps
// before the first count as token 0.
function hashNgram(tokens, last, n, buckets) {
  let state = 0;
  for (let t = last - n + 1; t <= last; t++) {
    const block = Math.imul(t < 0 ? 0 : tokens[t], 0xcc9e2d51);
    state ^= Math.imul((block << 15) | (block >>> 17), 0x1b873593);
    state = (Math.imul((state << 13) | (state >>> 19), 5) + 0xe6546b64) | 0;
  }
  state ^= 4 * n;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return ((state ^ (state >>> 16)) >>> 0) % buckets;
}

const isWord = (token) => token > 1; // Neither <pad> nor <start>.

class Network {
  constructor(description) {
    Object.assign(this, description);
    if (this.wide) {
      const { hashes, buckets } = this.wide;
      this.wide.found = new Int32Array(buckets).fill(-1); // Of each bucket its place in `hashes`.
      hashes.values.forEach((hash, place) => (this.wide.found[hash % buckets] = place));
    }
  }

  // The embeddings of tokens, with those of the n-grams that end with them.
  embed(tokens) {
    const tables = [this.embedding, ...this.ngram_embeddings];
    const input = sequence(tokens.length, this.embedding.shape[1]);
    tables.forEach(({ values, shape: [rows, width] }, i) => {
      tokens.forEach((token, t) => {
        const row = i ? hashNgram(tokens, t, i + 1, rows) : token;
        for (let j = 0; j < width; j++) input.values[width * t + j] += values[width * row + j];
      });
    });
    return input;
  }

  // The vector of a sequence, which is no longer than a window; `back` as that of a layer.
  vector(input) {
    const made = [];
    let x = input;
    for (const layer of this.layers) {
      made.push(LAYERS[layer.kind](layer, x));
      x = made.at(-1).output;
    }
    if (this.pooling) {
      made.push(POOLINGS[this.pooling](x));
      x = made.at(-1).output;
    }
    const back = (slopes) => made.reduceRight((of, layer) => layer.back(of), slopes);
    return { output: x, back };
  }

  // The mean of the vectors of a sequence's windows.
  meanVector(input) {
    const { steps, width, values } = input;
    const [length, stride] = this.window ?? [steps, steps];
    const parts = [];
    for (let start = 0; ; start += stride) {
      const own = values.subarray(width * start, width * (start + length));
      parts.push({ start, ...this.vector({ steps: own.length / width, width, values: own }) });
      if (start + length >= steps) break;
    }
    const output = sequence(1, parts[0].output.width);
    for (const part of parts) {
      part.output.values.forEach((value, j) => (output.values[j] += value / parts.length));
    }
    const back = (slopes) => {
      const of = new Float64Array(values.length);
      const each = slopes.map((slope) => slope / parts.length);
      for (const part of parts) {
        part.back(each).forEach((slope, i) => (of[width * part.start + i] += slope));
      }
      return of;
    };
    return { output, back };
  }

  // The encoder's logits of embedded tokens; `back` as that of a layer.
  encode(input) {
    const mean = this.meanVector(input);
    const [rows, columns] = this.kernel.shape;
    const logits = Float64Array.from(this.bias.values);
    addProduct(logits, 0, mean.output.values, 0, this.kernel.values, 0, rows, columns);
    const back = (slopes) => {
      const of = new Float64Array(rows);
      addTransposed(of, 0, slopes, 0, this.kernel.values, 0, rows, columns);
      return mean.back(of);
    };
    return { logits, back };
  }

  // The n-grams that count in the second head: for each its last step, its length, and its terms of
  // the logits. One that comes several times counts once, and each time has an equal share.
  *ngrams(tokens) {
    const { ngrams, hashes, buckets, found, terms } = this.wide;
    const columns = this.bias.values.length;
    const each = [];
    let number = 0;
    for (let n = 1; n <= ngrams; n++) {
      const seen = new Map();
      for (let last = 0; last < tokens.length; last++) {
        if (!tokens[last]) continue;
        const hash = hashNgram(tokens, last, n, 2 ** 31);
        const place = found[hash % buckets];
        if (place < 0 || hashes.values[place] !== hash) continue;
        const ngram = seen.get(place) ?? { place, times: 0 };
        ngram.times++;
        seen.set(place, ngram);
        each.push({ last, n, ngram });
      }
      number += seen.size;
    }
    for (const { last, n, ngram } of each) {
      const start = columns * ngram.place;
      const own = Array.from(terms.values.subarray(start, start + columns));
      yield { last, n, terms: own.map((term) => term / Math.sqrt(number) / ngram.times) };
    }
  }

  // The logits of a text: the weighted mean of those of both heads.
  logits(tokens) {
    const { logits } = this.encode(this.embed(tokens));
    if (!this.wide) return logits;
    const { weight, bias } = this.wide;
    const wide = Float64Array.from(bias.values);
    for (const { terms } of this.ngrams(tokens)) terms.forEach((term, i) => (wide[i] += term));
    return logits.map((logit, i) => (1 - weight) * logit + weight * wide[i]);
  }

  // The probabilities of the classes.
  probabilities(tokens) {
    const logits = Array.from(this.logits(tokens));
    if (this.multi_label) return logits.map(sigmoid);
    if (logits.length === 1) return [sigmoid(-logits[0]), sigmoid(logits[0])];
    const highest = Math.max(...logits);
    const shares = logits.map((logit) => Math.exp(logit - highest));
    const sum = shares.reduce((a, b) => a + b, 0);
    return shares.map((share) => share / sum);
  }

  // What each token adds to a logit through the n-grams: all their words have an equal share.
  ofNgrams(tokens, logit) {
    const weights = new Float64Array(tokens.length);
    if (!this.wide) return weights;
    for (const { last, n, terms } of this.ngrams(tokens)) {
      const words = [];
      for (let t = Math.max(last + 1 - n, 0); t <= last; t++) if (isWord(tokens[t])) words.push(t);
      for (const t of words) weights[t] += (this.wide.weight * terms[logit]) / words.length;
    }
    return weights;
  }
}

// Gauss's quadrature in [-1, 1].
const NODES = [-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526];
const SHARES = [0.34785484513745385, 0.6521451548625461, 0.6521451548625461, 0.34785484513745385];

const PARTS = 8;
const MOST_PARTS = 300;
const NARROWEST = 2 ** -46;
const TOLERANCE = 0.01;
const LEAST_ERROR = 1e-3;
const allowed = (difference) => Math.max(TOLERANCE * Math.abs(difference), LEAST_ERROR);

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

// What each token of a text adds to a logit: integrated gradients along the path from the text with
// every word blank to the text, as in flax_imdb/explain.py. Parts of the path whose slopes do not
// add up to the difference of its ends are halved. Yields often, so that it may be given up: the
// weights so far with the difference to which they should add up, or nothing yet.
function* attribute(network, tokens, logit) {
  const input = network.embed(tokens);
  const { width } = input;
  const embedded = Array.from(tokens, (token, t) =>
    isWord(token) ? input.values.subarray(width * t, width * (t + 1)) : null,
  );
  const known = network.ofNgrams(tokens, logit);
  const share = network.wide ? 1 - network.wide.weight : 1;
  const seed = new Float64Array(network.bias.values.length);
  seed[logit] = share;

  function at(point) {
    const values = input.values.slice();
    embedded.forEach((vector, t) =>
      vector?.forEach((value, j) => (values[width * t + j] = point * value)),
    );
    return network.encode({ ...input, values });
  }
  const ends = new Map(); // The logits there, which neighbours share.
  function logitAt(point) {
    if (!ends.has(point)) ends.set(point, share * at(point).logits[logit]);
    return ends.get(point);
  }
  function* measure(start, end) {
    const weights = new Float64Array(tokens.length);
    for (let i = 0; i < NODES.length; i++) {
      const slopes = at((start + end) / 2 + ((end - start) / 2) * NODES[i]).back(seed);
      embedded.forEach((vector, t) =>
        vector?.forEach((value, j) => {
          weights[t] += ((end - start) / 2) * SHARES[i] * slopes[width * t + j] * value;
        }),
      );
      yield null;
    }
    const difference = logitAt(end) - logitAt(start);
    return { start, end, weights, difference, error: difference - sum(weights) };
  }

  let parts = [];
  for (let i = 0; i < PARTS; i++) parts.push(yield* measure(i / PARTS, (i + 1) / PARTS));
  const difference = sum(known) + sum(parts.map((part) => part.difference));
  for (;;) {
    const weights = known.map((weight, t) => weight + sum(parts.map((part) => part.weights[t])));
    const errors = parts.map(({ error }) => error);
    const wide = parts.filter(({ start, end }) => end - start > NARROWEST);
    const norm = (numbers) => Math.hypot(...numbers);
    const left = Math.max(Math.abs(sum(errors)), norm(errors));
    const done =
      left <= allowed(difference) ||
      norm(wide.map(({ error }) => error)) <= allowed(difference) / 2 ||
      parts.length >= MOST_PARTS;
    const complete = Math.abs(sum(errors)) <= allowed(difference);
    yield { weights, difference, complete, done };
    if (done) return;
    const worst = wide.sort((a, b) => Math.abs(b.error) - Math.abs(a.error)).slice(0, PARTS / 2);
    parts = parts.filter((part) => !worst.includes(part));
    for (const { start, end } of worst) {
      const middle = (start + end) / 2;
      parts.push(yield* measure(start, middle), yield* measure(middle, end));
    }
  }
}

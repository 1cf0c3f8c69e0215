"use strict";
// A text to words, by the rules of docs/tokenizer.md, whose steps are numbered there.

// What JavaScript calls white space is something else.
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
const FILTERED = /[!"#$%&()*+,\-./:;<=>?@[\\\]^_`{|}~\t\n]/g;

function kerasWords(text) {
  const spaced = text.toLowerCase().replaceAll("<br />", " ").replace(FILTERED, " ");
  return spaced.split(SPACE).filter(Boolean);
}

const ENTITY = /&(?:amp;)*(#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[a-zA-Z][a-zA-Z0-9]{1,31};)/g;

// Without the flag `u`, the flag `i` ignores the letter case of ASCII alone.
const TAG = new RegExp(
  "</?(?:a|abbr|address|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|" +
    "col|dd|del|details|div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|" +
    "html|i|iframe|img|input|ins|kbd|label|li|link|main|mark|meta|nav|ol|option|p|picture|pre|q|" +
    "s|samp|script|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|" +
    "table|tbody|td|textarea|tfoot|th|thead|time|title|tr|tt|u|ul|var|video|wbr)" +
    "(?:[\\t-\\r ]+[a-z:-]+[\\t-\\r ]*=[^<>]*|[\\t-\\r ]*/?)>|<!-{2}[^<>]*-->",
  "gi",
);

// The signs of Windows-1252 for U+0080 to U+009F; five stand for themselves.
const WINDOWS =
  "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

function ofNumber(code) {
  if (code >= 0x80 && code < 0xa0) return WINDOWS[code - 0x80];
  if (code === 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return "\ufffd";
  const control = code < 0x20 && !/[\t\n\f\r]/.test(String.fromCharCode(code));
  const none = code === 0x7f || (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) === 0xfffe;
  return control || none ? "" : String.fromCodePoint(code);
}

const APOSTROPHES = /[\u2018\u2019\u201b\u2032\xb4\u02bb\u02bc\u055a\u05f3\x91\x92]/g;
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Me}]+/gu;
const PILED = /([\p{M}\uff9e\uff9f]{30})[\p{M}\uff9e\uff9f]+/gu;
const NUMBER = /\p{No}/gu;
const ALONE =
  "(?=\\p{L})[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}" +
  "\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}\\u30fc]";
const LETTER = `(?!${ALONE})[\\p{L}\\p{N}]`;
const REST = `(?:${LETTER}|\\p{M})*`;
const WORD = new RegExp(
  "[a-z0-9]+(?![a-z0-9'\\x80-\\u{10ffff}])|" + // Most words, the fast way.
    `${LETTER}${REST}(?:'${LETTER}${REST})*|` +
    `${ALONE}[\\p{M}\\u30fc]*|` +
    "\\p{Regional_Indicator}{2}|" +
    "(?![\\u2800-\\u28ff\\ufffc\\ufffd])(?=[\\u2600-\\u{10ffff}])\\p{So}",
  "gu",
);

// `entities` are HTML's, by name; `folded` is the case folding of those characters for which it is
// not their lower case.
function unicodeWords(entities, folded) {
  const ofEntity = (entity, name) => {
    if (name[0] !== "#") return entities.get(name.slice(0, -1)) ?? `&${name}`;
    const hexadecimal = /x/i.test(name[1]);
    return ofNumber(parseInt(name.slice(hexadecimal ? 2 : 1), hexadecimal ? 16 : 10));
  };
  // By single characters: at the end of a word "Σ" has another lower case.
  const fold = (text) =>
    text.replace(/[A-Z]+|[^\0-\x7f]/gu, (each) => folded.get(each) ?? each.toLowerCase());
  return (text) => {
    const plain = text
      .replaceAll("\\n", " ") // 1
      .replace(ENTITY, ofEntity) // 2
      .replaceAll("<br />", " ") // 3
      .replace(TAG, " ") // 4
      .replace(APOSTROPHES, "'") // 5
      .replace(/[\u2122\u2120\x99]/g, " ")
      .replaceAll("\u0149", "'n")
      .replace(/[\x80-\x9f]/g, (sign) => {
        const meant = WINDOWS[sign.charCodeAt() - 0x80];
        return meant === sign ? "" : meant;
      })
      .replace(INVISIBLE, "") // 6
      .replace(PILED, "$1") // 7
      .replace(NUMBER, " $& ") // 8
      .normalize("NFKC"); // 9
    const one = fold(plain).replace(/i\u0307+/g, "i").normalize("NFKC");
    return one.match(WORD) ?? []; // 10
  };
}

// Where in a text its words from number `first` on stand: [start, end) of each, counted in code
// points, as in flax_imdb/data/spans.py. The text may be cut wherever both parts have the words of
// the whole; so whatever the rules undo, such as an entity, is in the span of its word. Words that
// cannot be told apart share one.
function wordSpans(text, split, first = 0) {
  const MOST_TRIES = 1000;
  const places = [0];
  for (const character of text) places.push(places.at(-1) + character.length);
  const wordsOf = (begin, end) => split(text.slice(places[begin], places[end]));
  const same = (found, words) =>
    found.length === words.length && found.every((word, i) => word === words[i]);

  function* fromTheMiddle(begin, end) {
    const length = end - begin;
    const middle = begin + Math.floor(length / 2);
    for (let distance = 0; distance < length; distance++) {
      if (middle - distance > begin) yield middle - distance;
      if (distance && middle + distance < end) yield middle + distance;
    }
  }

  // The smallest part with the same words, if it is not very long.
  function trimmed(begin, end, words) {
    const has = (from, to) => same(wordsOf(from, to), words);
    for (let step = (end - begin) >> 1; step; step >>= 1) {
      while (end - step > begin && has(begin, end - step)) end -= step;
      while (begin + step < end && has(begin + step, end)) begin += step;
    }
    if (end - begin > MOST_TRIES) return [begin, end];
    let from = end - 1;
    while (!has(from, end)) from--;
    let to = from + 1;
    while (!has(from, to)) to++;
    return [from, to];
  }

  const spans = [];
  function find(begin, end, words, number) {
    if (number + words.length <= first) return;
    if (words.length > 1) {
      let tries = 0;
      for (const cut of fromTheMiddle(begin, end)) {
        if (tries++ === MOST_TRIES) break;
        const left = wordsOf(begin, cut);
        if (!same(left, words.slice(0, left.length))) continue;
        const right = words.slice(left.length);
        if (same(wordsOf(cut, end), right)) {
          find(begin, cut, left, number);
          find(cut, end, right, number + left.length);
          return;
        }
      }
    }
    if (!words.length) return;
    const span = trimmed(begin, end, words);
    words.forEach((_, i) => number + i >= first && spans.push(span));
  }
  find(0, places.length - 1, split(text), 0);
  return spans;
}

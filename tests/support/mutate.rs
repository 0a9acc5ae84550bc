//! Small damages to bytes: what a broken disk, a cut connection or somebody with bad intentions would do.

use fastrand::Rng;

/// Numbers and marks that parsers trip over.
const WORDS: &[&str] = &[
    "-1",
    "0",
    "1",
    "2",
    "-0.0",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "1e-320",
    "255",
    "256",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "99999999999999999999",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "\"",
    "=",
    ":",
    ",",
    "%",
    "@",
    "#",
    "\n",
    "\\",
    "%0",
    "@i",
    "@zz",
    "é",
    "\u{0}",
];

/// The bytes with one to four damages, some of them pieces of `other`.
pub fn damaged(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.usize(1..=4) {
        damage(rng, &mut bytes, other);
    }
    bytes
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.usize(..=bytes.len());
    let to = (at + rng.usize(0..=16)).min(bytes.len());
    match rng.u8(..10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => drop(bytes.drain(at..to)),
        3 => {
            let piece = bytes[at..to].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => bytes.truncate(at),
        5 => drop(bytes.splice(at..to, WORDS[rng.usize(..WORDS.len())].bytes())),
        6 => replace_word(rng, bytes),
        7 => lines(rng, bytes),
        8 if !other.is_empty() => {
            let from = rng.usize(..other.len());
            let piece = &other[from..(from + rng.usize(1..=32)).min(other.len())];
            bytes.splice(at..to, piece.iter().copied());
        }
        _ => bytes.extend((0..rng.usize(..8)).map(|_| rng.u8(..))),
    }
}

/// One word in place of another: what is still well formed gets further.
fn replace_word(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || b"_.%@-".contains(b);
    let starts: Vec<usize> =
        (0..bytes.len()).filter(|&i| is_word(&bytes[i]) && (i == 0 || !is_word(&bytes[i - 1]))).collect();
    if starts.len() < 2 {
        return;
    }
    let word = |start: usize| start..bytes[start..].iter().position(|b| !is_word(b)).map_or(bytes.len(), |n| start + n);
    let (from, into) = (word(starts[rng.usize(..starts.len())]), word(starts[rng.usize(..starts.len())]));
    let new = if rng.u8(..3) == 0 { WORDS[rng.usize(..WORDS.len())].as_bytes().to_vec() } else { bytes[from].to_vec() };
    bytes.splice(into, new);
}

/// A line is left out, comes twice, or changes places with another.
fn lines(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    if lines.len() < 2 {
        return;
    }
    let (a, b) = (rng.usize(..lines.len()), rng.usize(..lines.len()));
    match rng.u8(..3) {
        0 => drop(lines.remove(a)),
        1 => lines.insert(b, lines[a].clone()),
        _ => lines.swap(a, b),
    }
    *bytes = lines.concat();
}

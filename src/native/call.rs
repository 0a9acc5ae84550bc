//! How machine code calls a native kernel: numbers as an array of words, memory as addresses.

use super::ctc::Ctc;
use super::pairs::{Matrix, Pairs, Rows, Term};
use crate::ir::Dtype;

/// What each word of a call of CTC holds. Strides are in elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// The places of dtypes in [`Dtype::ALL`].
    Real,
    Label,
    /// Extents.
    Steps,
    Classes,
    Labels,
    StrideOfStep,
    StrideOfClass,
    StrideOfLabel,
    GradientStrideOfStep,
    GradientStrideOfClass,
    /// What counts in this row.
    PredLength,
    LabelLength,
    Blank,
    /// The bits of an f64.
    Head,
}

/// The words of one call.
pub const WORDS: usize = Word::Head as usize + 1;

/// The kernel as machine code calls it. Returns 0 where all was well.
///
/// # Safety
/// `words` has [`WORDS`] words as [`Word`] says. The addresses are those that [`Ctc::run`] needs.
pub unsafe extern "C" fn ctc(
    words: *const i64,
    logits: *const u8,
    label: *const u8,
    loss: *mut f64,
    gradient: *mut u8,
    scratch: *mut u8,
) -> u32 {
    // SAFETY: the caller's promise.
    let words = unsafe { std::slice::from_raw_parts(words, WORDS) };
    let word = |word: Word| words[word as usize];
    let (stride, size) = (|w: Word| word(w) as isize, |w: Word| word(w) as usize);
    let call = Ctc {
        real: Dtype::ALL[size(Word::Real)],
        label: Dtype::ALL[size(Word::Label)],
        steps: size(Word::Steps),
        classes: size(Word::Classes),
        labels: size(Word::Labels),
        logits: [stride(Word::StrideOfStep), stride(Word::StrideOfClass)],
        label_stride: stride(Word::StrideOfLabel),
        gradient: [stride(Word::GradientStrideOfStep), stride(Word::GradientStrideOfClass)],
    };
    let (pred_length, label_length) = (word(Word::PredLength), word(Word::LabelLength));
    let head = f64::from_bits(word(Word::Head) as u64);
    // SAFETY: the caller's promise.
    unsafe {
        Ctc::run(&call, logits, label, pred_length, label_length, word(Word::Blank), head, loss, gradient, scratch)
    }
}

/// What each word of a call of pairs holds. Strides are in elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PairWord {
    /// 1 for f64, 0 for f32.
    Real,
    /// 1 for products, 0 for differences.
    Product,
    /// 1 where a weight is spread, 0 where rows are contracted.
    Spread,
    /// Extents.
    Rows,
    Columns,
    Depth,
    StrideOfX,
    StrideOfY,
    RowsOfOut,
    ColumnsOfOut,
    RowsOfWeight,
    ColumnsOfWeight,
    /// The bits of an f64.
    Factor,
    /// 1 where the result is added to what is there.
    Adds,
}

/// The words of one call.
pub const PAIR_WORDS: usize = PairWord::Adds as usize + 1;

/// The kernel of [`Pairs`] as machine code calls it.
///
/// # Safety
/// `words` has [`PAIR_WORDS`] words as [`PairWord`] says. The addresses are those that [`Pairs::contract`] or
/// [`Pairs::spread`] needs.
pub unsafe extern "C" fn pairs(words: *const i64, x: *mut u8, y: *mut u8, weight: *mut u8, out: *mut u8) {
    // SAFETY: the caller's promise.
    let words = unsafe { std::slice::from_raw_parts(words, PAIR_WORDS) };
    let word = |word: PairWord| words[word as usize];
    let (stride, size) = (|w: PairWord| word(w) as isize, |w: PairWord| word(w) as usize);
    let call = Pairs {
        real: if word(PairWord::Real) == 1 { Dtype::F64 } else { Dtype::F32 },
        term: if word(PairWord::Product) == 1 { Term::Product } else { Term::Difference },
        x: Rows { start: x, stride: stride(PairWord::StrideOfX), count: size(PairWord::Rows) },
        y: Rows { start: y, stride: stride(PairWord::StrideOfY), count: size(PairWord::Columns) },
        depth: size(PairWord::Depth),
    };
    let out_strides = [stride(PairWord::RowsOfOut), stride(PairWord::ColumnsOfOut)];
    // SAFETY: the caller's promise.
    unsafe {
        if word(PairWord::Spread) == 0 {
            return call.contract(Matrix { start: out, strides: out_strides });
        }
        let strides = [stride(PairWord::RowsOfWeight), stride(PairWord::ColumnsOfWeight)];
        let out = Rows { start: out, stride: out_strides[0], count: call.x.count };
        let factor = f64::from_bits(word(PairWord::Factor) as u64);
        call.spread(Matrix { start: weight, strides }, out, factor, word(PairWord::Adds) == 1);
    }
}

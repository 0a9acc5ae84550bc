//! How machine code calls a native kernel: numbers as an array of words, memory as addresses.

use super::ctc::Ctc;
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

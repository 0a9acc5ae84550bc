//! The table of the built-in losses, by name.

use super::{
    CTCLoss, Configure, CosineEmbeddingLoss, HingeLoss, HuberLoss, KLDivLoss, L1Loss, L2Loss, LogisticLoss, Loss,
    Parameter, PoissonNLLLoss, SDMLLoss, SigmoidBinaryCrossEntropyLoss, SoftmaxCrossEntropyLoss, SquaredHingeLoss,
    TripletLoss,
};
use crate::error::Result;

/// A built-in loss as programs find it.
#[derive(Debug)]
pub struct Entry {
    /// The class name on the `mxnet.gluon.loss` page.
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// The inputs by name; optional ones end in `?`.
    pub inputs: &'static [&'static str],
    pub parameters: fn() -> Vec<Parameter>,
    /// The loss with these parameters set.
    pub build: Build,
}

/// Makes a loss of parameters by name.
pub type Build = fn(&[(String, String)]) -> Result<Box<dyn Loss>>;

fn build<L: Loss + Configure + 'static>(settings: &[(String, String)]) -> Result<Box<dyn Loss>> {
    let mut loss = L::default();
    settings.iter().try_for_each(|(name, value)| loss.set(name, value))?;
    Ok(Box::new(loss))
}

macro_rules! losses {
    ($($loss:ident ($($alias:literal),*) [$($input:literal),*];)*) => {
        /// Every built-in loss, in the order of the `mxnet.gluon.loss` page.
        pub const LOSSES: &[Entry] = &[$(Entry {
            name: stringify!($loss),
            aliases: &[$($alias),*],
            inputs: &[$($input),*],
            parameters: <$loss as Configure>::parameters,
            build: build::<$loss>,
        }),*];
    };
}

losses! {
    L2Loss () ["pred", "label", "sample_weight?"];
    L1Loss () ["pred", "label", "sample_weight?"];
    SigmoidBinaryCrossEntropyLoss ("SigmoidBCELoss") ["pred", "label", "sample_weight?", "pos_weight?"];
    SoftmaxCrossEntropyLoss ("SoftmaxCELoss") ["pred", "label", "sample_weight?", "class_weight?"];
    KLDivLoss () ["pred", "label", "sample_weight?"];
    CTCLoss () ["pred", "label", "pred_lengths?", "label_lengths?", "sample_weight?"];
    HuberLoss () ["pred", "label", "sample_weight?"];
    HingeLoss () ["pred", "label", "sample_weight?"];
    SquaredHingeLoss () ["pred", "label", "sample_weight?"];
    LogisticLoss () ["pred", "label", "sample_weight?"];
    TripletLoss () ["pred", "positive", "negative", "sample_weight?"];
    PoissonNLLLoss () ["pred", "target", "sample_weight?"];
    CosineEmbeddingLoss () ["input1", "input2", "label", "sample_weight?"];
    SDMLLoss () ["x1", "x2", "sample_weight?"];
}

/// The loss of a class name, an alias, or either in snake_case.
pub fn find(name: &str) -> Option<&'static Entry> {
    let matches = |known: &str| known == name || snake_case(known) == name;
    LOSSES.iter().find(|e| matches(e.name) || e.aliases.iter().any(|a| matches(a)))
}

/// `SoftmaxCELoss` as `softmax_ce_loss`: a capital starts a word unless it follows one and none small follows it.
fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::new();
    for (i, &letter) in letters.iter().enumerate() {
        let small = |j: usize| letters.get(j).is_some_and(|c| !c.is_uppercase());
        if i > 0 && letter.is_uppercase() && (small(i - 1) && !letters[i - 1].is_ascii_digit() || small(i + 1)) {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_snake_case() {
        let names = ["L2Loss", "SigmoidBCELoss", "SoftmaxCrossEntropyLoss", "CTCLoss", "KLDivLoss", "SDMLLoss"];
        let snake =
            ["l2_loss", "sigmoid_bce_loss", "softmax_cross_entropy_loss", "ctc_loss", "kl_div_loss", "sdml_loss"];
        assert_eq!(names.map(snake_case), snake);
        assert!(snake[..3].iter().all(|n| find(n).is_some()));
        assert!(find("l3_loss").is_none());
    }
}

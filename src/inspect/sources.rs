//! The text of the lines that origins name.

use super::report::Report;

/// The sources of the built-in losses, by their path in this package.
const BUILT_IN: &[(&str, &str)] = &[
    ("src/losses/axes.rs", include_str!("../losses/axes.rs")),
    ("src/losses/cosine_embedding.rs", include_str!("../losses/cosine_embedding.rs")),
    ("src/losses/ctc.rs", include_str!("../losses/ctc.rs")),
    ("src/losses/hinge.rs", include_str!("../losses/hinge.rs")),
    ("src/losses/huber.rs", include_str!("../losses/huber.rs")),
    ("src/losses/kl_div.rs", include_str!("../losses/kl_div.rs")),
    ("src/losses/l1.rs", include_str!("../losses/l1.rs")),
    ("src/losses/l2.rs", include_str!("../losses/l2.rs")),
    ("src/losses/logistic.rs", include_str!("../losses/logistic.rs")),
    ("src/losses/poisson_nll.rs", include_str!("../losses/poisson_nll.rs")),
    ("src/losses/reduce.rs", include_str!("../losses/reduce.rs")),
    ("src/losses/sdml.rs", include_str!("../losses/sdml.rs")),
    ("src/losses/sigmoid_bce.rs", include_str!("../losses/sigmoid_bce.rs")),
    ("src/losses/softmax_ce.rs", include_str!("../losses/softmax_ce.rs")),
    ("src/losses/squared_hinge.rs", include_str!("../losses/squared_hinge.rs")),
    ("src/losses/triplet.rs", include_str!("../losses/triplet.rs")),
];

/// What the compiler puts before the path of a file of this package.
fn root() -> &'static str {
    file!().strip_suffix("src/inspect/sources.rs").unwrap_or_default()
}

/// A line of a built-in loss's source, without the space around it. Other sources are not looked for: a file of the same
/// name where a program happens to run may be another one.
pub(super) fn built_in(file: &str, number: u32) -> Option<String> {
    let path = file.strip_prefix(root())?;
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == path)?;
    line(text, number)
}

fn line(text: &str, number: u32) -> Option<String> {
    let place = number.checked_sub(1)? as usize;
    text.lines().nth(place).map(|line| line.trim().to_string())
}

impl Report {
    /// The report with the texts of the lines of one more source, that of a loss of your own:
    /// `report.with_source(file!(), include_str!("my_loss.rs"))`. A graph's text is the source without a name, `""`.
    pub fn with_source(mut self, file: &str, text: &str) -> Self {
        for origin in self.origins.iter_mut().filter(|origin| origin.file == file) {
            origin.text = line(text, origin.line);
        }
        self
    }
}

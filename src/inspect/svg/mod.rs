//! Graphs as pictures: SVG, laid out in layers, values flowing downwards.

mod draw;
mod layers;

use crate::inspect::{Report, Stage};

pub(super) use draw::{class, figure};

impl Report {
    /// The graph of one stage, or that of the nest, as an SVG file of its own.
    ///
    /// # Errors
    /// The stage is code, which has no graph, or the graph is too large for a picture.
    pub fn svg(&self, stage: Stage) -> Result<String, String> {
        let listing = self.listing(stage).filter(|listing| !listing.nodes.is_empty());
        let listing =
            listing.ok_or_else(|| format!("{stage} has no graph; trace, simplify, grad, joint and nest have"))?;
        draw::svg(&self.loss, listing)
    }
}

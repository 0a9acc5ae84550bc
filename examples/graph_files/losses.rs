//! The three losses in Rust.

use lossjit::{Expr, Loss, Result, Tracer};

/// `−(1 − p)² · log p`, with `p = softmax(pred)[label]`.
pub struct Focal;

impl Loss for Focal {
    fn name(&self) -> &str {
        "focal"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let p = t.float("pred", &[n, c])?.softmax(c).at(c, t.class("label", &[n])?);
        Ok(-(1.0 - p).square() * p.ln())
    }
}

/// `1 − (2 Σ p·z + 1) / (Σ p + Σ z + 1)`, with `p = sigmoid(pred)`.
pub struct Dice;

impl Loss for Dice {
    fn name(&self) -> &str {
        "dice"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, i] = t.axes(["n", "i"])?;
        let (p, z) = (t.float("pred", &[n, i])?.sigmoid(), t.float("label", &[n, i])?);
        let overlap = (p * z).sum(i);
        Ok(1.0 - (1.0 + 2.0 * overlap) / (1.0 + (p.sum(i) + z.sum(i))))
    }
}

/// `−log softmax over j of query_i · key_j / 0.1`, at j = i.
pub struct InfoNce;

impl Loss for InfoNce {
    fn name(&self) -> &str {
        "info_nce"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [i, d, j] = t.axes(["i", "d", "j"])?;
        let (query, key) = (t.float("query", &[i, d])?, t.float("key", &[j, d])?);
        let s = (query * key).sum(d) / 0.1;
        Ok(-s.softmax(j).at(j, t.index(i)).ln())
    }
}

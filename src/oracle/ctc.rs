//! CTC by its definition, in log space: forward and backward variables over the label with a blank before, between and
//! behind its entries (Graves et al., "Connectionist Temporal Classification", ICML 2006, section 4.1).

use ndarray::{Array2, ArrayView2, ArrayViewMut1};

/// The loss of one sequence and its derivatives by the logits, `softmax − posterior`: both along `[t, c]`.
///
/// Where no alignment exists, or none of positive probability, the loss is +∞ and the derivatives are 0; where a logit
/// is NaN or +∞ all of them are NaN.
pub fn ctc(logits: ArrayView2<f64>, label: &[usize], blank: usize) -> (f64, Array2<f64>) {
    let log_p = log_softmax(logits);
    let (steps, states) = (log_p.nrows(), 2 * label.len() + 1);
    let class = |s: usize| if s % 2 == 1 { label[s / 2] } else { blank };
    // From a state the path stays, goes on, or skips a blank between two labels that differ.
    let skips = |s: usize| s % 2 == 1 && s >= 2 && label[s / 2] != label[s / 2 - 1];

    // Rows are shifted to a largest entry of 0: what is added up in thousands of steps would cost their digits.
    let mut shifted = 0.0;
    let mut alpha = Array2::from_elem((steps, states), f64::NEG_INFINITY);
    for t in 0..steps {
        for s in 0..states {
            let before = |back: usize| if s >= back { alpha[[t - 1, s - back]] } else { f64::NEG_INFINITY };
            let reached = match t {
                0 if s < 2 => 0.0,
                0 => f64::NEG_INFINITY,
                _ => log_sum(&[before(0), before(1), if skips(s) { before(2) } else { f64::NEG_INFINITY }]),
            };
            alpha[[t, s]] = reached + log_p[[t, class(s)]];
        }
        shifted += shift(alpha.row_mut(t));
    }
    // Of what follows step t; its own emission is in alpha.
    let mut beta = Array2::from_elem((steps, states), f64::NEG_INFINITY);
    for t in (0..steps).rev() {
        for s in 0..states {
            let after = |on: usize| match s + on {
                next if next < states => beta[[t + 1, next]] + log_p[[t + 1, class(next)]],
                _ => f64::NEG_INFINITY,
            };
            beta[[t, s]] = match t + 1 == steps {
                true if s + 2 >= states => 0.0,
                true => f64::NEG_INFINITY,
                false => {
                    let skip = s + 2 < states && skips(s + 2);
                    log_sum(&[after(0), after(1), if skip { after(2) } else { f64::NEG_INFINITY }])
                }
            };
        }
        shift(beta.row_mut(t));
    }
    let total = match steps {
        0 if label.is_empty() => 0.0,
        0 => f64::NEG_INFINITY,
        _ => {
            let ends = (states.saturating_sub(2)..states).map(|s| alpha[[steps - 1, s]]).collect::<Vec<_>>();
            shifted + log_sum(&ends)
        }
    };
    let mut slope = log_p.mapv(f64::exp);
    if total.is_nan() || log_p.iter().any(|x| x.is_nan()) {
        slope.fill(f64::NAN);
        return (f64::NAN, slope);
    }
    if total == f64::NEG_INFINITY {
        slope.fill(0.0);
        return (f64::INFINITY, slope);
    }
    for t in 0..steps {
        let paths: Vec<f64> = (0..states).map(|s| alpha[[t, s]] + beta[[t, s]]).collect();
        let all = log_sum(&paths);
        for (s, path) in paths.into_iter().enumerate() {
            slope[[t, class(s)]] -= (path - all).exp();
        }
    }
    ((-total).max(0.0), slope)
}

/// Takes the largest entry from all; returns it. A row without any number stays.
fn shift(mut row: ArrayViewMut1<f64>) -> f64 {
    let top = row.iter().fold(f64::NEG_INFINITY, |top: f64, &x| top.max(x));
    if !top.is_finite() {
        return 0.0;
    }
    row.mapv_inplace(|x| x - top);
    top
}

fn log_softmax(logits: ArrayView2<f64>) -> Array2<f64> {
    let mut log_p = logits.to_owned();
    for mut row in log_p.rows_mut() {
        let top = row.iter().fold(f64::NEG_INFINITY, |top: f64, &x| top.max(x));
        let sum: f64 = row.iter().map(|&x| (x - top).exp()).sum();
        row.mapv_inplace(|x| (x - top) - sum.ln());
    }
    log_p
}

fn log_sum(x: &[f64]) -> f64 {
    let top = x.iter().fold(f64::NEG_INFINITY, |top: f64, &x| top.max(x));
    match x.iter().any(|x| x.is_nan()) {
        true => f64::NAN,
        false if top == f64::NEG_INFINITY => top,
        false => top + x.iter().map(|&x| (x - top).exp()).sum::<f64>().ln(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a path of classes spells.
    fn spelt(path: &[usize], blank: usize) -> Vec<usize> {
        let merged = path.iter().enumerate().filter(|(t, c)| *t == 0 || path[t - 1] != **c);
        merged.map(|(_, &c)| c).filter(|&c| c != blank).collect()
    }

    /// −log of the sum over every path that spells the label.
    fn by_force(logits: &Array2<f64>, label: &[usize], blank: usize) -> f64 {
        let log_p = log_softmax(logits.view());
        let (steps, classes) = logits.dim();
        let mut total = 0.0;
        for number in 0..classes.pow(steps as u32) {
            let path: Vec<usize> = (0..steps).map(|t| number / classes.pow(t as u32) % classes).collect();
            if spelt(&path, blank) == label {
                total += path.iter().enumerate().map(|(t, &c)| log_p[[t, c]]).sum::<f64>().exp();
            }
        }
        -total.ln()
    }

    #[test]
    fn every_path_of_small_sequences() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut feasible = 0;
        for _ in 0..300 {
            let (steps, classes) = (random.usize(0..6), random.usize(2..5));
            let blank = random.usize(..classes);
            let others: Vec<usize> = (0..classes).filter(|&c| c != blank).collect();
            let label: Vec<usize> = (0..random.usize(0..4)).map(|_| others[random.usize(..others.len())]).collect();
            let logits = Array2::from_shape_simple_fn((steps, classes), || random.f64() * 6.0 - 3.0);
            let (loss, slope) = ctc(logits.view(), &label, blank);
            let wanted = by_force(&logits, &label, blank);
            assert!(loss == wanted || (loss - wanted).abs() < 1e-12 * (1.0 + wanted), "{loss}, not {wanted}");
            feasible += usize::from(wanted.is_finite());
            for ((t, c), &slope) in slope.indexed_iter().filter(|_| wanted.is_finite()) {
                let moved = |by: f64| {
                    let mut logits = logits.clone();
                    logits[[t, c]] += by;
                    by_force(&logits, &label, blank)
                };
                let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                assert!((slope - difference).abs() < 1e-8, "{slope}, not {difference}");
            }
        }
        assert!(feasible > 100);
    }
}

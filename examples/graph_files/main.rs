//! How do I take a loss from a file? Three losses as text, each beside its form in Rust: both give the same numbers.
//!
//! Run with `cargo run --release --example graph_files`, or give such a file to the program in place of a name:
//! `lossjit eval examples/graph_files/focal.graph --input …`.

mod losses;

use lossjit::losses::GraphLoss;
use lossjit::{HybridBlock, Inputs, Loss, Result, inputs};
use ndarray::{Array2, array};

fn main() -> Result<()> {
    let pred = array![[2.0f64, -1.0, 0.5], [0.0, 1e4, -100.0], [0.3, 0.1, 0.2]];
    let label = array![0i32, 2, 1];
    let mask = array![[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]];
    compare(include_str!("focal.graph"), losses::Focal, &inputs! { pred: &pred, label: &label }, "pred")?;
    compare(include_str!("dice.graph"), losses::Dice, &inputs! { pred: &pred, label: &mask }, "pred")?;
    let (query, key) = (unit_rows(&pred), unit_rows(&(&pred + &mask)));
    compare(include_str!("info_nce.graph"), losses::InfoNce, &inputs! { query: &query, key: &key }, "key")
}

/// Evaluates both forms and shows them.
fn compare(text: &str, rust: impl Loss, given: &Inputs, wrt: &str) -> Result<()> {
    let file = HybridBlock::new(GraphLoss::parse(text)?).hybridize();
    let from_file = file.value_and_grad::<f64>(given, &[wrt])?;
    let from_rust = HybridBlock::new(rust).hybridize().value_and_grad::<f64>(given, &[wrt])?;
    println!("{:9} {:.4}", file.loss().name(), from_file.value);
    assert_eq!(from_file, from_rust);
    Ok(())
}

fn unit_rows(rows: &Array2<f64>) -> Array2<f64> {
    let mut rows = rows.clone();
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt();
        row /= length;
    }
    rows
}

//! What becomes of a loss of your own: why the compiled formula equals the declared one, which loops run, and what they cost.
//!
//! ```sh
//! cargo run --example inspect
//! ```

use lossjit::inspect::{Report, Stage};
use lossjit::{Dtype, Expr, Loss, Result, Spec, Tracer, Wanted};

/// −log(1 − p) of classes that are not to be predicted, p the softmax: "unlikelihood".
struct Unlikelihood;

impl Loss for Unlikelihood {
    fn name(&self) -> &str {
        "unlikelihood"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let p = t.float("pred", &[n, c])?.softmax(c).at(c, t.class("label", &[n])?);
        Ok(-(1.0 - p).ln())
    }
}

fn main() -> Result<()> {
    let given = [Spec::new("pred", Dtype::F32, &[64, 1000]), Spec::new("label", Dtype::I32, &[64])];
    let report = Report::new(&Unlikelihood, &given, &Wanted::value_and_grad(&["pred"]))?;
    let report = report.with_source(file!(), include_str!("inspect.rs"));
    println!("{}", report.explanation());
    println!("{}", report.stage_text_with_origins(Stage::Nest));
    println!("{}", report.cost_text());
    for origin in &report.origins {
        println!("{origin}  {}", origin.text.as_deref().unwrap_or_default());
    }
    Ok(())
}

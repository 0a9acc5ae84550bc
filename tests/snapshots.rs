//! What every stage makes of every loss, as text, under `snapshots/LOSS/STAGE.snap`.

use lossjit::jit::{Binding, clif};
use lossjit::losses::*;
use lossjit::nest::Layout;
use lossjit::runtime::pipeline;
use lossjit::vmath::{Level, level};
use lossjit::{Dtype, Loss, Spec, Wanted};

fn f32(name: &str, shape: &[usize]) -> Spec {
    Spec::new(name, Dtype::F32, shape)
}

fn snapshot(name: &str, loss: &dyn Loss, inputs: &[Spec], wrt: &[&str]) {
    let trace = pipeline::trace(loss, inputs).unwrap();
    let stages = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(wrt)).unwrap();
    let dtypes = pipeline::ports(&trace, &stages.joint).iter().map(|p| p.dtype).collect();
    let layout = Layout::row_major(&stages.joint, &trace.extents);
    let nest = pipeline::nest(&stages.joint, &trace.extents, &layout).unwrap();
    let code =
        lossjit::jit::text(&clif(&nest, &Binding { real: Dtype::F32, widen: true, inputs: dtypes, layout }).unwrap());
    let [first, second] = &stages.reports;
    assert!(first.saturated && second.saturated, "{name}: simplify ended by a limit\n{first}\n{second}");
    let texts = [
        ("trace", stages.trace.to_string()),
        ("simplify", format!("{}\n{first}", stages.simplify)),
        ("grad", stages.grad.to_string()),
        ("joint", format!("{}\n{second}", stages.joint)),
        ("nest", nest.to_string()),
        ("clif", code),
    ];
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("{}/snapshots/{name}", env!("CARGO_MANIFEST_DIR")));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // Which loops have vectors of their own, and how lanes are loaded, depends on the registers there are.
    let pinned = |stage: &str| stage != "clif" || level() == Ok(Level::Avx512);
    let texts = texts.iter().filter(|(stage, _)| pinned(stage));
    settings.bind(|| texts.for_each(|(stage, text)| insta::assert_snapshot!(*stage, text)));
}

#[test]
fn l2() {
    snapshot("l2", &L2Loss::new(), &[f32("pred", &[64, 1000]), f32("label", &[64, 1000])], &["pred"]);
}

#[test]
fn l1() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000]), f32("sample_weight", &[64, 1])];
    snapshot("l1", &L1Loss::new(), &inputs, &["pred", "label", "sample_weight"]);
}

#[test]
fn huber() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    snapshot("huber", &HuberLoss::new().rho(0.5), &inputs, &["pred"]);
}

#[test]
fn sigmoid_binary_cross_entropy() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    snapshot("sigmoid_binary_cross_entropy", &SigmoidBCELoss::new(), &inputs, &["pred"]);
}

/// A gradient that is summed over the batch.
#[test]
fn sigmoid_binary_cross_entropy_pos_weight() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000]), f32("pos_weight", &[1000])];
    let name = "sigmoid_binary_cross_entropy.pos_weight";
    snapshot(name, &SigmoidBCELoss::new(), &inputs, &["pred", "pos_weight"]);
}

#[test]
fn sigmoid_binary_cross_entropy_from_sigmoid() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    let name = "sigmoid_binary_cross_entropy.from_sigmoid";
    snapshot(name, &SigmoidBCELoss::new().from_sigmoid(true), &inputs, &["pred"]);
}

#[test]
fn softmax_cross_entropy() {
    let inputs = [f32("pred", &[64, 1000]), Spec::new("label", Dtype::I32, &[64])];
    snapshot("softmax_cross_entropy", &SoftmaxCELoss::new(), &inputs, &["pred"]);
}

#[test]
fn softmax_cross_entropy_dense() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    snapshot("softmax_cross_entropy.dense", &SoftmaxCELoss::new().sparse_label(false), &inputs, &["pred", "label"]);
}

/// Classes on an axis that does not run along memory.
#[test]
fn softmax_cross_entropy_axis() {
    let inputs = [f32("pred", &[8, 21, 600]), Spec::new("label", Dtype::I64, &[8, 600])];
    snapshot("softmax_cross_entropy.axis", &SoftmaxCELoss::new().axis(1), &inputs, &["pred"]);
}

/// Rows of a few elements: taken by blocks, with lanes from row to row.
#[test]
fn softmax_cross_entropy_short_rows() {
    let inputs = [f32("pred", &[5000, 10]), Spec::new("label", Dtype::I32, &[5000])];
    snapshot("softmax_cross_entropy.short_rows", &SoftmaxCELoss::new(), &inputs, &["pred"]);
}

#[test]
fn kl_div() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    snapshot("kl_div", &KLDivLoss::new(), &inputs, &["pred"]);
}

#[test]
fn kl_div_from_scores() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    snapshot("kl_div.from_scores", &KLDivLoss::new().from_logits(false), &inputs, &["pred", "label"]);
}

#[test]
fn hinge() {
    snapshot("hinge", &HingeLoss::new(), &[f32("pred", &[64, 1000]), f32("label", &[64, 1000])], &["pred"]);
}

#[test]
fn squared_hinge() {
    let inputs = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    snapshot("squared_hinge", &SquaredHingeLoss::new(), &inputs, &["pred"]);
}

#[test]
fn logistic() {
    snapshot("logistic", &LogisticLoss::new(), &[f32("pred", &[64, 1000]), f32("label", &[64, 1000])], &["pred"]);
}

#[test]
fn triplet() {
    let inputs = [f32("pred", &[64, 100]), f32("positive", &[64, 100]), f32("negative", &[64, 100])];
    snapshot("triplet", &TripletLoss::new(), &inputs, &["pred", "positive", "negative"]);
}

#[test]
fn poisson_nll() {
    let inputs = [f32("pred", &[64, 1000]), f32("target", &[64, 1000])];
    snapshot("poisson_nll", &PoissonNLLLoss::new().compute_full(true), &inputs, &["pred"]);
}

#[test]
fn cosine_embedding() {
    let inputs = [f32("input1", &[64, 100]), f32("input2", &[64, 100]), Spec::new("label", Dtype::I32, &[64])];
    snapshot("cosine_embedding", &CosineEmbeddingLoss::new(), &inputs, &["input1", "input2"]);
}

/// Every row against every other: two names for the axis of the batch.
#[test]
fn sdml() {
    snapshot("sdml", &SDMLLoss::new(), &[f32("x1", &[64, 100]), f32("x2", &[64, 100])], &["x1", "x2"]);
}

/// A native kernel in the graph: weighed, and with its gradient in one call.
#[test]
fn ctc() {
    let inputs = [
        f32("pred", &[16, 100, 30]),
        Spec::new("label", Dtype::I32, &[16, 10]),
        Spec::new("label_lengths", Dtype::I64, &[16]),
        f32("sample_weight", &[16]),
    ];
    snapshot("ctc", &CTCLoss::new().zero_infinity(true), &inputs, &["pred"]);
}

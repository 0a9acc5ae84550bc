//! The declared formulas are the textbook's; these are the places where the textbook's form overflows or loses digits.

use lossjit::ir::{Op, Point};
use lossjit::losses::*;
use lossjit::nest::{Layout, Source, Step};
use lossjit::runtime::pipeline;
use lossjit::{Dtype, Expr, HybridBlock, Loss, Result, Spec, Tracer, Wanted, inputs};
use ndarray::{ArrayD, array};

/// `−log softmax(x)[label]`, literally.
struct Naive;

impl Loss for Naive {
    fn name(&self) -> &str {
        "naive"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let x = t.float("pred", &[n, c])?;
        let label = t.class("label", &[n])?;
        let softmax = x.exp() / x.exp().sum(c);
        Ok(-softmax.at(c, label).ln())
    }
}

/// `−(z·log σ(x) + (1−z)·log(1−σ(x)))`, with σ spelt out too.
struct NaiveBinary;

impl Loss for NaiveBinary {
    fn name(&self) -> &str {
        "naive_binary"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n] = t.axes(["n"])?;
        let (x, z) = (t.float("pred", &[n])?, t.float("label", &[n])?);
        let p = 1.0 / (1.0 + (-x).exp());
        Ok(-(z * p.ln() + (1.0 - z) * (1.0 - p).ln()))
    }
}

#[test]
fn naive_softmax_at_extreme_logits() {
    let pred = array![[1e4f32, -1e4, 0.0], [-1e4, -1e4, 1e4], [1e4, 1e4, -1e4]];
    let label = array![1i32, 2, 0];
    for block in [HybridBlock::new(Naive), HybridBlock::new(Naive).hybridize()] {
        let found = block.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
        assert_eq!(found.value, array![2e4, 0.0, 2f32.ln()].into_dyn());
        let wanted = array![[1.0f32, -1.0, 0.0], [0.0, 0.0, 0.0], [-0.5, 0.5, 0.0]].into_dyn();
        assert_eq!(found.grad("pred"), Some(&wanted));
    }
}

#[test]
fn naive_binary_at_extreme_logits() {
    let pred = array![1e4f32, -1e4, 1e4, -1e4, 0.0];
    let label = array![1f32, 1.0, 0.0, 0.0, 0.5];
    for block in [HybridBlock::new(NaiveBinary), HybridBlock::new(NaiveBinary).hybridize()] {
        let found = block.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
        assert_eq!(found.value, array![0.0, 1e4, 1e4, 0.0, 2f32.ln()].into_dyn());
        assert_eq!(found.grad("pred"), Some(&array![0f32, -1.0, 1.0, 0.0, 0.0].into_dyn()));
    }
}

/// A softmax that its author has stabilised by hand is not made worse.
#[test]
fn stabilised_by_hand() {
    struct ByHand;
    impl Loss for ByHand {
        fn name(&self) -> &str {
            "by_hand"
        }
        fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
            let [n, c] = t.axes(["n", "c"])?;
            let x = t.float("pred", &[n, c])?;
            let shifted = x - x.amax(c);
            Ok(shifted.exp().sum(c).ln())
        }
    }
    let pred = array![[1e8f32, 1e8, 1e8]];
    let found = HybridBlock::new(ByHand).hybridize().forward::<f32>(&inputs! { pred: &pred }).unwrap();
    assert!((found[[0]] - 3f32.ln()).abs() < 1e-6, "{found}");
}

/// Gradients that are a difference keep their digits, whatever stands before them: by the label −x of binary
/// cross-entropy, by the anchor negative − positive of triplets.
#[test]
fn small_gradients() {
    let near = |found: &ArrayD<f32>, wanted: &[f64]| {
        let close = |(&a, &b): (&f32, &f64)| (f64::from(a) / b - 1.0).abs() < 4e-7;
        assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(close), "{found}, not {wanted:?}");
    };
    let (pred, label) = (array![[1e-5f32, -3e-4], [2e-6, 1e-7]], array![[1f32, 0.0], [0.5, 1.0]]);
    let (weight, head) = (array![[0.75f32, 1.5], [2.0, 0.3]], array![0.7f32, -1.9]);
    let slopes = |weighed: bool, by_head: bool, half: f64| -> Vec<f64> {
        let factor = |n: usize, i: usize| {
            f64::from(if weighed { weight[[n, i]] } else { 1.0 }) * f64::from(if by_head { head[n] } else { 1.0 })
        };
        (0..4).map(|k| -f64::from(pred[[k / 2, k % 2]]) * factor(k / 2, k % 2) / 2.0 * half).collect()
    };
    for by_head in [false, true] {
        for weighed in [false, true] {
            let mut given = inputs! { pred: &pred, label: &label }.to_vec();
            given.extend(weighed.then_some(("sample_weight", (&weight).into())));
            let grad = |loss: Box<dyn Loss>| {
                let block = HybridBlock::new(loss).hybridize();
                let head = by_head.then_some((&head).into());
                match head {
                    Some(head) => block.backward::<f32>(&given, head, &["label"]).unwrap().remove(0).1,
                    None => block.value_and_grad::<f32>(&given, &["label"]).unwrap().grads.remove(0).1,
                }
            };
            near(&grad(Box::new(SigmoidBCELoss::new())), &slopes(weighed, by_head, 1.0));
            near(&grad(Box::new(LogisticLoss::new())), &slopes(weighed, by_head, 0.5));
            near(
                &grad(Box::new(LogisticLoss::new().weight(2.0).label_format(LabelFormat::Binary))),
                &slopes(weighed, by_head, 2.0),
            );
        }
    }

    let (pred, positive, negative) = (array![[1e4f32, 3e3]], array![[0.1f32, 0.2]], array![[0.3f32, 0.15]]);
    let given = inputs! { pred: &pred, positive: &positive, negative: &negative };
    let found = HybridBlock::new(TripletLoss::new()).hybridize().value_and_grad::<f32>(&given, &["pred"]).unwrap();
    assert!(found.value[[0]] > 0.0);
    near(
        found.grad("pred").unwrap(),
        &[0, 1].map(|i| 2.0 * (f64::from(negative[[0, i]]) - f64::from(positive[[0, i]]))),
    );
}

/// Small losses keep their digits.
#[test]
fn small_losses() {
    let block = HybridBlock::new(SigmoidBCELoss::new()).hybridize();
    let (pred, label) = (array![18f32, 40.0, 80.0], array![1f32, 1.0, 1.0]);
    let found = block.forward::<f32>(&inputs! { pred: &pred, label: &label }).unwrap();
    for (found, x) in found.iter().zip([18f64, 40.0, 80.0]) {
        let wanted = (-x).exp().ln_1p();
        assert!((f64::from(*found) / wanted - 1.0).abs() < 2e-7, "{found} for {wanted}");
    }
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let (pred, label) = (array![[20f64, 0.0]], array![0i32]);
    let found = block.forward::<f64>(&inputs! { pred: &pred, label: &label }).unwrap();
    assert!((found[[0]] / (-20f64).exp().ln_1p() - 1.0).abs() < 1e-6, "{found}");
}

/// A branch of a `select` that is not taken never shows, though its value and its slope are infinite.
#[test]
fn untaken_branches() {
    struct Masked;
    impl Loss for Masked {
        fn name(&self) -> &str {
            "masked"
        }
        fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
            let [n] = t.axes(["n"])?;
            let x = t.float("x", &[n])?;
            Ok(x.gt(1.0).select(x * x.ln() + 1.0 / x + x.sqrt(), 0.0))
        }
    }
    let x = array![0f64, -1.0, 1.0, f64::NEG_INFINITY];
    for block in [HybridBlock::new(Masked), HybridBlock::new(Masked).hybridize()] {
        let found = block.value_and_grad::<f64>(&inputs! { x: &x }, &["x"]).unwrap();
        assert_eq!(found.value, ArrayD::<f64>::zeros(vec![4]));
        assert_eq!(found.grad("x"), Some(&ArrayD::<f64>::zeros(vec![4])));
    }
}

/// Entries with the ignored label contribute nothing, whatever their logits.
#[test]
fn ignored_labels() {
    let pred = array![[f32::NAN, 1.0], [f32::NEG_INFINITY, f32::NEG_INFINITY], [0.0, 0.0]];
    let label = array![-1i32, -1, 1];
    let loss = SoftmaxCELoss::new().ignore_label(-1);
    for block in [HybridBlock::new(loss.clone()), HybridBlock::new(loss).hybridize()] {
        let found = block.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
        assert_eq!(found.value, array![0.0, 0.0, 2f32.ln()].into_dyn());
        assert_eq!(found.grad("pred"), Some(&array![[0f32, 0.0], [0.0, 0.0], [0.5, -0.5]].into_dyn()));
    }
}

/// The fused kernel of softmax cross-entropy: the logits come from memory once (the second pass finds the row in the
/// cache), `exp` is evaluated once for every element, and nothing of the logits' size is kept but the gradient.
#[test]
fn softmax_is_one_fused_kernel() {
    let inputs = [Spec::new("pred", Dtype::F32, &[512, 32000]), Spec::new("label", Dtype::I32, &[512])];
    let trace = pipeline::trace(&SoftmaxCELoss::new(), &inputs).unwrap();
    let stages = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(&["pred"])).unwrap();
    let layout = Layout::row_major(&stages.joint, &trace.extents);
    let nest = pipeline::nest(&stages.joint, &trace.extents, &layout).unwrap();
    let [Step::Loop { body: row, .. }] = &nest.body[..] else { panic!("one loop over the rows\n{nest}") };
    let passes: Vec<&Vec<Step>> =
        row.iter().filter_map(|s| if let Step::Tile { body, .. } = s { Some(body) } else { None }).collect();
    assert_eq!(passes.len(), 3, "{nest}");
    let exps = |body: &[Step]| {
        let is_exp =
            |s: &&Step| matches!(s, Step::Call { value, .. } if nest.graph.op(*value) == Op::Point(Point::Exp));
        body.iter().filter(is_exp).count()
    };
    assert_eq!(passes.iter().map(|p| exps(p)).sum::<usize>(), 1, "{nest}");
    let reads_logits = |body: &[Step]| {
        body.iter().any(|s| match s {
            Step::Lanes { body } => body.iter().any(|s| matches!(s, Step::Let(v) if nest.graph.as_read(*v).is_some())),
            Step::Call { from, .. } => matches!(from, Source::Read(_)),
            _ => false,
        })
    };
    let reading: Vec<bool> = passes.iter().map(|p| reads_logits(p)).collect();
    assert_eq!(reading, [true, true, false], "maximum, exponential, scaling\n{nest}");
    assert!(nest.slots.iter().all(|s| s.axes.len() == 1), "a row, not the logits\n{nest}");
}

/// A value that is equal to forms along different axes, `a − a` and `b − b` here, has none along those that they share. Its
/// graph stays as it was.
#[test]
fn forms_along_different_axes() {
    let text = "graph g(a[i j]: float, b[i k]: float)
%0[i j]: float = read a @i @j
%1[i k]: float = read b @i @k
%2[i j]: float = neg %0
%3[i j k]: float = sub %2 %1
%4[i j k]: float = neg %3
%5[i j k]: float = add %4 %3
out[i j k] = %5
";
    let graph = lossjit::ir::parse(text).unwrap();
    let (simple, report) = lossjit::simplify::simplify(&graph).unwrap();
    assert!(report.kept && simple == graph, "{report}{simple}");
    assert!(report.to_string().starts_with("kept as it was"));
}

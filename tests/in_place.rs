//! Gradients over their inputs: the same bits as beside them, or a refusal that says why. A checker of its own shows of
//! every nest that no element is read after it is overwritten.

use lossjit::jit::{Binding, compile};
use lossjit::losses::*;
use lossjit::nest::{Layout, Nest, Place, Step, check_in_place};
use lossjit::runtime::pipeline;
use lossjit::{Buffer, Dtype, Error, HybridBlock, Inputs, Loss, Spec, View, ViewMut, Wanted, inputs};
use ndarray::{Array1, Array2, ArrayD, array, s};

fn noise(shape: &[usize], seed: usize, low: f32, high: f32) -> ArrayD<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f32 / 10_007.0;
    let count = shape.iter().product();
    ArrayD::from_shape_vec(shape, (0..count).map(|i| low + (high - low) * value(i)).collect()).unwrap()
}

/// The gradient over `name` has the bits of the gradient beside it, and so has the loss.
fn same<L: Loss + Clone>(loss: L, given: &Inputs, name: &str, array: &ArrayD<f32>) {
    alike(loss, given, name, array, |a, b| a.to_bits() == b.to_bits());
}

fn alike<L: Loss + Clone>(loss: L, given: &Inputs, name: &str, array: &ArrayD<f32>, equal: impl Fn(f32, f32) -> bool) {
    let all_equal = |a: &ArrayD<f32>, b: &ArrayD<f32>| a.iter().zip(b).all(|(&a, &b)| equal(a, b));
    for block in [HybridBlock::new(loss.clone()), HybridBlock::new(loss).hybridize()] {
        let all: Vec<(&str, View)> = given.iter().cloned().chain([(name, View::from(array))]).collect();
        let wanted = block.value_and_grad::<f32>(&all, &[name]).unwrap();
        for threads in [1, 4] {
            let block = block.clone().threads(threads);
            let mut out = ArrayD::<f32>::zeros(wanted.value.shape());
            let mut over = array.clone();
            let views = [(name, ViewMut::from(&mut over))];
            block.value_and_grad_in_place(given, ViewMut::from(&mut out), views).unwrap();
            let what = format!("{} {name}", block.loss().name());
            assert!(all_equal(&out, &wanted.value), "{what}: {out} {}", wanted.value);
            let grad = wanted.grad(name).unwrap();
            assert!(all_equal(&over, grad), "{what}: {over} {grad}");
        }
    }
}

fn bits(array: &ArrayD<f32>) -> Vec<u32> {
    array.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn every_loss_of_rows() {
    for shape in [[3, 5], [7, 1300], [64, 4100]] {
        let (pred, dense) = (noise(&shape, 1, -3.0, 3.0), noise(&shape, 2, 0.05, 1.0));
        let label = Array1::from_shape_fn(shape[0], |i| (i * 7 % shape[1]) as i32);
        let sign = dense.mapv(|x| if x < 0.5 { -1.0f32 } else { 1.0 });
        same(SoftmaxCELoss::new(), &inputs! { label: &label }, "pred", &pred);
        same(SoftmaxCELoss::new().z_loss(0.01).label_smoothing(0.1), &inputs! { label: &label }, "pred", &pred);
        same(SoftmaxCELoss::new().sparse_label(false), &inputs! { label: &dense }, "pred", &pred);
        same(KLDivLoss::new().from_logits(false), &inputs! { label: &dense }, "pred", &pred);
        same(SigmoidBCELoss::new(), &inputs! { label: &dense }, "pred", &pred);
        same(L2Loss::new(), &inputs! { label: &dense }, "pred", &pred);
        same(HuberLoss::new(), &inputs! { pred: &pred }, "label", &dense);
        same(HingeLoss::new(), &inputs! { label: &sign }, "pred", &pred);
        same(TripletLoss::new(), &inputs! { positive: &dense, negative: &sign }, "pred", &pred);
        same(CosineEmbeddingLoss::new(), &inputs! { input2: &dense, label: &sign.slice(s![.., 0]) }, "input1", &pred);
    }
}

/// Rows that are turned beside their gradients may not be turned over them: the loops then round in another order.
#[test]
fn rows_of_few_elements() {
    for columns in 2..=4 {
        let (pred, dense) = (noise(&[500, columns], 1, -3.0, 3.0), noise(&[500, columns], 2, 0.05, 1.0));
        let label = Array1::from_shape_fn(500, |i| (i * 7 % columns) as i32);
        let sign = dense.mapv(|x| if x < 0.5 { -1.0f32 } else { 1.0 });
        let near = |a: f32, b: f32| (a - b).abs() <= 1e-6 * (1.0 + a.abs());
        let smooth = SoftmaxCELoss::new().z_loss(0.01).label_smoothing(0.1);
        alike(smooth, &inputs! { label: &label }, "pred", &pred, near);
        alike(SigmoidBCELoss::new(), &inputs! { label: &dense }, "pred", &pred, near);
        same(SoftmaxCELoss::new(), &inputs! { label: &label }, "pred", &pred);
        same(L2Loss::new(), &inputs! { label: &dense }, "pred", &pred);
        same(HuberLoss::new(), &inputs! { pred: &pred }, "label", &dense);
        same(HingeLoss::new(), &inputs! { label: &sign }, "pred", &pred);
        same(TripletLoss::new(), &inputs! { positive: &dense, negative: &sign }, "pred", &pred);
    }
}

/// The classes along the second of four axes, in rows that do not touch: what lies between them stays.
#[test]
fn images_with_strides() {
    let pred = noise(&[2, 5, 3, 8], 3, -4.0, 4.0);
    let label = ndarray::Array3::from_shape_fn((2, 3, 8), |(n, i, j)| ((n + i + j) % 5) as i32);
    same(SoftmaxCELoss::new().axis(1), &inputs! { label: &label }, "pred", &pred);

    let plain = noise(&[4, 6], 4, -2.0, 2.0);
    let label = array![5i32, 0, 1, 2];
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let mut wide = Array2::from_elem((4, 9), f32::NAN);
    wide.slice_mut(s![.., ..6]).assign(&plain);
    let wanted =
        block.value_and_grad::<f32>(&inputs! { pred: &wide.slice(s![.., ..6]), label: &label }, &["pred"]).unwrap();
    let mut out = [0f32; 4];
    let mut rows = wide.slice_mut(s![.., ..6]);
    let over = [("pred", ViewMut::from(&mut rows))];
    block.value_and_grad_in_place(&inputs! { label: &label }, ViewMut::new(&mut out, &[4]).unwrap(), over).unwrap();
    assert_eq!(wide.slice(s![.., ..6]).into_dyn(), *wanted.grad("pred").unwrap());
    assert!(wide.slice(s![.., 6..]).iter().all(|x| x.is_nan()));
}

/// Where every sample needs every other: either the gradient is right, or the answer is no and nothing is written.
#[test]
fn pairs_of_samples() {
    for name in ["x1", "x2"] {
        let (x1, x2) = (noise(&[5, 4], 1, -1.0, 1.0), noise(&[5, 4], 2, -1.0, 1.0));
        let block = HybridBlock::new(SDMLLoss::new()).hybridize();
        let wanted = block.value_and_grad::<f32>(&inputs! { x1: &x1, x2: &x2 }, &[name]).unwrap();
        let (before, other) =
            if name == "x1" { (&x1, ("x2", View::from(&x2))) } else { (&x2, ("x1", View::from(&x1))) };
        let (mut array, mut out) = (before.clone(), [0f32; 5]);
        let over = [(name, ViewMut::from(&mut array))];
        match block.value_and_grad_in_place(&[other], ViewMut::new(&mut out, &[5]).unwrap(), over) {
            Ok(()) => assert_eq!(bits(&array), bits(wanted.grad(name).unwrap())),
            Err(error) => {
                assert!(
                    error.to_string().starts_with(&format!("{name}: grad.{name} cannot be written over it: ")),
                    "{error}"
                );
                assert_eq!(array, *before, "nothing is half-written");
            }
        }
    }
}

/// A kernel written by hand reads its plane twice: the answer is no.
#[test]
fn refusals() {
    let (mut pred, label) = (noise(&[2, 6, 4], 3, -1.0, 1.0), array![[0i32, 1], [2, -1]]);
    let mut out = [0f32; 2];
    let block = HybridBlock::new(CTCLoss::new()).hybridize();
    let over = [("pred", ViewMut::from(&mut pred))];
    let error = block
        .value_and_grad_in_place(&inputs! { label: &label }, ViewMut::new(&mut out, &[2]).unwrap(), over)
        .unwrap_err();
    let wanted = "pred: grad.pred cannot be written over it: a kernel written by hand reads its plane more than once";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn what_is_asked_must_fit() {
    let given = [Buffer::new("pred", Dtype::F32, &[2, 3]), Buffer::new("label", Dtype::I32, &[2])];
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let error = block.compile_for(&given, &Wanted::value().in_place(&["pred"])).err().unwrap();
    assert_eq!(error.to_string(), "pred: to be overwritten with its gradient, which is not asked for");

    let compiled = block.compile_for(&given, &Wanted::value_and_grad(&["pred"]).in_place(&["pred"])).unwrap();
    let (mut out, mut over, pred, label) = ([0f32; 2], [0f32; 6], [0f32; 6], [0i32; 2]);
    let mut outputs = [ViewMut::new(&mut out, &[2]).unwrap(), ViewMut::new(&mut over, &[2, 3]).unwrap()];
    let (label, pred) = (View::new(&label, &[2]).unwrap(), View::new(&pred, &[2, 3]).unwrap());
    let error = compiled.run(&[("label", label.clone()), ("pred", pred)], &mut outputs).unwrap_err();
    assert!(matches!(&error, Error::Layout { input, .. } if input == "pred"), "{error}");
    compiled.run(&[("label", label)], &mut outputs).unwrap();
    assert!((over[1] - 1.0 / 3.0).abs() < 1e-6);
}

/// A class number out of range is told with its place, though the logits are overwritten by then.
#[test]
fn errors_in_the_data() {
    let (mut pred, label) = (noise(&[3, 4], 1, -1.0, 1.0), array![0i32, 9, 1]);
    let mut out = [0f32; 3];
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let over = [("pred", ViewMut::from(&mut pred))];
    let error = block
        .value_and_grad_in_place(&inputs! { label: &label }, ViewMut::new(&mut out, &[3]).unwrap(), over)
        .unwrap_err();
    assert_eq!(error.to_string(), "label: value 9 at [1] is out of range: 4 classes, 0 to 3");
}

fn softmax_nest() -> (Nest, Layout) {
    let given = [Spec::new("pred", Dtype::F32, &[4, 600]), Spec::new("label", Dtype::I32, &[4])];
    let trace = pipeline::trace(&SoftmaxCELoss::new(), &given).unwrap();
    let joint = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(&["pred"])).unwrap().joint;
    let mut layout = Layout::row_major(&joint, &trace.extents);
    let place = |names: Vec<&str>, name| names.iter().position(|n| *n == name).unwrap();
    let output = place(joint.outputs.iter().map(|o| o.name.as_str()).collect(), "grad.pred");
    let input = place(joint.inputs.iter().map(|i| i.name.as_str()).collect(), "pred");
    layout.in_place = vec![(output, input)];
    (pipeline::nest(&joint, &trace.extents, &layout).unwrap(), layout)
}

/// The checker sees reads that come too late: of the logit of the label behind the loop that overwrites its row, of a
/// row that another turn overwrites, and of what is kept in the row.
#[test]
fn damaged_nests_are_refused() {
    let (nest, layout) = softmax_nest();
    check_in_place(&nest, &layout).unwrap();
    assert!(
        compile(
            nest.clone(),
            Binding { real: Dtype::F32, widen: false, inputs: vec![Dtype::F32, Dtype::I32], layout: layout.clone() }
        )
        .is_ok()
    );

    let is_pick = |step: &Step| match step {
        Step::Let(v) => nest.graph.as_read(*v).is_some_and(|(_, i)| i.len() == 2 && nest.graph.as_axis(i[1]).is_none()),
        _ => false,
    };
    let mut late = nest.clone();
    let Some(Step::Loop { body, .. }) = late.body.iter_mut().find(|s| matches!(s, Step::Loop { .. })) else { panic!() };
    let place = body.iter().position(is_pick).expect("the logit of the label");
    let pick = body.remove(place);
    body.push(pick);
    let error = check_in_place(&late, &layout).unwrap_err();
    assert!(error.to_string().contains("needed again after its place is written"), "{error}");

    // The rows inside a loop over something else: a later turn reads what an earlier one has written.
    let mut twice = nest.clone();
    let axis = nest.graph.axes.iter().position(|a| a == "c").map(lossjit::ir::AxisId::new).unwrap();
    twice.body = vec![Step::Loop { axis, body: nest.body.clone() }];
    let error = check_in_place(&twice, &layout).unwrap_err();
    assert!(error.to_string().contains("a later turn of the loop over c"), "{error}");

    // Without the memory of the exponentials the first loop's reads would come too late, were they not before it.
    let kept = nest.slots.iter().filter(|s| matches!(s.place, Place::Output(_))).count();
    assert_eq!(kept, 1, "the exponentials lie in the row that they overwrite");
}

//! What callers are told: one row a message. Every call here is refused both imperatively and compiled.

use lossjit::losses::*;
use lossjit::{HybridBlock, Loss, View, ViewMut, Wanted, inputs};
use ndarray::{Array1, Array2, Array3, array};

/// The message of a call, the same from the interpreter and the compiler.
fn refused<L: Loss + Clone>(loss: &L, inputs: &[(&str, View)], wrt: &[&str]) -> String {
    let told = |block: HybridBlock<L>| block.value_and_grad::<f32>(inputs, wrt).unwrap_err().to_string();
    let imperative = told(HybridBlock::new(loss.clone()));
    assert_eq!(told(HybridBlock::new(loss.clone()).hybridize()), imperative);
    imperative
}

macro_rules! assert_refused {
    ($loss:expr, {$($name:ident: $array:expr),*}, $wrt:expr, $message:expr) => {
        assert_eq!(refused(&$loss, &inputs! { $($name: &$array),* }, &$wrt), $message)
    };
}

fn zeros(rows: usize, columns: usize) -> Array2<f32> {
    Array2::zeros((rows, columns))
}

const NONE: [&str; 0] = [];

#[test]
fn names() {
    let x = zeros(2, 3);
    assert_refused!(L2Loss::new(), {pred: x}, NONE, "label: missing; l2 needs pred, label");
    assert_refused!(
        L2Loss::new(), {pred: x, label: x, wieght: x}, NONE,
        "wieght: unknown; l2 takes pred, label, sample_weight"
    );
    assert_refused!(L2Loss::new(), {pred: x, label: x, pred: x}, NONE, "pred: given twice");
    assert_refused!(
        L2Loss::new(), {pred: x, label: x}, ["sample_weight"],
        "sample_weight: has no gradient: it is not given; given are pred, label"
    );
    assert_refused!(
        SoftmaxCELoss::new(), {pred: x, label: array![0i32, 1]}, ["label"],
        "label: has no gradient: it holds class numbers"
    );
}

#[test]
fn shapes() {
    let x = zeros(4, 3);
    assert_refused!(
        L2Loss::new(), {pred: x, label: zeros(4, 2)}, NONE,
        "label: shape [4, 2] has 8 elements, but 12 are needed, for shape [4, 3]"
    );
    assert_refused!(
        L2Loss::new(), {pred: x, label: x, sample_weight: Array1::<f32>::zeros(4)}, NONE,
        "sample_weight: shape [4] does not broadcast to the loss's shape [4, 3] without enlarging it"
    );
    assert_refused!(
        L2Loss::new(), {pred: x, label: x, sample_weight: Array3::<f32>::zeros((2, 4, 3))}, NONE,
        "sample_weight: shape [2, 4, 3] does not broadcast to the loss's shape [4, 3] without enlarging it"
    );
    assert_refused!(
        SoftmaxCELoss::new(), {pred: x, label: array![0i32, 1]}, NONE,
        "label: axis n has 2 elements, but pred has 4"
    );
    assert_refused!(
        SoftmaxCELoss::new(), {pred: x, label: Array3::<i32>::zeros((4, 1, 1))}, NONE,
        "label: shape [4, 1, 1] has 3 dimensions, not 1 [n] or 2 [n 1]"
    );
    assert_refused!(
        L1Loss::new(), {pred: ndarray::arr0(1f32), label: ndarray::arr0(1f32)}, NONE,
        "pred: shape [] has 0 dimensions, not 1 or more"
    );
}

#[test]
fn shapes_of_pairs() {
    let x = zeros(4, 3);
    assert_refused!(
        CosineEmbeddingLoss::new(),
        {input1: x, input2: zeros(4, 2), label: array![1i32, 1, 1, 1]},
        NONE,
        "input2: shape [4, 2] does not fit: [4, 3] is needed, as in input1"
    );
    assert_refused!(
        CosineEmbeddingLoss::new(),
        {input1: x, input2: x, label: array![1i32, 1, 1]},
        NONE,
        "label: shape [3] has 3 elements, but 4 are needed, for shape [4]"
    );
    assert_refused!(SDMLLoss::new(), {x1: x, x2: zeros(3, 3)}, NONE, "x2: axis j has 3 elements, but x1 has 4");
    assert_refused!(SDMLLoss::new(), {x1: x, x2: zeros(4, 2)}, NONE, "x2: axis d has 2 elements, but x1 has 3");
    assert_refused!(KLDivLoss::new(), {pred: x, label: zeros(3, 4)}, NONE, "label: axis n has 3 elements, but pred has 4");
}

#[test]
fn axes() {
    let x = zeros(4, 3);
    assert_refused!(
        L2Loss::new().batch_axis(2), {pred: x, label: x}, NONE,
        "batch_axis = 2 is out of range for pred, which has 2 dimensions"
    );
    assert_refused!(
        SoftmaxCELoss::new().axis(-3), {pred: x, label: array![0i32, 1, 2, 0]}, NONE,
        "axis = -3 is out of range for pred, which has 2 dimensions"
    );
}

#[test]
fn dtypes() {
    let (x, y) = (zeros(2, 3), Array2::<f64>::zeros((2, 3)));
    assert_refused!(L2Loss::new(), {pred: x, label: y}, NONE, "label: dtype f64, but f32 as in pred is needed");
    assert_refused!(
        L2Loss::new(), {pred: Array2::<i32>::zeros((2, 3)), label: x}, NONE,
        "pred: dtype i32, but f32 or f64 is needed"
    );
    assert_refused!(L2Loss::new(), {pred: y, label: y}, NONE, "result: dtype f32, but f64, the dtype of the inputs, is needed");
}

#[test]
fn classes() {
    let x = zeros(2, 3);
    let loss = SoftmaxCELoss::new();
    assert_refused!(loss, {pred: x, label: array![0i64, 3]}, NONE, "label: value 3 at [1] is out of range: 3 classes, 0 to 2");
    assert_refused!(loss, {pred: x, label: array![[-1i32], [0]]}, ["pred"], "label: value -1 at [0, 0] is out of range: 3 classes, 0 to 2");
    assert_refused!(loss, {pred: x, label: array![0f32, 0.5]}, NONE, "label: value 0.5 at [1] is not a whole number");
    assert_refused!(loss, {pred: x, label: array![f64::NAN, 0.0]}, NONE, "label: value NaN at [0] is not a whole number");
}

#[test]
fn parameters() {
    let x = zeros(2, 3);
    assert_refused!(HuberLoss::new().rho(0.0), {pred: x, label: x}, NONE, "huber: rho = 0: must be positive and finite");
    assert_refused!(HuberLoss::new().rho(f64::NAN), {pred: x, label: x}, NONE, "huber: rho = NaN: must be positive and finite");
    assert_refused!(
        L1Loss::new().weight(Some(f64::INFINITY)),
        {pred: x, label: x},
        NONE,
        "l1: weight = inf: must be finite"
    );
    assert_refused!(HingeLoss::new().margin(f64::NAN), {pred: x, label: x}, NONE, "hinge: margin = NaN: must be finite");
    assert_refused!(
        SDMLLoss::new().smoothing_parameter(1.0),
        {x1: x, x2: x},
        NONE,
        "sdml: smoothing_parameter = 1: must be 0 or more, and less than 1"
    );
}

/// A handle is for the buffers that it was compiled for, and says which one is not that.
#[test]
fn handles() {
    let (x, y) = (zeros(2, 3), zeros(3, 2));
    let block = HybridBlock::new(L2Loss::new()).hybridize();
    let handle = block.compile(&inputs! { pred: &x, label: &x }, &Wanted::value()).unwrap();
    let (mut out, mut long) = (Array1::<f32>::zeros(2), Array1::<f32>::zeros(3));
    let told = |inputs: &[(&str, View)], out: &mut Array1<f32>| {
        handle.run(inputs, &mut [ViewMut::from(out)]).unwrap_err().to_string()
    };
    assert_eq!(told(&inputs! { pred: &x }, &mut out), "label: missing; l2 needs pred, label");
    assert_eq!(told(&inputs! { pred: &x, label: &y }, &mut out), "label: shape [3, 2] does not fit: [2, 3] is needed");
    assert_eq!(
        told(&inputs! { pred: &x, label: &y.t() }, &mut out),
        "label: strides [1, 2], but this was compiled for [3, 1]"
    );
    assert_eq!(told(&inputs! { pred: &x, label: &x, head: &x }, &mut out), "head: unknown; l2 takes pred, label");
    assert_eq!(told(&inputs! { pred: &x, label: &x }, &mut long), "out: shape [3] does not fit: [2] is needed");
    let none = handle.run(&inputs! { pred: &x, label: &x }, &mut []).unwrap_err().to_string();
    assert_eq!(none, "outputs: 0 are given, but 1 are needed");
}

#[test]
fn heads() {
    let x = zeros(2, 3);
    let block = HybridBlock::new(L2Loss::new()).hybridize();
    let given = inputs! { pred: &x, label: &x };
    let told = |head: View| block.value_and_grad_with_head::<f32>(&given, head, &["pred"]).unwrap_err().to_string();
    assert_eq!(told(View::from(&x)), "head: shape [2, 3] does not fit: [2] is needed");
    assert_eq!(told(View::from(&Array1::<f64>::zeros(2))), "head: dtype f64, but f32 is needed");
}

#[test]
fn views() {
    let mut memory = [0f32; 6];
    let told =
        |shape: &[usize], strides: &[isize]| View::with_strides(&memory, shape, strides).unwrap_err().to_string();
    assert_eq!(told(&[2, 3], &[4, 1]), "view: shape [2, 3] with strides [4, 1] needs 7 elements, but the slice has 6");
    assert_eq!(told(&[2, 3], &[3]), "view: 1 strides for 2 dimensions");
    assert_eq!(told(&[2], &[-1]), "view: stride -1 is negative");
    let huge = View::new(&memory, &[usize::MAX, 2]).unwrap_err().to_string();
    assert_eq!(huge, format!("view: shape [{}, 2] has more elements than memory has room for", usize::MAX));
    let overlapping = ViewMut::with_strides(&mut memory, &[2, 3], &[1, 1]).unwrap_err().to_string();
    assert_eq!(overlapping, "view: strides [1, 1] put two elements of shape [2, 3] in one place");
}

//! What goes in and comes out: strides, dtypes, any number of gradients, and precise refusals.

use burn::tensor::{DType, Device, Distribution, FloatDType, Int, IntDType, Tensor, TensorData, s};
use lossjit::{Expr, Loss, Result, Tracer};
use lossjit_burn::losses::{CTCLoss, CosineEmbeddingLoss, L2Loss, SDMLLoss, SoftmaxCELoss};
use lossjit_burn::{Input, LossOp, inputs};

const HALVES: [FloatDType; 2] = [FloatDType::BF16, FloatDType::F16];
const FLOATS: [FloatDType; 3] = [FloatDType::F32, FloatDType::BF16, FloatDType::F16];

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device())
}

fn elements<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().cast(FloatDType::F64).into_data().try_into_vec().unwrap()
}

fn close<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, tolerance: f64) {
    assert_eq!(a.dims(), b.dims());
    let worst = elements(a).iter().zip(elements(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance, "{worst}");
}

/// The loss of logits and labels, and the gradient that reaches the tensor behind the logits.
fn softmax_ce<const D: usize>(leaf: &Tensor<D>, logits: &Tensor<2>, labels: &Tensor<1, Int>) -> (Tensor<1>, Tensor<D>) {
    let op = LossOp::new(SoftmaxCELoss::new());
    let loss = op.forward(&inputs! { pred: logits, label: labels }).unwrap();
    let grad = leaf.grad(&loss.clone().sum().backward()).expect("a gradient");
    (loss, grad)
}

/// Ways to a tensor that does not lie in row-major order from the start of its memory.
type Cut = fn(Tensor<2>) -> Tensor<2>;
const CUTS: [(&str, Cut); 5] = [
    ("rows with an offset", |t| t.slice(s![1.., ..])),
    ("rows with a stride", |t| t.slice(s![2.., 1..])),
    ("columns", |t| t.transpose().slice(s![2.., ..])),
    ("a row for all", |t| t.slice(s![3..4, ..]).expand([4, -1])),
    ("flipped", |t| t.slice(s![1.., ..]).flip([0, 1])),
];

/// A class for each row.
fn classes(logits: &Tensor<2>) -> Tensor<1, Int> {
    let [rows, columns] = logits.dims();
    let classes: Vec<i64> = (0..rows).map(|i| ((3 * i + 2) % columns) as i64).collect();
    Tensor::from_data(TensorData::new::<i64, _>(classes, [rows]), &device())
}

#[test]
fn strides_and_offsets() {
    for (what, cut) in CUTS {
        let base = random([6, 7]).require_grad();
        let labels = classes(&cut(base.clone()));
        let (loss, grad) = softmax_ce(&base, &cut(base.clone()), &labels);
        let plain = Tensor::<2>::from_data(cut(base.clone()).into_data(), &device()).require_grad();
        let (wanted, plain_grad) = softmax_ce(&plain, &plain, &labels);
        close(&loss, &wanted, 1e-6);
        // What reaches the base is what the cut makes of it.
        let back = base.grad(&(cut(base.clone()) * plain_grad.autodiff()).sum().backward()).unwrap();
        close(&grad, &back, 1e-6);
        assert_ne!(grad.abs().sum().into_scalar::<f32>(), 0.0, "{what}");
    }
}

#[test]
fn a_shape_that_needs_a_copy() {
    let op = LossOp::new(L2Loss::new());
    for dtype in FLOATS {
        let pred = random([3, 4]).cast(dtype).detach().require_grad();
        let turned = random([3, 4]).cast(dtype).transpose();
        // The same elements in row-major order, in a memory of its own.
        let plain = Tensor::<2>::from_data(turned.clone().into_data(), (&device(), dtype.into()));
        let [a, b] = [&turned, &plain].map(|label| op.forward(&inputs! { pred: &pred, label: label }).unwrap());
        close(&a, &b, 0.0);
        close(&pred.grad(&a.backward()).unwrap(), &pred.grad(&b.backward()).unwrap(), 1e-6);
    }
}

#[test]
fn every_dtype_of_labels() {
    let logits = random([3, 5]).require_grad();
    let labels = Tensor::<1, Int>::from_data([3, 0, 4], &device());
    let (wanted, _) = softmax_ce(&logits, &logits, &labels);
    use IntDType::*;
    for dtype in [I8, I16, I32, I64, U8, U16, U32, U64] {
        let (loss, _) = softmax_ce(&logits, &logits, &labels.clone().cast(dtype));
        close(&loss, &wanted, 0.0);
    }
}

/// In place and strided: the bits of the same floats in f32, in the same places, and of their gradients rounded.
#[test]
fn half_precision() {
    for (half, (what, cut)) in HALVES.into_iter().flat_map(|half| CUTS.map(|cut| (half, cut))) {
        let base = random([40, 41]).inner().cast(half);
        let leaf = |base: Tensor<2>| cut(base).autodiff().require_grad();
        let (narrow, wide) = (leaf(base.clone()), leaf(base.cast(FloatDType::F32)));
        let labels = classes(&wide);
        let (loss, grad) = softmax_ce(&narrow, &narrow, &labels);
        let (wanted, wanted_grad) = softmax_ce(&wide, &wide, &labels);
        assert!(loss.into_data() == wanted.into_data(), "{what}, {half:?}");
        assert!(grad.into_data() == wanted_grad.cast(half).into_data(), "{what}, {half:?}");
    }
}

/// Shows that a loss has its inputs converted as a whole: the results are those of inputs in f32, from the same program.
fn converts<const D: usize, const N: usize>(
    op: &LossOp,
    leaves: [&Tensor<D>; N],
    inputs: impl Fn(fn(Tensor<D>) -> Input) -> Vec<(&'static str, Input)>,
) {
    let evaluate = |of| {
        let loss = op.forward(&inputs(of)).unwrap();
        let grads = loss.clone().backward();
        (loss.into_data(), leaves.map(|leaf| leaf.grad(&grads).expect("a gradient").into_data()))
    };
    let wanted = evaluate(|x| Input::from(&x.cast(FloatDType::F32)));
    for _ in 0..2 {
        assert!(evaluate(|x| Input::from(&x)) == wanted, "{}", op.block().loss().name());
    }
    assert_eq!(op.block().cache_statistics().entries, 1);
}

/// Floats of several dtypes, and kernels that read f32: what 16 bits hold is converted, and gradients come back in them.
#[test]
fn half_precision_by_conversion() {
    for half in HALVES {
        let [x, y] = [(); 2].map(|()| random([40, 30]).cast(half).detach().require_grad());
        let z = random([40, 30]);
        converts(&LossOp::new(L2Loss::new()), [&x], |of| vec![("pred", of(x.clone())), ("label", Input::from(&z))]);
        // Pairs of more than a few rows have a kernel.
        converts(&LossOp::new(SDMLLoss::new()), [&x, &y], |of| vec![("x1", of(x.clone())), ("x2", of(y.clone()))]);

        let sequences = random([6, 2, 5]).cast(half).detach().require_grad();
        let labels = Tensor::<2, Int>::from_data([[1, 2], [3, 0]], &device());
        converts(&LossOp::new(CTCLoss::new()), [&sequences], |of| {
            vec![("pred", of(sequences.clone().swap_dims(0, 1))), ("label", Input::from(&labels))]
        });

        // Class numbers have 32 bits; where they have not, the logits are converted too, but in no other call.
        let (op, labels) = (LossOp::new(SoftmaxCELoss::new()), classes(&x));
        let floats = labels.clone().float().cast(half);
        converts(&op, [&x], |of| vec![("pred", of(x.clone())), ("label", Input::from(&floats))]);
        op.forward(&inputs! { pred: &x, label: &labels }).unwrap();
        let missed = op.block().last_miss().unwrap().differences;
        assert!(missed.iter().any(|difference| difference.field == "pred.dtype"));
    }
}

/// `a·b·c·d·e·f`, every one of which may require a gradient.
struct Product;

const FACTORS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

impl Loss for Product {
    fn name(&self) -> &str {
        "product"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n] = t.axes(["n"])?;
        let factors = FACTORS.iter().map(|name| t.float(name, &[n])).collect::<Result<Vec<_>>>()?;
        Ok(factors.into_iter().reduce(|a, b| a * b).expect("there are six"))
    }
}

#[test]
fn any_number_of_gradients() {
    let op = LossOp::new(Product);
    // Products have up to 8 significant bits, as many as bf16.
    let factors: Vec<[f32; 3]> = (0..6).map(|i| [1.0 + i as f32, -2.0, 0.5]).collect();
    for (dtype, required) in FLOATS.into_iter().flat_map(|dtype| (1..64u32).map(move |required| (dtype, required))) {
        let is_required = |i: usize| required >> i & 1 == 1;
        let tensors: Vec<Tensor<1>> = (0..6)
            .map(|i| {
                let tensor = Tensor::from_data(factors[i], (&device(), dtype.into()));
                if is_required(i) { tensor.require_grad() } else { tensor }
            })
            .collect();
        let inputs: Vec<_> = FACTORS.into_iter().zip(tensors.iter().map(Input::from)).collect();
        let grads = (op.forward(&inputs).unwrap() * 3.0 + 1.0).backward();
        for (i, tensor) in tensors.iter().enumerate() {
            let others = |n: usize| (0..6).filter(|&j| j != i).map(|j| f64::from(factors[j][n])).product::<f64>() * 3.0;
            let wanted = is_required(i).then(|| vec![others(0), others(1), others(2)]);
            let found = tensor.grad(&grads).map(|grad| elements(&grad));
            assert_eq!(found, wanted, "{required:b}, {i}, {dtype:?}");
        }
    }
}

#[test]
fn one_tensor_as_two_inputs() {
    let x = random([5, 3]).require_grad();
    let [a, b] = [(); 2].map(|()| x.clone().detach().require_grad());
    let op = LossOp::new(SDMLLoss::new());
    let grad = x.grad(&op.forward(&inputs! { x1: &x, x2: &x }).unwrap().backward()).expect("a gradient");
    let apart = op.forward(&inputs! { x1: &a, x2: &b }).unwrap().backward();
    close(&grad, &(a.grad(&apart).unwrap() + b.grad(&apart).unwrap()), 1e-5);
}

#[test]
fn with_and_without_autodiff() {
    let labels = Tensor::<1, Int>::from_data([1, 0], &Device::flex());
    let plain = Tensor::<2>::from_floats([[0.5, -1.0], [2.0, 0.0]], &Device::flex());
    let op = LossOp::new(SoftmaxCELoss::new());
    let value = op.forward(&inputs! { pred: &plain, label: &labels }).unwrap();
    assert!(!value.is_autodiff());
    // Constants of a device without autodiff go with tensors of one that has it.
    let tracked = plain.clone().autodiff().require_grad();
    let loss = op.forward(&inputs! { pred: &tracked, label: &labels }).unwrap();
    assert!(tracked.grad(&loss.backward()).is_some());
    assert_eq!(elements(&loss), elements(&value));
    // Nothing requires a gradient.
    let untracked = op.forward(&inputs! { pred: &plain.autodiff(), label: &labels }).unwrap();
    assert!(untracked.is_autodiff() && !untracked.is_tracked());
}

#[test]
fn refusals() {
    let pred = Tensor::<2>::zeros([2, 3], &device()).require_grad();
    let op = LossOp::new(SoftmaxCELoss::new());
    let told = |result: Result<Tensor<1>>| result.unwrap_err().to_string();
    let labels = Tensor::<1, Int>::from_data([0, 3], &device());
    let message = told(op.forward(&inputs! { pred: &pred, label: &labels }));
    assert_eq!(message, "label: value 3 at [1] is out of range: 3 classes, 0 to 2");
    assert_eq!(told(op.forward(&inputs! { pred: &pred })), "label: missing; softmax_cross_entropy needs pred, label");
    assert_eq!(told(op.forward(&[])), "pred: missing; softmax_cross_entropy needs pred");
    let labels = Tensor::<1, Int>::from_data([0, 1, 1], &device());
    let message = told(op.forward(&inputs! { pred: &pred, label: &labels }));
    assert_eq!(message, "label: axis n has 3 elements, but pred has 2");
    let double = Tensor::<2>::zeros([2, 3], (&device(), DType::F64));
    let message = told(LossOp::new(L2Loss::new()).forward(&inputs! { pred: &pred, label: &double }));
    assert_eq!(message, "label: dtype f64, but f32 as in pred is needed");
    let half = pred.clone().cast(FloatDType::F16);
    let message = told(LossOp::new(L2Loss::new()).forward(&inputs! { pred: &half, label: &double }));
    assert_eq!(message, "label: dtype f64, but f32 as in pred is needed");
    // A gradient that cannot be is not left out in silence.
    let floats = Tensor::<1>::from_floats([0.0, 1.0], &device()).require_grad();
    let message = told(op.forward(&inputs! { pred: &pred, label: &floats }));
    assert_eq!(message, "label: has no gradient: it holds class numbers");
    let signs = Tensor::<1>::from_floats([1.0, -1.0], &device()).require_grad();
    let cosine = LossOp::new(CosineEmbeddingLoss::new());
    let message = told(cosine.forward(&inputs! { input1: &pred, input2: &pred, label: &signs }));
    assert_eq!(message, "label: has no gradient: cosine_embedding does not depend on it smoothly");
    // In burn `detach` leaves a leaf that requires a gradient as it is.
    let signs = signs.set_require_grad(false);
    assert!(cosine.forward(&inputs! { input1: &pred, input2: &pred, label: &signs }).is_ok());
    // The rank of a result is part of its type.
    let labels = Tensor::<1, Int>::from_data(TensorData::from([0, 1]), &device());
    let result = op.forward_nd::<2>(&inputs! { pred: &pred, label: &labels });
    assert_eq!(result.unwrap_err().to_string(), "result: shape [2] has 1 dimensions, not the 2 asked for");
}

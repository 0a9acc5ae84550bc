//! What goes in and comes out: strides, dtypes, any number of variables, and precise refusals.

use candle_core::{DType, Device, Result, Tensor, Var};
use lossjit::{Expr, Loss, Tracer};
use lossjit_candle::losses::{CTCLoss, CosineEmbeddingLoss, L2Loss, SDMLLoss, SigmoidBCELoss, SoftmaxCELoss};
use lossjit_candle::{LossOp, inputs};

const CPU: &Device = &Device::Cpu;

fn close(a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_dtype(DType::F64).unwrap(), b.to_dtype(DType::F64).unwrap());
    let worst = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
    assert!(worst <= tolerance, "{worst}");
}

/// The loss of logits and labels, and the gradient that reaches the variable behind the logits.
fn softmax_ce(variable: &Var, logits: &Tensor, labels: &Tensor) -> Result<(Tensor, Tensor)> {
    let loss = LossOp::new(SoftmaxCELoss::new()).forward(&inputs! { pred: logits, label: labels })?;
    let grads = loss.sum_all()?.backward()?;
    Ok((loss, grads.get(variable).expect("a gradient").clone()))
}

#[test]
fn strides_and_offsets() -> Result<()> {
    let labels = Tensor::new(&[2u32, 0, 4, 1], CPU)?;
    let base = Var::randn(0f32, 1.0, (6, 7), CPU)?;
    type Cut = fn(&Tensor) -> Result<Tensor>;
    let cuts: [(&str, Cut); 4] = [
        ("rows with an offset", |t| t.narrow(0, 1, 4)),
        ("rows with a stride", |t| t.narrow(0, 2, 4)?.narrow(1, 1, 5)),
        ("columns", |t| t.t()?.narrow(0, 2, 4)),
        ("a row for all", |t| t.narrow(0, 3, 1)?.broadcast_as((4, 7))),
    ];
    for (what, cut) in cuts {
        let logits = cut(&base)?;
        let (loss, grad) = softmax_ce(&base, &logits, &labels)?;
        let (plain, plain_grad) = softmax_ce(&base, &logits.contiguous()?, &labels)?;
        close(&loss, &plain, 1e-6);
        close(&grad, &plain_grad, 1e-6);
        assert_ne!(grad.abs()?.sum_all()?.to_scalar::<f32>()?, 0.0, "{what}");
    }
    Ok(())
}

#[test]
fn a_shape_that_needs_a_copy() -> Result<()> {
    let pred = Var::randn(0f64, 1.0, (3, 4), CPU)?;
    let label = Tensor::randn(0f64, 1.0, (4, 3), CPU)?;
    let op = LossOp::new(L2Loss::new());
    // The label's elements in row-major order, though its memory has them in another.
    let loss = op.forward(&inputs! { pred: &pred, label: &label.t()?.contiguous()?.t()? })?;
    let plain = op.forward(&inputs! { pred: &pred, label: &label })?;
    close(&loss, &plain, 0.0);
    close(loss.backward()?.get(&pred).unwrap(), plain.backward()?.get(&pred).unwrap(), 1e-15);
    Ok(())
}

#[test]
fn every_dtype_of_labels() -> Result<()> {
    let logits = Var::randn(0f32, 1.0, (3, 5), CPU)?;
    let labels = Tensor::new(&[3i64, 0, 4], CPU)?;
    let (wanted, _) = softmax_ce(&logits, &logits, &labels)?;
    for dtype in [DType::U8, DType::U32, DType::I16, DType::I32, DType::F32] {
        let (loss, _) = softmax_ce(&logits, &logits, &labels.to_dtype(dtype)?)?;
        close(&loss, &wanted, 0.0);
    }
    Ok(())
}

#[test]
fn half_precision() -> Result<()> {
    let exact = Tensor::randn(0f32, 2.0, (4, 50), CPU)?;
    let labels = Tensor::new(&[3u32, 0, 49, 7], CPU)?;
    for (dtype, digits) in [(DType::BF16, 8), (DType::F16, 11)] {
        let half = Var::from_tensor(&exact.to_dtype(dtype)?)?;
        let single = Var::from_tensor(&half.to_dtype(DType::F32)?)?;
        let (loss, grad) = softmax_ce(&half, &half, &labels)?;
        let (wanted, wanted_grad) = softmax_ce(&single, &single, &labels)?;
        assert_eq!((loss.dtype(), grad.dtype()), (DType::F32, dtype));
        close(&loss, &wanted, 0.0);
        // Rounded once.
        close(&grad, &wanted_grad, 0.5f64.powi(digits));
    }
    Ok(())
}

/// Floats of several dtypes, and kernels that read f32: what 16 bits hold is converted, and gradients come back in them.
#[test]
fn half_precision_by_conversion() -> Result<()> {
    let pred = Var::from_tensor(&Tensor::randn(0f32, 1.0, (4, 5), CPU)?.to_dtype(DType::BF16)?)?;
    let label = Tensor::randn(0f32, 1.0, (4, 5), CPU)?;
    let loss = LossOp::new(L2Loss::new()).forward(&inputs! { pred: &pred, label: &label })?;
    let grads = loss.backward()?;
    assert_eq!((loss.dtype(), grads.get(&pred).map(Tensor::dtype)), (DType::F32, Some(DType::BF16)));

    let sequences = Var::from_tensor(&Tensor::randn(0f32, 1.0, (2, 6, 5), CPU)?.to_dtype(DType::F16)?)?;
    let labels = Tensor::new(&[[1u32, 2], [3, 0]], CPU)?;
    let op = LossOp::new(CTCLoss::new());
    let wanted = op.forward(&inputs! { pred: &sequences.to_dtype(DType::F32)?, label: &labels })?;
    for _ in 0..2 {
        let loss = op.forward(&inputs! { pred: &sequences, label: &labels })?;
        close(&loss, &wanted, 0.0);
        assert_eq!(loss.backward()?.get(&sequences).map(Tensor::dtype), Some(DType::F16));
    }
    Ok(())
}

/// `a·b·c·d·e·f`, every one of which may be a variable.
struct Product;

const FACTORS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

impl Loss for Product {
    fn name(&self) -> &str {
        "product"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> lossjit::Result<Expr<'t>> {
        let [n] = t.axes(["n"])?;
        let factors = FACTORS.iter().map(|name| t.float(name, &[n])).collect::<lossjit::Result<Vec<_>>>()?;
        Ok(factors.into_iter().reduce(|a, b| a * b).expect("there are six"))
    }
}

#[test]
fn any_number_of_variables() -> Result<()> {
    let op = LossOp::new(Product);
    let factors: Vec<Vec<f64>> = (0..6).map(|i| vec![1.0 + f64::from(i), -2.0, 0.5]).collect();
    for tracked in 0..64u32 {
        let vars = factors.iter().map(|x| Var::new(&x[..], CPU)).collect::<Result<Vec<_>>>()?;
        let is_variable = |i: usize| tracked >> i & 1 == 1;
        let tensors: Vec<Tensor> = vars
            .iter()
            .enumerate()
            .map(|(i, v)| if is_variable(i) { v.as_tensor().clone() } else { v.as_detached_tensor() })
            .collect();
        let inputs: Vec<_> = FACTORS.into_iter().zip(&tensors).collect();
        let grads = op.forward(&inputs)?.affine(3.0, 1.0)?.backward()?;
        for (i, var) in vars.iter().enumerate() {
            let others = |n: usize| (0..6).filter(|&j| j != i).map(|j| factors[j][n]).product::<f64>() * 3.0;
            let wanted = is_variable(i).then(|| [others(0), others(1), others(2)]);
            let found = grads.get(var).map(|g| g.to_vec1::<f64>()).transpose()?;
            assert_eq!(found.as_deref(), wanted.as_ref().map(|w| &w[..]), "{tracked:b}, {i}");
        }
    }
    Ok(())
}

#[test]
fn one_variable_as_two_inputs() -> Result<()> {
    let x = Var::randn(0f64, 1.0, (5, 3), CPU)?;
    let op = LossOp::new(SDMLLoss::new());
    let grad = op.forward(&inputs! { x1: &x, x2: &x })?.backward()?.get(&x).expect("a gradient").clone();
    let [a, b] = [Var::from_tensor(&x.detach())?, Var::from_tensor(&x.detach())?];
    let apart = op.forward(&inputs! { x1: &a, x2: &b })?.backward()?;
    close(&grad, &(apart.get(&a).unwrap() + apart.get(&b).unwrap())?, 1e-12);
    Ok(())
}

#[test]
fn nothing_tracked_leaves_no_graph() -> Result<()> {
    let (pred, label) = (Tensor::zeros((2, 3), DType::F32, CPU)?, Tensor::new(&[0u32, 1], CPU)?);
    let loss = LossOp::new(SoftmaxCELoss::new()).forward(&inputs! { pred: &pred, label: &label })?;
    assert!(!loss.track_op());
    Ok(())
}

#[test]
fn refusals() -> Result<()> {
    let pred = Var::zeros((2, 3), DType::F32, CPU)?;
    let op = LossOp::new(SoftmaxCELoss::new());
    // With RUST_BACKTRACE candle appends where an error was made.
    let told = |result: Result<Tensor>| result.unwrap_err().to_string().lines().next().unwrap().to_string();
    let labels = Tensor::new(&[0u32, 3], CPU)?;
    let message = told(op.forward(&inputs! { pred: &pred, label: &labels }));
    assert_eq!(message, "label: value 3 at [1] is out of range: 3 classes, 0 to 2");
    assert_eq!(told(op.forward(&inputs! { pred: &pred })), "label: missing; softmax_cross_entropy needs pred, label");
    let labels = Tensor::new(&[0u32, 1, 1], CPU)?;
    let message = told(op.forward(&inputs! { pred: &pred, label: &labels }));
    assert_eq!(message, "label: axis n has 3 elements, but pred has 2");
    let double = Tensor::zeros((2, 3), DType::F64, CPU)?;
    let bce = LossOp::new(SigmoidBCELoss::new());
    let message = told(bce.forward(&inputs! { pred: &pred, label: &double }));
    assert_eq!(message, "label: dtype f64, but f32 as in pred is needed");
    // A gradient that cannot be is not left out in silence.
    let floats = Var::new(&[0f32, 1.0], CPU)?;
    let message = told(op.forward(&inputs! { pred: &pred, label: &floats }));
    assert_eq!(message, "label: has no gradient: it holds class numbers");
    let signs = Var::new(&[1f32, -1.0], CPU)?;
    let cosine = LossOp::new(CosineEmbeddingLoss::new());
    let message = told(cosine.forward(&inputs! { input1: &pred, input2: &pred, label: &signs }));
    assert_eq!(message, "label: has no gradient: cosine_embedding does not depend on it smoothly");
    assert!(cosine.forward(&inputs! { input1: &pred, input2: &pred, label: &signs.detach() }).is_ok());
    Ok(())
}

//! Floats of 16 bits: the results are those of whole arrays converted to f32 first, and rounded at the end, bit for bit.

mod support;

use half::{bf16, f16};
use lossjit::grad::differentiable;
use lossjit::ir::Kind;
use lossjit::losses::{L2Loss, LOSSES, SoftmaxCELoss};
use lossjit::runtime::{Real, pipeline};
use lossjit::{
    Backward, Buffer, Dtype, Error, Expr, HybridBlock, Inputs, Loss, Result, Tracer, View, ViewMut, Wanted, inputs,
};
use ndarray::{Array1, Array2, ArrayD};
use support::guard::{Flush, Guarded, running};
use support::losses::{LossCase, loss_case, row_major, with_length};

const HALVES: [Dtype; 2] = [Dtype::Bf16, Dtype::F16];

/// The input itself: its values pass through machine code, and the head is its gradient.
#[derive(Clone)]
struct Identity;

impl Loss for Identity {
    fn name(&self) -> &str {
        "identity"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n] = t.axes(["n"])?;
        t.float("x", &[n])
    }
}

fn round(dtype: Dtype, x: f64) -> f64 {
    let x = x as f32;
    if dtype == Dtype::Bf16 { f64::from(bf16::from_f32(x)) } else { f64::from(f16::from_f32(x)) }
}

fn is_same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// What the tests need of the two types beside [`Real`].
trait Half: Real {
    fn new(bits: u16) -> Self;
    fn bits(self) -> u16;
    fn rounded(x: f32) -> Self;
}

macro_rules! halves {
    ($($half:ty)*) => { $(
        impl Half for $half {
            fn new(bits: u16) -> Self {
                Self::from_bits(bits)
            }

            fn bits(self) -> u16 {
                self.to_bits()
            }

            fn rounded(x: f32) -> Self {
                Self::from_f32(x)
            }
        }
    )* };
}

halves! { bf16 f16 }

/// All patterns through machine code, from and to neighbours and with room between, computed in f32 and in f64.
fn reads_and_writes<H: Half>() {
    let all: Vec<H> = (0..=u16::MAX).map(H::new).collect();
    let block = HybridBlock::new(Identity).hybridize();
    for (size, step) in [(1 << 16, 1), (1 << 16, 3), (64, 1), (64, 3)] {
        for part in all.chunks(size) {
            let (shape, strides) = ([part.len()], [step as isize]);
            let spread: Vec<H> = part.iter().flat_map(|&x| std::iter::repeat_n(x, step)).collect();
            let x = View::with_strides(&spread, &shape, &strides).unwrap();
            let (mut wide, mut back) = (vec![0f32; part.len()], vec![H::default(); spread.len()]);
            block.forward_into(&[("x", x.clone())], ViewMut::new(&mut wide, &shape).unwrap()).unwrap();
            block.forward_into(&[("x", x)], ViewMut::with_strides(&mut back, &shape, &strides).unwrap()).unwrap();
            for (&x, (&wide, &back)) in part.iter().zip(wide.iter().zip(back.iter().step_by(step))) {
                assert!(is_same(wide.into(), x.to_f64()), "{:#x} is read as {wide}", x.bits());
                assert!(is_same(back.to_f64(), x.to_f64()), "{:#x} is written as {:#x}", x.bits(), back.bits());
                assert_eq!(
                    (wide.is_sign_negative(), back.bits() >> 15 == 1),
                    (x.bits() >> 15 == 1, x.bits() >> 15 == 1)
                );
            }
        }
    }
}

/// The head gradient, an f32, is the gradient: every beginning of 19 bits, and what lies at, above and below the middle
/// between neighbours.
fn rounds<H: Half>() {
    let heads: Vec<f32> = (0..1u32 << 19)
        .flat_map(|high| [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff].map(|low| f32::from_bits(high << 13 | low)))
        .collect();
    let block = HybridBlock::new(Identity).hybridize();
    for size in [heads.len(), 509] {
        for part in heads.chunks(size).step_by(37) {
            let shape = [part.len()];
            let given = [Buffer::new("x", H::DTYPE, &shape)];
            let vjp = block.compile_vjp(&given, &["x"], Backward::Recomputed).unwrap();
            let (x, mut grad) = (vec![H::default(); part.len()], vec![H::default(); part.len()]);
            let (inputs, head) = ([("x", View::new(&x, &shape).unwrap())], View::new(part, &shape).unwrap());
            vjp.backward(&inputs, &[], head, &mut [ViewMut::new(&mut grad, &shape).unwrap()]).unwrap();
            for (&head, &found) in part.iter().zip(&grad) {
                let (found, wanted) = (found.to_f64(), H::rounded(head).to_f64());
                assert!(is_same(found, wanted), "{head:e} is rounded to {found:e}, not {wanted:e}");
            }
        }
    }
}

#[test]
fn every_bf16() {
    reads_and_writes::<bf16>();
    rounds::<bf16>();
}

#[test]
fn every_f16() {
    reads_and_writes::<f16>();
    rounds::<f16>();
}

/// The case with its floating inputs in another dtype, and contents that one of 16 bits has room for.
fn stored(case: &LossCase, dtype: Dtype, half: Dtype) -> LossCase {
    let loss = (case.entry.build)(&case.settings).unwrap();
    let trace = pipeline::trace(&*loss, &case.specs()).unwrap();
    let mut case = case.clone();
    for given in &mut case.inputs {
        let input = trace.graph.find_input(given.name);
        if input.is_some_and(|input| trace.graph.input(input).kind == Kind::Float) {
            given.dtype = dtype;
            given.values.iter_mut().for_each(|x| *x = round(half, *x));
        }
    }
    LossCase { real: dtype, ..case }
}

/// Loss and gradients, compiled, from and into memory between forbidden pages.
fn results(case: &LossCase, flush: Flush) -> Result<Vec<Vec<f64>>> {
    let loss = (case.entry.build)(&case.settings)?;
    let memory: Vec<Guarded> = case.inputs.iter().map(|given| given.place(&given.strides, flush)).collect();
    let given: Vec<(&str, View)> = case.inputs.iter().zip(&memory).map(|(g, m)| (g.name, m.view())).collect();
    let trace = pipeline::trace(&*loss, &case.specs())?;
    let wanted = Wanted::value_and_grad(&differentiable(&trace.graph)?);
    let compiled = HybridBlock::new(loss).hybridize().compile(&given, &wanted)?;
    let buffers = &compiled.signature().outputs;
    let mut outputs: Vec<Guarded> =
        buffers.iter().map(|b| Guarded::new(b.dtype, &b.shape, &b.strides, flush)).collect();
    assert!(outputs.iter().all(|output| output.dtype == case.real));
    let mut views: Vec<ViewMut> = outputs.iter_mut().map(Guarded::view_mut).collect();
    running(case);
    compiled.run_on(1, &given, &mut views)?;
    drop(views);
    assert!(outputs.iter().all(Guarded::is_untouched_elsewhere), "{case}");
    Ok(outputs.iter().map(Guarded::values).collect())
}

/// Whether the case could be computed; a native kernel says that it does not take such floats.
fn judge(case: &LossCase, half: Dtype, flush: Flush) -> bool {
    let mut case = case.clone();
    if let Err(Error::Layout { .. }) = results(&stored(&case, Dtype::F32, half), flush) {
        // A label that takes another's shape may need a copy for that.
        case.inputs.iter_mut().for_each(|given| given.strides = row_major(&given.shape));
    }
    let narrow = stored(&case, half, half);
    let found = match results(&narrow, flush) {
        Err(Error::Dtype { found, expected, .. }) if ["CTCLoss", "SDMLLoss"].contains(&case.entry.name) => {
            assert_eq!(found, half.name());
            assert!(expected.starts_with("f32 or f64 for the native kernel of "), "{expected}");
            return false;
        }
        found => found.unwrap_or_else(|e| panic!("{narrow}: {e}")),
    };
    let wanted = results(&stored(&case, Dtype::F32, half), flush).unwrap();
    for (place, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let differs = |(_, (a, b)): &(usize, (&f64, &f64))| !is_same(**a, round(half, **b));
        if let Some((at, (a, b))) = found.iter().zip(wanted).enumerate().find(differs) {
            panic!("{narrow}: output {place} at {at} is {a}, not {b} in {half}");
        }
    }
    true
}

#[test]
fn random_losses_as_of_whole_conversions() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..600 {
        let case = loss_case(seed, 2000);
        for half in HALVES {
            let flush = if seed % 2 == 0 { Flush::Start } else { Flush::End };
            *seen.entry(case.entry.name).or_insert(0) += usize::from(judge(&case, half, flush));
        }
    }
    assert_eq!(seen.len(), LOSSES.len());
    assert!(seen.iter().all(|(&name, &n)| n >= 20 || name == "CTCLoss"), "{seen:?}");
}

#[test]
fn every_length_and_alignment() {
    for entry in LOSSES {
        for length in (1..=19).chain(171..=181).chain([512, 513, 1031]) {
            for half in HALVES {
                judge(&with_length(entry, Dtype::F32, length), half, Flush::End);
            }
        }
    }
}

fn noise<T: Real>(shape: [usize; 2], seed: usize) -> Array2<T> {
    let value = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 1000.0 - 5.0;
    Array2::from_shape_fn(shape, |(i, j)| T::from_f64(value(i * shape[1] + j)))
}

fn converted<T: Real, U: Real>(x: &Array2<T>) -> Array2<U> {
    x.mapv(|x| U::from_f64(x.to_f64()))
}

/// A forward pass, a head made of the loss, and a backward pass.
fn passes<T: Real>(pred: &Array2<T>, label: &Array1<u32>, backward: Backward) -> (ArrayD<T::Computed>, ArrayD<T>) {
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let inputs = inputs! { pred: pred, label: label };
    let (value, pullback) = block.vjp::<T>(&inputs, &["pred"], backward).unwrap();
    let head = value.mapv(|x| T::Computed::from_f64(1.0 / (1.0 + x.to_f64())));
    let mut grads = pullback.backward(&inputs, Some(View::from(&head))).unwrap();
    (value, grads.remove(0).1)
}

/// What lies between the two passes is in f32: the loss, its head, what is saved.
#[test]
fn later_gradients() {
    fn judge<T: Real<Computed = f32>>() {
        for shape in [[3, 7], [5, 2000]] {
            let pred = noise::<T>(shape, 1);
            let label = Array1::from_shape_fn(shape[0], |i| (i * 7 % shape[1]) as u32);
            for backward in [Backward::Recomputed, Backward::Kept] {
                let (value, grad) = passes(&pred, &label, backward);
                let (wanted, slope) = passes::<f32>(&converted(&pred), &label, backward);
                assert_eq!(value, wanted);
                assert_eq!(grad, slope.mapv(|x| T::from_f64(x.into())), "{backward:?}");
            }
        }
        let given = [Buffer::new("pred", T::DTYPE, &[4, 9]), Buffer::new("label", Dtype::I32, &[4])];
        let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
        let vjp = block.compile_vjp(&given, &["pred"], Backward::Recomputed).unwrap();
        assert!([vjp.out()].into_iter().chain(vjp.saved()).all(|buffer| buffer.dtype == Dtype::F32));
        assert!(!vjp.saved().is_empty() && vjp.grads()[0].dtype == T::DTYPE);
    }
    judge::<bf16>();
    judge::<f16>();
}

/// The gradient over its input, and the loss or a gradient as f32.
#[test]
fn results_where_the_caller_wants_them() {
    fn judge<T: Real<Computed = f32>>() {
        for shape in [[3, 7], [7, 1300], [64, 1301]] {
            let pred = noise::<T>(shape, 2);
            let label = Array1::from_shape_fn(shape[0], |i| (i * 5 % shape[1]) as i32);
            let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
            let inputs = inputs! { pred: &pred, label: &label };
            let beside = block.value_and_grad::<T>(&inputs, &["pred"]).unwrap();

            let (mut over, mut out) = (pred.clone(), ArrayD::from_elem(&[shape[0]][..], T::default()));
            let views = [("pred", ViewMut::from(&mut over))];
            block.value_and_grad_in_place(&inputs! { label: &label }, ViewMut::from(&mut out), views).unwrap();
            assert_eq!(out, beside.value);
            assert_eq!(over.into_dyn(), beside.grads[0].1);

            let (mut out, mut grad) = (Array1::<f32>::zeros(shape[0]), Array2::<f32>::zeros(shape));
            let grads = [("pred", ViewMut::from(&mut grad))];
            block.value_and_grad_into(&inputs, ViewMut::from(&mut out), grads).unwrap();
            let wide = converted::<T, f32>(&pred);
            let wanted = block.value_and_grad::<f32>(&inputs! { pred: &wide, label: &label }, &["pred"]).unwrap();
            assert_eq!((out.into_dyn(), grad.into_dyn()), (wanted.value, wanted.grads[0].1.clone()));
        }
    }
    judge::<bf16>();
    judge::<f16>();
}

/// The interpreter reads the same values; it computes in f64.
#[test]
fn interpreted() {
    let (pred, label) = (noise::<bf16>([5, 40], 3), noise::<bf16>([5, 40], 4));
    let inputs = inputs! { pred: &pred, label: &label };
    let found = HybridBlock::new(L2Loss::new()).value_and_grad::<bf16>(&inputs, &["pred", "label"]).unwrap();
    let wanted =
        HybridBlock::new(L2Loss::new()).hybridize().value_and_grad::<bf16>(&inputs, &["pred", "label"]).unwrap();
    assert_eq!(found, wanted); // small problems are computed in f64
}

#[test]
fn refusals_name_both() {
    let told = |inputs: &Inputs| {
        let block = HybridBlock::new(SoftmaxCELoss::new().sparse_label(false)).hybridize();
        block.forward::<bf16>(inputs).unwrap_err().to_string()
    };
    let (pred, other, wide) = (noise::<bf16>([2, 3], 1), noise::<f16>([2, 3], 1), noise::<f32>([2, 3], 1));
    assert_eq!(told(&inputs! { pred: &pred, label: &wide }), "label: dtype f32, but bf16 as in pred is needed");
    assert_eq!(told(&inputs! { pred: &other, label: &pred }), "label: dtype bf16, but f16 as in pred is needed");
    let label = Array1::from_elem(2, bf16::ONE);
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let inputs = inputs! { pred: &pred, label: &label };
    let problem = block.forward::<bf16>(&inputs).unwrap_err().to_string();
    assert_eq!(problem, "label: dtype bf16, but an integer dtype, f32 or f64 is needed");
    let label = Array1::from_elem(2, 1u8);
    let problem = block.forward::<f32>(&inputs! { pred: &pred, label: &label }).unwrap_err().to_string();
    assert_eq!(problem, "result: dtype f32, but bf16, the dtype of the inputs, is needed");
}

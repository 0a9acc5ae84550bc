//! The CTC kernel before its definition: lengths, layouts, dtypes, long sequences, extreme logits.

use lossjit::losses::{Blank, CTCLoss, Layout};
use lossjit::oracle::ctc::ctc;
use lossjit::{HybridBlock, View, inputs};
use ndarray::{Array1, Array2, Array3, Axis, array, s};

/// A random sequence: logits `[t, c]` between ±`spread`, a label, and its blank.
struct Sequence {
    logits: Array2<f64>,
    word: Vec<usize>,
    blank: usize,
}

impl Sequence {
    fn new(random: &mut fastrand::Rng, steps: usize, classes: usize, labels: usize, spread: f64) -> Self {
        let blank = random.usize(..classes);
        let others: Vec<usize> = (0..classes).filter(|&c| c != blank).collect();
        // Repeats are frequent.
        let mut word: Vec<usize> = vec![];
        for _ in 0..labels {
            let again = word.last().copied().filter(|_| random.u8(0..4) == 0);
            word.push(again.unwrap_or_else(|| others[random.usize(..others.len())]));
        }
        let logits = Array2::from_shape_simple_fn((steps, classes), || spread * (2.0 * random.f64() - 1.0));
        Self { logits, word, blank }
    }
}

fn block(blank: usize) -> HybridBlock<CTCLoss> {
    HybridBlock::new(CTCLoss::new().blank(Blank::Class(blank as i64))).hybridize()
}

/// The largest error of the gradient, relative to its largest element, and that of the loss, relative to it.
fn errors(sequence: &Sequence, loss: f64, grad: &Array2<f64>) -> [f64; 2] {
    let (wanted, slope) = ctc(sequence.logits.view(), &sequence.word, sequence.blank);
    if wanted.is_infinite() {
        assert_eq!(loss, wanted);
        assert!(grad.iter().all(|&g| g == 0.0));
        return [0.0; 2];
    }
    let scale = slope.iter().fold(0f64, |m, x| m.max(x.abs())).max(f64::MIN_POSITIVE);
    let worst = grad.iter().zip(&slope).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(!loss.is_nan() && grad.iter().all(|g| !g.is_nan()));
    [(loss - wanted).abs() / wanted.max(1.0), worst / scale]
}

/// The errors in f64 and in f32; the definition is given the logits as f32 has them.
fn judge(mut sequence: Sequence) -> [[f64; 2]; 2] {
    let label = Array2::from_shape_vec((1, sequence.word.len()), sequence.word.iter().map(|&c| c as i64).collect());
    let label = label.unwrap();
    let block = block(sequence.blank);
    let narrow = sequence.logits.mapv(|x| x as f32);
    let wide = block
        .value_and_grad::<f64>(
            &inputs! { pred: &sequence.logits.view().insert_axis(Axis(0)), label: &label },
            &["pred"],
        )
        .unwrap();
    let grad = wide.grad("pred").unwrap().index_axis(Axis(0), 0).to_owned();
    let in_f64 = errors(&sequence, wide.value[[0]], &grad.into_dimensionality().unwrap());
    let single = block
        .value_and_grad::<f32>(&inputs! { pred: &narrow.view().insert_axis(Axis(0)), label: &label }, &["pred"])
        .unwrap();
    let grad = single.grad("pred").unwrap().index_axis(Axis(0), 0).mapv(f64::from);
    sequence.logits = narrow.mapv(f64::from);
    let in_f32 = errors(&sequence, f64::from(single.value[[0]]), &grad.into_dimensionality().unwrap());
    [in_f64, in_f32]
}

#[track_caller]
fn assert_close([in_f64, in_f32]: [[f64; 2]; 2], what: &str) {
    assert!(in_f64.iter().all(|&e| e < 1e-10), "{what}: {in_f64:?} in f64");
    assert!(in_f32.iter().all(|&e| e < 2e-6), "{what}: {in_f32:?} in f32");
}

#[test]
fn random_sequences() {
    let mut random = fastrand::Rng::with_seed(3);
    for case in 0..400 {
        let (steps, classes, labels) = (random.usize(1..40), random.usize(2..9), random.usize(0..12));
        let spread = [0.0, 1.0, 10.0, 300.0][case % 4];
        let sequence = Sequence::new(&mut random, steps, classes, labels, spread);
        assert_close(judge(sequence), &format!("case {case}: {steps} steps, {classes} classes, {labels} labels"));
    }
}

/// Just as many steps as labels and repeats: one path. One step fewer: none.
#[test]
fn just_feasible() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..100 {
        let labels = random.usize(1..30);
        let mut sequence = Sequence::new(&mut random, 1, 5, labels, 3.0);
        let repeats = sequence.word.windows(2).filter(|w| w[0] == w[1]).count();
        for (steps, feasible) in [(labels + repeats, true), (labels + repeats - 1, false)] {
            sequence.logits = Array2::from_shape_simple_fn((steps, 5), || random.f64() * 6.0 - 3.0);
            assert_eq!(ctc(sequence.logits.view(), &sequence.word, sequence.blank).0.is_finite(), feasible);
            let copy = Sequence { logits: sequence.logits.clone(), word: sequence.word.clone(), blank: sequence.blank };
            assert_close(judge(copy), "just feasible");
        }
    }
}

/// Thousands of steps, with logits in the hundreds: a path's probability is far below every float.
#[test]
fn long_sequences() {
    let mut random = fastrand::Rng::with_seed(5);
    for (steps, classes, labels, spread) in [(4000, 50, 50, 1.0), (4000, 50, 50, 300.0), (1500, 7, 300, 100.0)] {
        let sequence = Sequence::new(&mut random, steps, classes, labels, spread);
        let errors = judge(sequence);
        println!("{steps} steps, {classes} classes, {labels} labels, logits within ±{spread}: {errors:?}");
        assert_close(errors, "long");
    }
}

/// Logits that plain f64 cannot multiply, in every step or now and then, and classes that are impossible at some steps.
#[test]
fn steep_and_masked() {
    let mut random = fastrand::Rng::with_seed(8);
    for case in 0..120 {
        let (steps, classes, labels) = (random.usize(1..60), random.usize(2..9), random.usize(0..12));
        let usual = [2.0, 40.0, 500.0][case % 3];
        let mut sequence = Sequence::new(&mut random, steps, classes, labels, usual);
        for logit in &mut sequence.logits {
            match random.u8(0..30) {
                0 => *logit = f64::NEG_INFINITY,
                1 | 2 => *logit = -500.0,
                3 => *logit = 500.0,
                _ => (),
            }
        }
        // A row of −∞ only has no softmax.
        sequence.logits.column_mut(0).mapv_inplace(|x| x.max(-500.0));
        assert_close(judge(sequence), &format!("case {case}: {steps} steps, {classes} classes, {labels} labels"));
    }
}

/// What cannot be otherwise costs nothing, to the bit.
#[test]
fn certain_paths() {
    let mut pred = Array3::<f32>::from_elem((1, 4, 3), -1e4);
    for (t, class) in [0, 2, 0, 1].into_iter().enumerate() {
        pred[[0, t, class]] = 1e4;
    }
    let label = array![[0u8, 0, 1]];
    let found = HybridBlock::new(CTCLoss::new()).hybridize();
    let found = found.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
    assert_eq!(found.value[[0]].to_bits(), 0);
    assert!(found.grad("pred").unwrap().iter().all(|&g| g == 0.0));
}

/// Lengths cut sequences; what lies behind them does not matter, and has gradient 0.
#[test]
fn lengths() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut pred = Array3::<f64>::from_shape_simple_fn((3, 7, 4), || random.f64() * 4.0 - 2.0);
    pred.slice_mut(s![1, 5.., ..]).fill(f64::NAN);
    let label = array![[0i32, 1, 99], [2, 2, -7], [1, -1, 55]];
    let (steps, labels) = (array![7i64, 5, 0], array![2.0f64, 2.0, 0.0]);
    let given = inputs! { pred: &pred, label: &label, pred_lengths: &steps, label_lengths: &labels };
    for block in [HybridBlock::new(CTCLoss::new()), HybridBlock::new(CTCLoss::new()).hybridize()] {
        let found = block.value_and_grad::<f64>(&given, &["pred"]).unwrap();
        let grad = found.grad("pred").unwrap();
        for (row, steps, word) in [(0, 7, vec![0, 1]), (1, 5, vec![2, 2]), (2, 0, vec![])] {
            let (loss, slope) = ctc(pred.slice(s![row, ..steps, ..]), &word, 3);
            assert!((found.value[[row]] - loss).abs() < 1e-12);
            for ((t, c), &g) in grad.slice(s![row, .., ..]).indexed_iter() {
                let wanted = slope.get((t, c)).copied().unwrap_or(0.0);
                assert!((g - wanted).abs() < 1e-12, "row {row}, step {t}, class {c}: {g}, not {wanted}");
            }
        }
    }
}

/// The same bits from every layout and any number of threads; labels of every dtype.
#[test]
fn layouts_and_threads() {
    let mut random = fastrand::Rng::with_seed(7);
    let pred = Array3::<f32>::from_shape_simple_fn((16, 150, 90), || random.f32() * 8.0 - 4.0);
    let label = Array2::from_shape_simple_fn((16, 20), || random.i32(0..89));
    let run = |block: HybridBlock<CTCLoss>, pred: View, label: View| {
        block.value_and_grad::<f32>(&[("pred", pred), ("label", label)], &["pred"]).unwrap()
    };
    let plain = || HybridBlock::new(CTCLoss::new()).hybridize();
    let wanted = run(plain().threads(1), View::from(&pred), View::from(&label));
    for threads in [2, 3, 8] {
        assert_eq!(run(plain().threads(threads), View::from(&pred), View::from(&label)), wanted);
    }
    let turned = pred.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let loss = CTCLoss::new().layout(Layout::Tnc);
    let found = run(HybridBlock::new(loss).hybridize(), View::from(&turned), View::from(&label));
    assert_eq!(found.value, wanted.value);
    let grad = found.grad("pred").unwrap().view().permuted_axes(vec![1, 0, 2]);
    assert_eq!(grad, wanted.grad("pred").unwrap().view());
    // Classes that do not lie along memory.
    let spread = pred.view().permuted_axes([0, 2, 1]).as_standard_layout().into_owned();
    let found = run(plain(), View::from(&spread.view().permuted_axes([0, 2, 1])), View::from(&label));
    assert_eq!(found, wanted);
    assert_eq!(run(plain(), View::from(&pred), View::from(&label.mapv(|x| x as u8))), wanted);
    assert_eq!(run(plain(), View::from(&pred), View::from(&label.mapv(|x| x as u32))), wanted);
    assert_eq!(run(plain(), View::from(&pred), View::from(&label.mapv(i64::from))), wanted);
    assert_eq!(run(plain(), View::from(&pred), View::from(&label.mapv(|x| x as f32))), wanted);
    assert_eq!(run(plain(), View::from(&pred), View::from(&label.mapv(f64::from))), wanted);
}

/// Weights, a head and `zero_infinity` act on whole sequences; a row without alignment is 0 whatever it is weighed with.
#[test]
fn in_a_larger_graph() {
    let pred = Array3::<f64>::from_shape_fn((2, 3, 3), |(n, t, c)| ((n + 2 * t + 3 * c) % 5) as f64 * 0.3);
    let label = array![[0i32, 0, 0], [1, 0, -1]];
    let (weight, head) = (array![2.0, 3.0], array![f64::INFINITY, 0.5]);
    let given = inputs! { pred: &pred, label: &label, sample_weight: &weight };
    let (loss, slope) = ctc(pred.slice(s![1, .., ..]), &[1, 0], 2);
    for zero_infinity in [false, true] {
        let imperative = HybridBlock::new(CTCLoss::new().weight(0.5).zero_infinity(zero_infinity));
        for block in [imperative.clone(), imperative.hybridize()] {
            let found = block.value_and_grad_with_head::<f64>(&given, View::from(&head), &["pred"]).unwrap();
            assert_eq!(found.value[[0]], if zero_infinity { 0.0 } else { f64::INFINITY });
            assert!((found.value[[1]] - 1.5 * loss).abs() < 1e-12);
            let grad = found.grad("pred").unwrap();
            assert!(grad.slice(s![0, .., ..]).iter().all(|&g| g == 0.0));
            let wanted = slope.mapv(|x| 0.75 * x).into_dyn();
            assert!((&grad.slice(s![1, .., ..]) - &wanted).iter().all(|e| e.abs() < 1e-12));
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let pred = Array3::<f32>::zeros((2, 4, 3));
    let told = |label: View, lengths: &[(&'static str, View<'_>)]| {
        let mut given = vec![("pred", View::from(&pred)), ("label", label)];
        given.extend(lengths.iter().cloned());
        let imperative = HybridBlock::new(CTCLoss::new());
        let message = imperative.value_and_grad::<f32>(&given, &["pred"]).unwrap_err().to_string();
        let compiled = imperative.hybridize().value_and_grad::<f32>(&given, &["pred"]).unwrap_err().to_string();
        assert_eq!(message, compiled);
        message
    };
    let label = array![[0i32, 1], [1, 0]];
    let blank = array![[0i32, 1], [1, 2]];
    assert_eq!(
        told(View::from(&blank), &[]),
        "label: value 2 at [1, 1] is no label: there are 3 classes, and 2 is the blank"
    );
    let far = array![[3i32, 1], [1, 0]];
    assert_eq!(
        told(View::from(&far), &[]),
        "label: value 3 at [0, 0] is no label: there are 3 classes, and 2 is the blank"
    );
    let half = array![[0.5f64, 1.0], [1.0, 0.0]];
    assert_eq!(told(View::from(&half), &[]), "label: value 0.5 at [0, 0] is not a whole number");
    let lengths = Array1::from(vec![5i32, 1]);
    let message = told(View::from(&label), &[("pred_lengths", View::from(&lengths))]);
    assert_eq!(message, "pred_lengths: value 5 at [0] is out of range: 0 to 4");
    let lengths = array![1i64, -1];
    let message = told(View::from(&label), &[("label_lengths", View::from(&lengths))]);
    assert_eq!(message, "label_lengths: value -1 at [1] is out of range: 0 to 2");
}

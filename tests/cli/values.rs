//! What `eval` writes has the right values, wherever its inputs come from and however it is told to compute.

use crate::workdir::{DIGITS, Results, Workdir, read};
use ndarray::{Array1, Array2, ArrayD, Axis, ShapeBuilder, array};
use safetensors::Dtype;

/// Numbers without a pattern, between −1 and 1.
fn noise(shape: &[usize]) -> ArrayD<f32> {
    let mut step = 0u32;
    ArrayD::from_shape_simple_fn(shape, || {
        step = step.wrapping_add(1);
        (f64::from(step) * 12.9898).sin() as f32
    })
}

#[track_caller]
fn assert_close(found: &ArrayD<f32>, wanted: &ArrayD<f64>, tolerance: f64) {
    assert_eq!(found.shape(), wanted.shape());
    for ((place, &found), &wanted) in found.indexed_iter().zip(wanted) {
        assert!((f64::from(found) - wanted).abs() <= tolerance, "at {place:?}: {found}, not {wanted}");
    }
}

/// Logits and labels of the digits, and the float64 loss of each with its gradient.
fn digits() -> (Array2<f64>, Array1<f64>, Array2<f64>) {
    let file = std::fs::read(DIGITS).unwrap();
    let logits = read(&file, "logits", Dtype::F32, |b| f64::from(f32::from_le_bytes(b.try_into().unwrap())));
    let labels = read(&file, "labels", Dtype::I32, |b| i32::from_le_bytes(b.try_into().unwrap()) as usize);
    let logits: Array2<f64> = logits.into_dimensionality().unwrap();
    let mut grads = logits.clone();
    let mut losses = Array1::zeros(labels.len());
    for (i, mut row) in grads.axis_iter_mut(Axis(0)).enumerate() {
        let max = row.fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        row.mapv_inplace(|x| (x - max).exp());
        let sum = row.sum();
        row /= sum;
        losses[i] = max + sum.ln() - logits[[i, labels[i]]];
        row[labels[i]] -= 1.0;
    }
    (logits, losses, grads)
}

#[test]
fn cross_entropy_of_digits() {
    let dir = Workdir::new();
    let (_, losses, grads) = digits();
    let arguments =
        format!("SoftmaxCrossEntropyLoss --input pred={DIGITS}:logits --input label={DIGITS}:labels --grad all");
    for how in ["", " --imperative"] {
        let results = dir.eval(&format!("{arguments}{how}"));
        assert_eq!(results.keys(), ["grad.pred", "out"]);
        assert_close(&results.f32("out"), &losses.clone().into_dyn(), 2e-6);
        assert_close(&results.f32("grad.pred"), &grads.clone().into_dyn(), 5e-7);
    }
}

#[test]
fn double_precision_and_labels_as_floats() {
    let dir = Workdir::new();
    let (logits, losses, grads) = digits();
    let file = std::fs::read(DIGITS).unwrap();
    dir.npy("pred.npy", &logits.into_dyn());
    dir.npy("label.npy", &read(&file, "labels", Dtype::I32, |b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))));
    let results = dir.eval("softmax_ce_loss --input pred=pred.npy --input label=label.npy --grad pred");
    let far = |a: &ArrayD<f64>, b: &ArrayD<f64>| (a - b).iter().fold(0f64, |far, x| far.max(x.abs()));
    assert!(far(&results.f64("out"), &losses.into_dyn()) < 1e-14);
    assert!(far(&results.f64("grad.pred"), &grads.into_dyn()) < 1e-14);
}

#[test]
fn every_file_format_gives_the_same() {
    let dir = Workdir::new();
    let pred = noise(&[3, 4, 5]);
    let mut fortran = ArrayD::zeros(vec![3, 4, 5].f());
    fortran.assign(&pred);
    dir.npy("c.npy", &pred);
    dir.npy("fortran.npy", &fortran);
    assert_ne!(dir.bytes("c.npy"), dir.bytes("fortran.npy"));
    dir.npz("a.npz", "x", &pred);
    dir.safetensors("a.safetensors", "x", &pred);
    dir.npy("label.npy", &noise(&[60]));
    let eval = |file: &str| dir.eval(&format!("L1Loss --input pred={file} --input label=label.npy --grad all"));
    let wanted = eval("c.npy");
    assert_eq!(wanted.f32("grad.label").shape(), [60]);
    for file in ["fortran.npy", "a.npz", "a.npz:x", "a.safetensors", "a.safetensors:x"] {
        assert!(eval(file) == wanted, "{file}");
    }
}

#[test]
fn a_head_gradient_scales_each_row() {
    let dir = Workdir::new();
    dir.npy("pred.npy", &array![[1f32, 2.0], [3.0, 5.0]].into_dyn());
    dir.npy("label.npy", &array![[0f32, 0.0], [0.0, 1.0]].into_dyn());
    dir.npz("head.npz", "h", &array![10f32, -1.0].into_dyn());
    for how in ["", " --imperative"] {
        let results = dir.eval(&format!(
            "L2Loss --input pred=pred.npy --input label=label.npy --grad label --grad pred --head head.npz:h{how}"
        ));
        assert_eq!(results.f32("out"), array![1.25, 6.25].into_dyn());
        assert_eq!(results.f32("grad.pred"), array![[5.0, 10.0], [-1.5, -2.0]].into_dyn());
        assert_eq!(results.f32("grad.label"), array![[-5.0, -10.0], [1.5, 2.0]].into_dyn());
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let dir = Workdir::new();
    dir.npy("pred.npy", &noise(&[600, 300]));
    dir.npy("label.npy", &noise(&[600, 300]).mapv(|x| x * x));
    let eval = |threads: &str| -> Results {
        dir.eval(&format!("SigmoidBCELoss --input pred=pred.npy --input label=label.npy --grad all {threads}"))
    };
    let wanted = eval("");
    for threads in ["--threads 1", "--threads 2", "--threads 1000000"] {
        assert!(eval(threads) == wanted, "{threads}");
    }
}

#[test]
fn parameters_in_either_spelling() {
    let dir = Workdir::new();
    dir.npy("pred.npy", &noise(&[4, 3]));
    dir.npy("label.npy", &noise(&[4, 3]).mapv(f32::abs));
    let eval = |loss: &str| dir.eval(&format!("{loss} --input pred=pred.npy --input label=label.npy --grad pred"));
    let wanted = eval("SoftmaxCrossEntropyLoss --set sparse_label=false --set axis=-1");
    for loss in [
        "SoftmaxCELoss --set sparse_label=False --set weight=None",
        "softmax_ce_loss --set sparse_label=false --set weight=none --set axis=1",
        "softmax_cross_entropy_loss --set weight=3 --set weight=1 --set sparse_label=FALSE",
    ] {
        assert!(eval(loss) == wanted, "{loss}");
    }
    assert!(eval("SoftmaxCELoss --set sparse_label=false --set weight=3") != wanted);
}

#[test]
fn empty_batches_have_empty_results() {
    let dir = Workdir::new();
    dir.npy("pred.npy", &noise(&[0, 3]));
    dir.npy("label.npy", &ArrayD::<i64>::zeros(vec![0]));
    let results = dir.eval("SoftmaxCELoss --input pred=pred.npy --input label=label.npy --grad pred");
    assert_eq!((results.f32("out").shape(), results.f32("grad.pred").shape()), (&[0][..], &[0, 3][..]));
}

#[test]
fn an_output_replaces_what_was_there() {
    let dir = Workdir::new();
    dir.safetensors("x.safetensors", "x", &array![[1f32, 2.0]].into_dyn());
    let out = dir.done("eval L1Loss --input pred=x.safetensors --input label=x.safetensors --output x.safetensors");
    assert_eq!(out, "wrote x.safetensors: out f32[1]\n");
    assert_eq!(dir.files(), ["x.safetensors"]);
}

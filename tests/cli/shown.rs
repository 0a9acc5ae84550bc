//! What `eval` prints.

use crate::workdir::{DIGITS, Workdir};
use ndarray::array;
use serde_json::{Value, json};
use std::process::Stdio;

/// The two arrays that most tests here read.
fn small() -> Workdir {
    let dir = Workdir::new();
    dir.npy("pred.npy", &array![[1f32, 2.0, 0.5], [3.0, 5.0, 0.0]].into_dyn());
    dir.npy("label.npy", &array![[0f32, 0.0, 0.0], [0.0, 1.0, 0.0]].into_dyn());
    dir
}

/// The text without the times, which differ from run to run.
fn untimed(text: &str) -> String {
    let (text, times) = text.rsplit_once("\n\n").unwrap();
    assert!(times.starts_with("compile ") && times.contains("\nrun "), "{times}");
    text.to_string()
}

#[test]
fn a_summary() {
    let dir = small();
    let out = dir.done(
        "eval HuberLoss --set rho=0.5 --set weight=none --input pred=pred.npy --input label=label.npy --grad pred",
    );
    let wanted = "\
HuberLoss  rho=0.5

input  shape
pred   f32[2,3]
label  f32[2,3]

result     shape         mean       min       max  first values
out        f32[2]     1.54167  0.916667   2.16667  [0.916667, 2.16667]
grad.pred  f32[2,3]  0.277778         0  0.333333  [0.333333, 0.333333, 0.333333, 0.333333, …]";
    assert_eq!(untimed(&out), wanted);
}

#[test]
fn a_summary_of_numbers_that_are_not_finite() {
    let dir = small();
    dir.npy("nan.npy", &array![f64::NAN, 1.0, f64::INFINITY].into_dyn());
    dir.npy("zero.npy", &array![0.0, 0.0, 0.0].into_dyn());
    let arguments = "eval L1Loss --input pred=nan.npy --input label=zero.npy";
    let line = "out     f64[3]   nan  nan  nan  [nan, 1, inf]";
    assert!(untimed(&dir.done(arguments)).ends_with(line));
    let shown: Value = serde_json::from_str(&dir.done(&format!("{arguments} --json"))).unwrap();
    let wanted = json!({
        "dtype": "f64", "shape": [3], "mean": "nan", "min": "nan", "max": "nan", "first": ["nan", 1.0, "inf"]
    });
    assert_eq!(shown["results"]["out"], wanted);
}

#[test]
fn an_interpreted_run_has_no_compile_time() {
    let dir = small();
    let arguments = "eval L2Loss --imperative --input pred=pred.npy --input label=label.npy";
    let out = dir.done(arguments);
    assert!(
        out.contains("\nrun ") && out.ends_with("interpreted, not compiled\n") && !out.contains("compile "),
        "{out}"
    );
    let shown: Value = serde_json::from_str(&dir.done(&format!("{arguments} --json"))).unwrap();
    assert_eq!((&shown["mode"], &shown["compile_ms"]), (&json!("imperative"), &Value::Null));
}

#[test]
fn one_json_object_on_one_line() {
    let dir = small();
    let arguments =
        "eval L2Loss --set batch_axis=-2 --input pred=pred.npy --input label=label.npy --grad label --threads 1 --json";
    let out = dir.done(arguments);
    assert_eq!(out.lines().count(), 1);
    let mut shown: Value = serde_json::from_str(&out).unwrap();
    for time in ["compile_ms", "run_ms"] {
        assert!(shown[time].take().as_f64().is_some_and(|ms| ms > 0.0), "{time}");
    }
    let matrix = json!({ "dtype": "f32", "shape": [2, 3] });
    let wanted = json!({
        "loss": "L2Loss",
        "parameters": { "weight": 1, "batch_axis": -2, "reduction": null },
        "mode": "compiled",
        "threads": 1,
        "inputs": { "pred": matrix, "label": matrix },
        "results": {
            "out": { "dtype": "f32", "shape": [2], "mean": 2.5208332538604736, "min": 0.875, "max": 4.166666507720947,
                     "first": [0.875, 4.166666507720947] },
            "grad.label": {
                "dtype": "f32", "shape": [2, 3], "mean": -0.5833333457509676, "min": -1.3333333730697632, "max": 0.0,
                "first": [-0.3333333432674408, -0.6666666865348816, -0.1666666716337204, -1.0],
            },
        },
        "compile_ms": null,
        "run_ms": null,
    });
    assert_eq!(shown, wanted);

    let out = dir.done(&format!("{arguments} --output out.safetensors"));
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["output"], "out.safetensors");
    assert_eq!(shown["results"], wanted["results"]);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let arguments = format!("eval SoftmaxCELoss --input pred={DIGITS}:logits --input label={DIGITS}:labels");
    let child = Workdir::new().command(&arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

/// Sentences and their paraphrases as unit vectors: each is nearer to its own than to the others.
#[test]
fn embeddings_of_paraphrases() {
    let dir = Workdir::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/paraphrase_embeddings.safetensors");
    let out = dir.done(&format!("eval SDMLLoss --input x1={file}:x1 --input x2={file}:x2 --grad all --json"));
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["results"]["out"]["shape"], json!([48]));
    assert_eq!(shown["results"]["grad.x2"]["shape"], json!([48, 384]));
    let mean = |out: &str| serde_json::from_str::<Value>(out).unwrap()["results"]["out"]["mean"].as_f64().unwrap();
    let together = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/paraphrase_labels.npy");
    dir.npy("apart.npy", &ndarray::ArrayD::<i32>::from_elem(vec![48], -1));
    let cosine = |label: &str| {
        mean(&dir.done(&format!(
            "eval CosineEmbeddingLoss --input input1={file}:x1 --input input2={file}:x2 --input label={label} --json"
        )))
    };
    let (together, apart) = (cosine(together), cosine("apart.npy"));
    assert!(together < 0.4 && (together + apart - 1.0).abs() < 1e-5, "{together} {apart}");
}

#[test]
fn a_check() {
    let dir = Workdir::new();
    let out = dir.done("check SoftmaxCELoss --input pred=f32[8,10] --input label=i64[8] --set axis=-1 --seed 3");
    assert!(out.starts_with("SoftmaxCrossEntropyLoss  f32, seed 3\n") && out.ends_with("All agree.\n"), "{out}");
    assert_eq!(out.lines().filter(|l| l.starts_with("out ") || l.starts_with("grad.pred ")).count(), 2);
    for inputs in [
        "pred=f64[4,12,7] --input label=u8[4,3]",
        "pred=f32[4,12,7] --input label=i32[4,3] --input label_lengths=i64[4]",
    ] {
        assert!(dir.done(&format!("check CTCLoss --input {inputs}")).ends_with("All agree.\n"));
    }
    // Labels are drawn from what they are compared with: all branches are seen.
    let inputs = "--input input1=f64[40,3] --input input2=f64[40,3] --input label=f64[40]";
    let out = dir.done(&format!("check CosineEmbeddingLoss --set margin=0.9 {inputs}"));
    let of_gradient = out.lines().find(|line| line.starts_with("grad.input1")).unwrap();
    assert!(!of_gradient.ends_with("0.0e0"), "no slope was compared: {out}");

    for command in ["check", "bench"] {
        let shape = "f32[10000000,10000000]";
        let outcome = dir.run(&format!("{command} L1Loss --input pred={shape} --input label={shape}"));
        assert_eq!(outcome.status, Some(1));
        assert!(
            outcome.err.ends_with(": shape [10000000, 10000000] needs more memory than there is\n"),
            "{}",
            outcome.err
        );
    }
    let outcome = dir.run("check L2Loss --input pred=f32[2,3] --input label=f32[5]");
    let message = "error: label: shape [5] has 5 elements, but 6 are needed, for shape [2, 3]\n";
    assert_eq!((outcome.status, outcome.err.as_str()), (Some(1), message));
    let outcome = dir.run("check L2Loss --input pred=f8[2,3]");
    assert_eq!(outcome.status, Some(2));
}

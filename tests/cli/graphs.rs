//! Graphs from files in the place of a loss's name, and where a NaN comes from.

use crate::workdir::{DIGITS, Workdir};
use ndarray::array;
use serde_json::Value;
use std::fs;

const FOCAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/graph_files/focal.graph");

#[test]
fn a_file_is_evaluated_as_a_loss() {
    let dir = Workdir::new();
    let inputs = format!("--input pred={DIGITS}:logits --input label={DIGITS}:labels");
    let out: Value = serde_json::from_str(&dir.done(&format!("eval {FOCAL} --grad all {inputs} --json"))).unwrap();
    assert_eq!((&out["loss"], &out["parameters"]), (&Value::from(FOCAL), &serde_json::json!({})));
    assert_eq!(out["results"]["out"]["shape"], serde_json::json!([897]));
    assert_eq!(out["results"]["grad.pred"]["shape"], serde_json::json!([897, 10]));
    let mean = |mode: &str| -> f64 {
        let text = dir.done(&format!("eval {FOCAL} {inputs} --json {mode}"));
        serde_json::from_str::<Value>(&text).unwrap()["results"]["out"]["mean"].as_f64().unwrap()
    };
    assert!((mean("") - mean("--imperative")).abs() < 1e-6);
    assert!(dir.done(&format!("check {FOCAL} --input pred=f64[5,4] --input label=i32[5]")).ends_with("All agree.\n"));
    let timed = dir.done(&format!("bench {FOCAL} --input pred=f32[5,4] --input label=i32[5] --threads 1"));
    assert!(timed.contains("gradients by pred"), "{timed}");
}

/// What the inspector prints of a loss is a file for the other commands.
#[test]
fn a_stage_is_a_file() {
    let dir = Workdir::new();
    let shapes = "--input x1=f64[4,3] --input x2=f64[4,3]";
    let trace = dir.done(&format!("inspect SDMLLoss {shapes} --stage trace"));
    fs::write(dir.path("sdml.graph"), &trace).unwrap();
    assert!(dir.done(&format!("check sdml.graph {shapes}")).ends_with("All agree.\n"));
    assert_eq!(dir.done(&format!("inspect ./sdml.graph {shapes} --stage trace")), trace);
}

#[test]
fn bad_files_are_told() {
    let dir = Workdir::new();
    dir.npy("x.npy", &array![1f32, 2.0].into_dyn());
    let run = |name: &str, text: &[u8]| {
        fs::write(dir.path(name), text).unwrap();
        let outcome = dir.run(&format!("eval ./{name} --input x=x.npy"));
        assert_eq!((outcome.status, outcome.out.as_str()), (Some(1), ""));
        outcome.err
    };
    let good = "graph double(x[n]: float)\n%0[n]: float = read x @n\n%1[n]: float = mul 2.0 %0\nout[n] = %1\n";
    fs::write(dir.path("good.graph"), good).unwrap();
    assert!(dir.done("eval good.graph --input x=x.npy").contains("out"));
    let bad = good.replace("mul 2.0", "system 2.0");
    assert_eq!(run("a.graph", bad.as_bytes()), "error: ./a.graph: graph text, line 3: `system` is no op\n");
    assert!(run("b.graph", &[0xff, 0xfe, 0]).starts_with("error: ./b.graph: is no text: "));
    assert_eq!(run("c.graph", &vec![b' '; 2 << 20]), "error: ./c.graph: is longer than 1048576 bytes\n");
    let missing = dir.run("eval ./none.graph --input x=x.npy");
    assert!(missing.status == Some(1) && missing.err.starts_with("error: ./none.graph: "), "{}", missing.err);
    let set = dir.run("eval ./good.graph --set weight=2 --input x=x.npy");
    assert_eq!((set.status, set.err.as_str()), (Some(2), "error: weight: a graph from a file has no parameters\n"));
}

/// An infinite logit in the input; a sum that is too large for f32; nothing bad at all.
#[test]
fn where_a_nan_comes_from() {
    let dir = Workdir::new();
    dir.npy("pred.npy", &array![[1f32, 2.0], [f32::NAN, 0.0]].into_dyn());
    dir.npy("label.npy", &array![0i32, 1].into_dyn());
    let inputs = "--input pred=pred.npy --input label=label.npy";
    let out = dir.done(&format!("eval SoftmaxCELoss {inputs} --grad pred --trace-values"));
    assert!(out.starts_with("SoftmaxCrossEntropyLoss  interpreted, in the range of f32\n"), "{out}");
    assert!(out.contains("out went bad here first: %0[n c] = read pred @n @c\n"), "{out}");
    assert!(
        out.contains("\n  NaN at n = 1, c = 0; it is so in the input pred\n  declared at src/losses/softmax_ce.rs:"),
        "{out}"
    );

    let out = dir.done(&format!("eval {FOCAL} {inputs} --trace-values"));
    assert!(out.contains("; it is so in the input pred\n  declared at line "), "{out}");

    dir.npy("pred.npy", &array![[1e30f32, 2.0], [0.0, 0.0]].into_dyn());
    dir.npy("dense.npy", &array![[0f32, 0.0], [0.0, 0.0]].into_dyn());
    let inputs = "--input pred=pred.npy --input label=dense.npy";
    let out: Value = serde_json::from_str(&dir.done(&format!("eval L2Loss {inputs} --trace-values --json"))).unwrap();
    assert_eq!((&out["bad_output"], &out["bad_first"]["first_bad"]), (&"out".into(), &serde_json::json!([0, 0])));
    assert!(out["bad_first"]["value"].as_str().unwrap().contains("= mul "), "{out}");

    let inputs = format!("--input pred={DIGITS}:logits --input label={DIGITS}:labels");
    let out = dir.done(&format!("eval SoftmaxCELoss {inputs} --trace-values"));
    assert!(out.ends_with("\nEvery result is finite.\n"), "{out}");
}

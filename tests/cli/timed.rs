//! `bench`, alone and as a server for a harness.

use crate::workdir::Workdir;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::Stdio;

#[test]
fn times_of_a_loss() {
    let dir = Workdir::new();
    let inputs = "--input pred=f32[4,6] --input label=i32[4]";
    let out = dir.done(&format!("bench SoftmaxCELoss {inputs} --threads 1"));
    assert!(out.starts_with("SoftmaxCrossEntropyLoss  1 thread, gradients by pred\n"), "{out}");
    let shown: Value = serde_json::from_str(&dir.done(&format!("bench SoftmaxCELoss {inputs} --json"))).unwrap();
    let calls = shown["calls"].as_array().unwrap();
    assert_eq!(calls.iter().map(|c| c["call"].as_str().unwrap()).collect::<Vec<_>>(), ["forward", "value_and_grad"]);
    for call in calls {
        let seconds = |field: &str| call[field].as_f64().unwrap();
        assert!(seconds("min_s") > 0.0 && seconds("median_s") >= seconds("min_s") && seconds("compile_s") > 0.0);
    }
    assert_eq!(dir.run("bench").status, Some(2));
    assert_eq!(dir.run("bench L2Loss --serve").status, Some(2));
}

/// Requests and the answers to them.
fn served(dir: &Workdir, requests: &[Value]) -> Vec<Value> {
    let mut command = dir.command("bench --serve");
    command.env("BENCH_THREADS", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for request in requests {
        writeln!(stdin, "{request}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_session_with_a_harness() {
    let dir = Workdir::new();
    let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    fs::write(dir.path("pred.bin"), bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    fs::write(dir.path("label.bin"), bytes(&[0.0; 4])).unwrap();
    let input = |name: &str| json!({ "path": dir.path(name), "dtype": "float32", "shape": [2, 2] });
    let case = |mode: &str| {
        json!({
            "op": "prepare",
            "case": { "loss": "L2", "shape": [2, 2], "dtype": "float32", "mode": mode, "params": { "weight": 2.0 }, "wrt": ["pred"] },
            "inputs": { "pred": input("pred.bin"), "label": input("label.bin") },
            "out_dir": dir.path(""),
        })
    };
    let answers = served(
        &dir,
        &[
            json!({ "op": "hello" }),
            json!({ "op": "run", "seconds": 0.01 }),
            case("fwdbwd"),
            json!({ "op": "run", "seconds": 0.01 }),
            json!({ "op": "release" }),
            case("sideways"),
            json!({ "op": "dance" }),
            json!("no request"),
            json!({ "op": "quit" }),
            json!({ "op": "hello" }),
        ],
    );
    let ok: Vec<bool> = answers.iter().map(|a| a["ok"].as_bool().unwrap()).collect();
    assert_eq!(ok, [true, false, true, true, true, false, false, false]);
    assert_eq!(answers[1]["why"], "run: nothing is prepared");
    assert_eq!(answers[2]["loss_dtype"], "float32");
    assert!(answers[3]["samples"].as_array().unwrap().iter().all(|s| s.as_f64().unwrap() > 0.0));
    assert_eq!(fs::read(dir.path("loss.bin")).unwrap(), bytes(&[2.5, 12.5]));
    assert_eq!(fs::read(dir.path("grad_pred.bin")).unwrap(), bytes(&[1.0, 2.0, 3.0, 4.0]));
}

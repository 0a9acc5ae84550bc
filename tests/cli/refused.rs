//! What is refused: each with its exit status and one line that says what is wrong. Nothing is written then.

use crate::workdir::Workdir;
use ndarray::{ArrayD, array};
use std::fs;

/// Files named after what they hold.
fn files() -> Workdir {
    let dir = Workdir::new();
    dir.npy("f23.npy", &ArrayD::<f32>::ones(vec![2, 3]));
    dir.npy("f24.npy", &ArrayD::<f32>::ones(vec![2, 4]));
    dir.npy("f3.npy", &ArrayD::<f32>::ones(vec![3]));
    dir.npy("f0.npy", &ArrayD::<f32>::ones(vec![]));
    dir.npy("d23.npy", &ArrayD::<f64>::ones(vec![2, 3]));
    dir.npy("i23.npy", &ArrayD::<i32>::ones(vec![2, 3]));
    dir.npy("labels.npy", &array![0, 2].into_dyn());
    dir.npy("beyond.npy", &array![2, 3].into_dyn());
    dir.npy("below.npy", &array![-1i64, 0].into_dyn());
    dir.npy("half.npy", &array![0.0, 0.5].into_dyn());
    dir.npy("nan.npy", &array![f32::NAN, 0.0].into_dyn());
    dir.npy("i16.npy", &array![1i16, 2].into_dyn());
    dir.npz("x.npz", "x", &ArrayD::<f32>::ones(vec![2, 3]));
    let whole = dir.bytes("f23.npy");
    fs::write(dir.path("truncated.npy"), &whole[..whole.len() - 3]).unwrap();
    fs::write(dir.path("empty.npy"), "").unwrap();
    fs::write(dir.path("noise.safetensors"), "no tensors at all").unwrap();
    fs::write(dir.path("text.txt"), "1 2 3").unwrap();
    fs::create_dir(dir.path("dir.npy")).unwrap();
    fs::write(dir.path("kept.safetensors"), "what was here before").unwrap();
    dir
}

/// Runs every row: its arguments, and what follows `error: ` on the first line of stderr.
#[track_caller]
fn all_refused(status: i32, rows: &[(&str, &str)]) {
    let dir = files();
    let before = dir.files();
    for (arguments, wanted) in rows {
        let outcome = dir.run(&format!("eval {arguments}"));
        assert_eq!((outcome.status, outcome.out.as_str()), (Some(status), ""), "{arguments}: {}", outcome.err);
        let line = outcome.err.lines().next().unwrap_or_default();
        assert_eq!(line, format!("error: {wanted}"), "{arguments}");
        // What is wrong with the command line itself may be followed by advice.
        assert!(status == 2 || outcome.err == format!("{line}\n"), "{arguments}: {}", outcome.err);
    }
    assert_eq!(dir.files(), before);
    assert_eq!(dir.bytes("kept.safetensors"), b"what was here before");
}

#[test]
fn inputs_that_do_not_fit() {
    all_refused(
        1,
        &[
            ("L2Loss --output kept.safetensors", "pred: missing; l2 needs pred"),
            ("L2Loss --input pred=f23.npy --output kept.safetensors", "label: missing; l2 needs pred, label"),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --input labels=f23.npy --output kept.safetensors",
                "labels: unknown; l2 takes pred, label, sample_weight",
            ),
            ("L2Loss --input pred=f23.npy --input pred=f23.npy --input label=f23.npy", "pred: given twice"),
            ("L2Loss --input pred=f0.npy --input label=f0.npy", "pred: shape [] has 0 dimensions, not 1 or more"),
            (
                "L2Loss --input pred=f23.npy --input label=f24.npy",
                "label: shape [2, 4] has 8 elements, but 6 are needed, for shape [2, 3]",
            ),
            ("SoftmaxCELoss --input pred=f24.npy --input label=f3.npy", "label: axis n has 3 elements, but pred has 2"),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --input sample_weight=f24.npy",
                "sample_weight: shape [2, 4] does not broadcast to the loss's shape [2, 3] without enlarging it",
            ),
            (
                "L2Loss --input pred=i23.npy --input label=i23.npy",
                "pred: dtype i32, but f32, f64, bf16 or f16 is needed",
            ),
            ("L2Loss --input pred=f23.npy --input label=d23.npy", "label: dtype f64, but f32 as in pred is needed"),
            (
                "L2Loss --set batch_axis=2 --input pred=f23.npy --input label=f23.npy",
                "batch_axis = 2 is out of range for pred, which has 2 dimensions",
            ),
            (
                "HuberLoss --set rho=0 --input pred=f23.npy --input label=f23.npy --output kept.safetensors",
                "huber: rho = 0: must be positive and finite",
            ),
        ],
    );
}

#[test]
fn labels_that_are_no_classes() {
    let rows = [
        ("beyond.npy", "label: value 3 at [1] is out of range: 3 classes, 0 to 2"),
        ("below.npy", "label: value -1 at [0] is out of range: 3 classes, 0 to 2"),
        ("half.npy", "label: value 0.5 at [1] is not a whole number"),
        ("nan.npy", "label: value NaN at [0] is not a whole number"),
    ];
    for (file, message) in rows {
        let arguments = format!("SoftmaxCELoss --input pred=f23.npy --input label={file} --output kept.safetensors");
        all_refused(1, &[(&arguments, message), (&format!("{arguments} --imperative --grad all"), message)]);
    }
}

#[test]
fn gradients_that_do_not_exist() {
    all_refused(
        1,
        &[
            (
                "SoftmaxCELoss --input pred=f23.npy --input label=labels.npy --grad label --output kept.safetensors",
                "label: has no gradient: it holds class numbers",
            ),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --grad sample_weight",
                "sample_weight: has no gradient: it is not given; given are pred, label",
            ),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --grad pred --head f3.npy",
                "head: shape [3] does not fit: [2] is needed",
            ),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --grad pred --head f3.npy --imperative",
                "head: shape [3] does not fit: [2] is needed",
            ),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --grad pred --head labels.npy",
                "head: dtype i32, but f32 is needed",
            ),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --input head=f23.npy --grad pred --head f3.npy",
                "head: unknown; l2 takes pred, label, sample_weight",
            ),
        ],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let rows = [
        ("nowhere.npy", "nowhere.npy: No such file or directory (os error 2)"),
        ("dir.npy", "dir.npy: not a regular file"),
        ("empty.npy", "empty.npy: the file is empty"),
        ("truncated.npy", "truncated.npy: shape [2, 3] of f32 takes 24 bytes, but 21 bytes follow the header"),
        ("text.txt", "text.txt: unknown file extension; supported are .npy, .npz and .safetensors"),
        (
            "i16.npy",
            "i16.npy: dtype i16 (\"<i2\") is not supported; supported are f32, f64, i32, i64, u8, u32, bf16, f16",
        ),
        ("x.npz:y", "x.npz: no array named \"y\"; it holds: x"),
        ("f23.npy:x", "f23.npy: a .npy file holds one array without a name, so it cannot be asked for \"x\""),
    ];
    for (file, message) in rows {
        all_refused(
            1,
            &[
                (&format!("L2Loss --input pred={file} --input label=f23.npy --output kept.safetensors"), message),
                (&format!("L2Loss --input pred=f23.npy --input label=f23.npy --grad all --head {file}"), message),
            ],
        );
    }
    let outcome = files().run("eval L2Loss --input pred=noise.safetensors --input label=f23.npy");
    assert_eq!(outcome.status, Some(1));
    assert!(outcome.err.starts_with("error: noise.safetensors: not a sound .safetensors file: "), "{}", outcome.err);
    assert_eq!(outcome.err.lines().count(), 1);
}

#[test]
fn outputs_that_cannot_be_written() {
    all_refused(
        1,
        &[
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --output nowhere/out.safetensors",
                "nowhere/out.safetensors: no file can be created in directory nowhere: entity not found",
            ),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --json --output nowhere/out.safetensors",
                "nowhere/out.safetensors: no file can be created in directory nowhere: entity not found",
            ),
        ],
    );
}

/// A disk that fills up, as a limit of four blocks on the size of a file: the header fits, the gradient does not.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk() {
    let dir = files();
    dir.npy("large.npy", &ArrayD::<f32>::ones(vec![300, 1000]));
    let before = dir.files();
    for output in ["kept.safetensors", "new.safetensors"] {
        let eval = "L2Loss --input pred=large.npy --input label=large.npy --grad pred";
        let outcome = dir.run_with_small_files(&format!("eval {eval} --output {output}"));
        assert_eq!((outcome.status, outcome.out.as_str()), (Some(1), ""), "{}", outcome.err);
        assert_eq!(outcome.err, format!("error: {output}: File too large (os error 27)\n"));
    }
    assert_eq!(dir.files(), before);
    assert_eq!(dir.bytes("kept.safetensors"), b"what was here before");
}

/// What is printed fails like what is written: `/dev/full` is a disk without room.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output() {
    let dir = files();
    for arguments in ["list", "eval L2Loss --input pred=f23.npy --input label=f23.npy --json", "--help", "--version"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = dir.command(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, "error: standard output: No space left on device (os error 28)\n", "{arguments}");
        assert_eq!(output.status.code(), Some(1), "{arguments}");
    }
}

#[test]
fn command_lines_that_are_wrong() {
    all_refused(
        2,
        &[
            ("L2Loss --set rho=1", "L2Loss: rho = 1: unknown; there are weight, batch_axis, reduction"),
            ("HuberLoss --set rho=wide", "HuberLoss: rho = wide: expected a finite number"),
            ("HuberLoss --set batch_axis=0.5", "HuberLoss: batch_axis = 0.5: expected a whole number"),
            ("SoftmaxCELoss --set sparse_label=1", "SoftmaxCrossEntropyLoss: sparse_label = 1: expected true or false"),
            ("HuberLoss --set rho", "invalid value 'rho' for '--set <KEY=VALUE>': there is no `=`"),
            ("L2Loss --input f23.npy", "invalid value 'f23.npy' for '--input <NAME=FILE[:KEY]>': there is no `=`"),
            (
                "L2Loss --input =f23.npy",
                "invalid value '=f23.npy' for '--input <NAME=FILE[:KEY]>': there is nothing before the `=`",
            ),
            (
                "L2Loss --input pred=",
                "invalid value 'pred=' for '--input <NAME=FILE[:KEY]>': there is nothing behind the `=`",
            ),
            ("L2Loss --threads 0", "invalid value '0' for '--threads <N>': expected a whole number, 1 or more"),
            (
                "L2Loss --output out.npy",
                "invalid value 'out.npy' for '--output <FILE.safetensors>': results are written as .safetensors",
            ),
            (
                "L2Loss --input pred=f23.npy --input label=f23.npy --head f3.npy",
                "the following required arguments were not provided:",
            ),
            ("L2Loss --quick", "unexpected argument '--quick' found"),
        ],
    );
    let outcome = files().run("eval L3Loss");
    assert_eq!(outcome.status, Some(2));
    assert!(outcome.err.starts_with("error: invalid value 'L3Loss' for '<LOSS>': unknown; there are L2Loss, L1Loss, "));
    let outcome = files().run("evaluate L2Loss");
    assert_eq!(
        (outcome.status, outcome.err.lines().next()),
        (Some(2), Some("error: unrecognized subcommand 'evaluate'"))
    );
    assert_eq!(files().run("").status, Some(2));
}

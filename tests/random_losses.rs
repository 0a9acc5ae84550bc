//! Random losses, parameters, shapes, dtypes and strides: the compiled loss, on memory between forbidden pages and with
//! inputs that cannot be written, beside the interpreter on the formula as it was declared.
//!
//! The reference has not been simplified: it is the trace and its plain derivative, in f64.

mod support;

use lossjit::losses::LOSSES;
use lossjit::{Dtype, HybridBlock, Wanted};
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::guard::Guarded;
use support::losses::loss_case;
use support::reference::{judge, place, run, views};

#[test]
fn random_losses() {
    // The last one is a sum of logarithms that ends in front of a forbidden page.
    judge_seeds((0..1500).chain([2567]), 1200);
}

/// Several dimensions that blocks of rows have room in.
#[test]
fn larger_random_losses() {
    judge_seeds(0..2000, 20_000);
}

/// A longer run: `cargo test --release --test random_losses -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn many_random_losses() {
    judge_seeds(1500..60_000, 1200);
}

fn judge_seeds(seeds: impl Iterator<Item = u64>, elements: usize) {
    let mut seen = std::collections::BTreeMap::new();
    let mut failures = vec![];
    for seed in seeds {
        let case = loss_case(seed, elements);
        *seen.entry((case.entry.name, case.real)).or_insert(0) += 1;
        let verdict = catch_unwind(AssertUnwindSafe(|| judge(&case)));
        let panicked = |cause: Box<dyn std::any::Any + Send>| {
            let text = cause.downcast_ref::<String>().cloned();
            Err(text.or_else(|| cause.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default())
        };
        if let Err(problem) = verdict.unwrap_or_else(panicked) {
            failures.push(format!("{case}\n    {problem}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
    assert_eq!(seen.len(), 2 * LOSSES.len(), "every loss in both widths: {seen:?}");
    assert!(seen.values().all(|&n| n >= 20), "{seen:?}");
}

/// Every loss with rows of 1 to 33 elements, and of many more, so that buffers that end at a forbidden page begin at every
/// alignment that an element can have, and every remainder of lanes occurs.
#[test]
fn every_alignment() {
    let mut cases = 0;
    for entry in LOSSES {
        for length in (1..=33).chain(LONGER) {
            for real in [Dtype::F32, Dtype::F64] {
                let case = support::losses::with_length(entry, real, length);
                judge(&case).unwrap_or_else(|problem| panic!("{case}\n    {problem}"));
                cases += 1;
            }
        }
    }
    assert_eq!(cases, LOSSES.len() * 132);
}

/// Rows that are taken by blocks: whole blocks and a part of one, rows that end with a register and others.
#[test]
fn blocks_of_rows() {
    let settings: [(&str, &[(&str, &str)]); 4] = [
        ("TripletLoss", &[("margin", "0")]),
        ("KLDivLoss", &[("from_logits", "false")]),
        ("SoftmaxCrossEntropyLoss", &[("label_smoothing", "0.1")]),
        ("", &[]),
    ];
    for entry in LOSSES.iter().filter(|entry| entry.name != "CTCLoss") {
        for (_, set) in settings.iter().filter(|(name, _)| [entry.name, ""].contains(name)) {
            let shapes = [
                (300, 3),
                (45, 5),
                (16, 16),
                (131, 17),
                (70, 33),
                (37, 50),
                (100, 64),
                (67, 100),
                (35, 191),
                (20, 1000),
            ];
            // The distances of long rows have no exponential in f64, which the reference takes.
            for (rows, length) in shapes.into_iter().filter(|&(_, length)| entry.name != "SDMLLoss" || length < 1000) {
                for real in [Dtype::F32, Dtype::F64] {
                    let mut case = support::losses::with_rows(entry, real, rows, length);
                    case.settings.extend(set.iter().map(|(key, value)| (key.to_string(), value.to_string())));
                    judge(&case).unwrap_or_else(|problem| panic!("{case}\n    {problem}"));
                }
            }
        }
    }
}

/// Few rows with a result for each of many columns, which are taken by blocks: whole ones and a part of one.
#[test]
fn blocks_of_columns() {
    for name in ["L1Loss", "L2Loss", "SigmoidBinaryCrossEntropyLoss", "KLDivLoss", "HuberLoss", "LogisticLoss"] {
        let entry = LOSSES.iter().find(|entry| entry.name == name).unwrap();
        for real in [Dtype::F32, Dtype::F64] {
            let mut case = support::losses::with_rows(entry, real, 3, 9001);
            case.settings.push(("batch_axis".to_string(), "1".to_string()));
            judge(&case).unwrap_or_else(|problem| panic!("{case}\n    {problem}"));
        }
    }
}

/// One element for a whole row, one row for all, and one element for all, where memory has no more.
#[test]
fn broadcast_inputs() {
    for entry in LOSSES.iter().filter(|entry| !["CTCLoss", "SDMLLoss"].contains(&entry.name)) {
        for ((rows, length), real) in
            [(37, 50), (70, 16), (45, 5)].into_iter().flat_map(|s| [(s, Dtype::F32), (s, Dtype::F64)])
        {
            for (place, steps) in (0..3).flat_map(|place| [(place, [1, 0]), (place, [0, 1]), (place, [0, 0])]) {
                let mut case = support::losses::with_rows(entry, real, rows, length);
                let Some(given) = case.inputs.get_mut(place).filter(|g| g.shape == [rows, length]) else { continue };
                let kept = |at: usize| at / length * steps[0] * length + (at % length) * steps[1];
                given.values = (0..rows * length).map(|at| given.values[kept(at)]).collect();
                given.strides = steps.map(|step| step as isize).to_vec();
                judge(&case).unwrap_or_else(|problem| panic!("{case}\n    {problem}"));
            }
        }
    }
}

/// These tests again with the machine code of each level, each in a process of its own, as a level is chosen once.
#[test]
fn at_every_level() {
    for level in lossjit::vmath::Level::available() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["blocks_of_rows", "blocks_of_columns", "broadcast_inputs", "every_alignment", "--exact"]);
        let output = command.env("LOSSJIT_LEVEL", level.word()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("4 passed"), "{level:?}: {text}");
    }
}

/// The sum of a row has the same bits wherever the row stands: among four, or one of those that are left.
#[test]
fn rows_alike_have_losses_alike() {
    for name in ["L2Loss", "CosineEmbeddingLoss", "SigmoidBinaryCrossEntropyLoss", "KLDivLoss"] {
        let entry = LOSSES.iter().find(|entry| entry.name == name).unwrap();
        for (length, real) in
            [3, 15, 16, 17, 50, 255, 511, 512, 513].into_iter().flat_map(|n| [(n, Dtype::F32), (n, Dtype::F64)])
        {
            let rows = 16 * 4 + 3;
            let mut case = support::losses::with_rows(entry, real, rows, length);
            for given in &mut case.inputs {
                let row = given.values.len() / rows;
                given.values = (0..given.values.len()).map(|at| given.values[at % row]).collect();
            }
            let bits = support::losses::compiled_bits(&case).unwrap();
            assert!(bits[..rows].iter().all(|&loss| loss == bits[0]), "{case}: {:x?}", &bits[..rows]);
        }
    }
}

/// Rows of these make a problem that is not small, whose arithmetic is that of its dtype.
const LONGER: std::ops::RangeInclusive<usize> = 171..=203;

/// Class numbers and lengths that are out of range are told, and nothing outside the buffers is touched on the way.
#[test]
fn wrong_class_numbers() {
    let mut told = 0;
    for seed in 0..4000 {
        let mut case = loss_case(seed, 600);
        let mut rng = fastrand::Rng::with_seed(seed);
        let wrong = [-7.0, -1.0, 5000.0, 2e9, -2e9, 9e18, -9e18, 0.5, f64::NAN, f64::INFINITY];
        let mut spoilt = false;
        for given in case.inputs.iter_mut().filter(|g| ["label", "pred_lengths", "label_lengths"].contains(&g.name)) {
            let class = given.dtype != case.real && !given.values.is_empty();
            if class {
                let at = rng.usize(..given.values.len());
                given.values[at] = wrong[rng.usize(..wrong.len())];
                spoilt = true;
            }
        }
        if !spoilt || !["SoftmaxCrossEntropyLoss", "CTCLoss"].contains(&case.entry.name) {
            continue;
        }
        let memory: Vec<Guarded> = case.inputs.iter().map(|given| place(&case, given, false)).collect();
        let block = HybridBlock::new((case.entry.build)(&case.settings).unwrap()).hybridize();
        let inputs = views(&case.inputs, &memory);
        let compiled = block.compile(&inputs, &Wanted::value_and_grad(&["pred"])).unwrap();
        // Otherwise the number was ignored, clipped by the width of the dtype, or behind a length.
        if let Err(problem) = run(&case, &compiled, &inputs) {
            assert!(problem.contains("label") || problem.contains("length"), "{case}: {problem}");
            told += 1;
        }
    }
    assert!(told > 150, "{told}");
}

//! The same bits for any number of threads, from run to run, and at every vector level of the machine.

mod support;

use lossjit::grad::differentiable;
use lossjit::losses::{LOSSES, find};
use lossjit::runtime::pipeline;
use lossjit::vmath::Level;
use lossjit::{Dtype, HybridBlock, Spec, View};
use ndarray::{ArrayD, IxDyn};
use std::process::Command;
use support::losses::{loss_case, with_rows};
use support::{Machine, case};

/// A loss, the shapes of its inputs, and its parameters.
type Use = (&'static str, &'static [(&'static str, &'static [usize])], &'static [(&'static str, &'static str)]);

/// Shapes with work for eight threads.
const LARGE: &[Use] = &[
    ("L2Loss", &[("pred", &[700, 2049]), ("label", &[700, 2049])], &[]),
    ("L1Loss", &[("pred", &[3, 500, 1031]), ("label", &[3, 500, 1031])], &[("batch_axis", "1")]),
    ("SigmoidBCELoss", &[("pred", &[301, 1500]), ("label", &[301, 1500]), ("pos_weight", &[1500])], &[]),
    ("SoftmaxCELoss", &[("pred", &[301, 1501]), ("label", &[301])], &[]),
    ("SoftmaxCELoss", &[("pred", &[64, 21, 301]), ("label", &[64, 301])], &[("axis", "1")]),
    ("SoftmaxCELoss", &[("pred", &[301, 1501]), ("label", &[301])], &[("reduction", "mean")]),
    // Images, and one sum over all elements: several axes are one.
    ("L2Loss", &[("pred", &[31, 3, 70, 71]), ("label", &[31, 3, 70, 71])], &[]),
    ("SoftmaxCELoss", &[("pred", &[5, 7, 90, 91]), ("label", &[5, 90, 91])], &[("axis", "1")]),
    ("PoissonNLLLoss", &[("pred", &[30_011, 7]), ("target", &[30_011, 7])], &[]),
    ("SoftmaxCELoss", &[("pred", &[40_001, 7]), ("label", &[40_001])], &[]),
    // Rows so short that lanes run from row to row, and elements change places among them.
    ("HuberLoss", &[("pred", &[90_001, 2]), ("label", &[90_001, 2])], &[]),
    ("L1Loss", &[("pred", &[90_003, 3]), ("label", &[90_003, 3])], &[]),
    ("TripletLoss", &[("pred", &[50_007, 3]), ("positive", &[50_007, 3]), ("negative", &[50_007, 3])], &[]),
    ("LogisticLoss", &[("pred", &[50_009, 4]), ("label", &[50_009, 4])], &[]),
    (
        "SoftmaxCELoss",
        &[("pred", &[301, 1501]), ("label", &[301]), ("class_weight", &[1501])],
        &[("label_smoothing", "0.1")],
    ),
    ("KLDivLoss", &[("pred", &[301, 1501]), ("label", &[301, 1501])], &[("from_logits", "false")]),
    ("CTCLoss", &[("pred", &[23, 60, 200]), ("label", &[23, 9])], &[]),
    // Rows that fit into registers, in one case not into the last of them.
    ("CTCLoss", &[("pred", &[23, 60, 80]), ("label", &[23, 24])], &[]),
    ("CTCLoss", &[("pred", &[23, 90, 28]), ("label", &[23, 41])], &[]),
    ("HuberLoss", &[("pred", &[700, 1031]), ("label", &[700, 1031])], &[("reduction", "sum")]),
    ("HingeLoss", &[("pred", &[700, 1031]), ("label", &[700, 1031])], &[]),
    ("SquaredHingeLoss", &[("pred", &[1_400_000]), ("label", &[1_400_000])], &[]),
    ("LogisticLoss", &[("pred", &[301, 1501]), ("label", &[301, 1501])], &[]),
    ("TripletLoss", &[("pred", &[700, 1031]), ("positive", &[700, 1031]), ("negative", &[700, 1031])], &[]),
    ("PoissonNLLLoss", &[("pred", &[301, 1501]), ("target", &[301, 1501])], &[]),
    ("CosineEmbeddingLoss", &[("input1", &[1000, 601]), ("input2", &[1000, 601]), ("label", &[1000])], &[]),
    ("SDMLLoss", &[("x1", &[260, 33]), ("x2", &[260, 33])], &[]),
    // The loops are not cut, as a gradient is summed over the rows; the native kernel shares its own.
    ("SDMLLoss", &[("x1", &[1333, 150]), ("x2", &[1333, 150])], &[]),
];

fn inputs(given: &[(&'static str, &[usize])]) -> Vec<(&'static str, ArrayD<f32>)> {
    let one = |&(name, shape): &(&'static str, &[usize])| {
        let mut rng = fastrand::Rng::with_seed(shape.iter().sum::<usize>() as u64 + name.len() as u64);
        // Whole numbers serve as classes, as signs and as counts.
        let whole = ["label", "target"].contains(&name);
        let number = |_| if whole { rng.i32(0..2) as f32 } else { rng.f32() * 4.0 - 2.0 };
        (name, ArrayD::from_shape_fn(IxDyn(shape), number))
    };
    given.iter().map(one).collect()
}

#[test]
fn any_number_of_threads() {
    for &(name, shapes, settings) in LARGE {
        let entry = find(name).unwrap();
        let settings: Vec<_> = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let arrays = inputs(shapes);
        let views: Vec<(&str, View)> = arrays.iter().map(|(name, a)| (*name, View::from(a))).collect();
        let specs: Vec<Spec> = shapes.iter().map(|(n, s)| Spec::new(n, Dtype::F32, s)).collect();
        let trace = pipeline::trace(&*(entry.build)(&settings).unwrap(), &specs).unwrap();
        let wrt = differentiable(&trace.graph).unwrap();
        let wrt: Vec<&str> = wrt.iter().map(String::as_str).collect();
        let run = |threads: usize| {
            let block = HybridBlock::new((entry.build)(&settings).unwrap()).hybridize().threads(threads);
            let found = block.value_and_grad::<f32>(&views, &wrt).unwrap();
            let bits = |a: &ArrayD<f32>| a.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let grads: Vec<_> = found.grads.iter().map(|(_, g)| bits(g)).collect();
            (bits(&found.value), grads)
        };
        let alone = run(1);
        assert!(run(1) == alone, "{name}: a second run differs");
        for threads in [2, 3, 8] {
            assert!(run(threads) == alone, "{name} {settings:?}: {threads} threads differ from one");
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
        assert!(pool.install(|| run(8)) == alone, "{name} {settings:?}: differs in a pool of five");
    }
    let named = |entry: &lossjit::losses::Entry| LARGE.iter().any(|(name, ..)| find(name).unwrap().name == entry.name);
    assert!(LOSSES.iter().all(named), "a loss is missing here");
}

/// Prints what the results of many cases are, one line each; the parent compares the lines.
#[test]
#[ignore = "run by every_vector_level"]
fn fingerprints() {
    for seed in 0..250 {
        let case = loss_case(seed, 1500);
        let line = match support::losses::compiled_bits(&case) {
            Ok(bits) => format!("{:016x}", hash(&bits)),
            Err(error) => error,
        };
        println!("loss {seed} {} {line}", case.entry.name);
    }
    for entry in LOSSES.iter().filter(|entry| !["CTCLoss", "SDMLLoss"].contains(&entry.name)) {
        for (rows, length) in [(300, 3), (131, 5), (67, 17), (70, 50), (35, 191)] {
            for real in [Dtype::F32, Dtype::F64] {
                let case = with_rows(entry, real, rows, length);
                let bits = support::losses::compiled_bits(&case).unwrap();
                println!("loss {rows} x {length} {} {real} {:016x}", entry.name, hash(&bits));
            }
        }
    }
    // Of many elements: the loops over pairs of rows.
    for (rows, length) in [(67, 17), (131, 33), (300, 300)] {
        for real in [Dtype::F32, Dtype::F64] {
            let case = with_rows(find("SDMLLoss").unwrap(), real, rows, length);
            let bits = support::losses::compiled_bits(&case).unwrap();
            println!("loss {rows} x {length} SDMLLoss {real} {:016x}", hash(&bits));
        }
    }
    for seed in 0..150 {
        let case = case(seed);
        for real in [Dtype::F32, Dtype::F64] {
            let found = Machine::new(&case, real, seed).map_err(|e| e.to_string()).and_then(|m| m.run(&case)).unwrap();
            let bits: Vec<u64> = found.iter().flatten().map(|x| if x.is_nan() { 1 } else { x.to_bits() }).collect();
            println!("graph {seed} {real} {:016x}", hash(&bits));
        }
    }
}

/// FNV-1a.
fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(5))
}

/// The machine code and the elementary functions are held to a level by `LOSSJIT_LEVEL`; each level in a process of its
/// own, as it is chosen once.
#[test]
fn every_vector_level() {
    let lines = |level: Option<Level>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["fingerprints", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env_remove("LOSSJIT_LEVEL");
        if let Some(level) = level {
            command.env("LOSSJIT_LEVEL", level.word());
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{level:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<String> =
            text.lines().filter_map(|l| l.find("loss ").or(l.find("graph ")).map(|at| l[at..].to_string())).collect();
        assert_eq!(lines.len(), 250 + 12 * 5 * 2 + 3 * 2 + 300, "{text}");
        lines
    };
    let wanted = lines(None);
    let refused = wanted.iter().filter(|l| l.contains(": ")).count();
    assert!(refused < 10, "{wanted:#?}");
    for level in Level::available() {
        for (found, wanted) in lines(Some(level)).iter().zip(&wanted) {
            assert_eq!(found, wanted, "{level:?} differs");
        }
    }
}

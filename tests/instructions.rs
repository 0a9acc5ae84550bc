//! Counts the instructions of one call of some kernels, under valgrind, and holds them against the numbers in
//! `tests/instructions.txt`: counts do not depend on what else the machine does, as times do.
//!
//! `cargo test --release --test instructions` compares; with `-- --record` it writes the numbers. Valgrind knows no
//! AVX-512, so the vector level is AVX2.
#![cfg(target_arch = "x86_64")]

#[path = "../benches/cases/mod.rs"]
mod cases;

use cases::{Case, Outputs};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A case by its name, which call of it, and how many calls are counted: enough that they outweigh the difference between
/// two compilations, a few thousand instructions, as hash tables are seeded anew in every process. An elementary function on every element, a row kept in a gradient, pure
/// arithmetic, the native kernel, two batch axes, and the overhead of a call.
const KERNELS: [(&str, &str, u64); 6] = [
    ("SigmoidBinaryCrossEntropyLoss/128x1000", "forward", 2),
    ("SoftmaxCrossEntropyLoss/128x1000", "value_and_grad", 2),
    ("L2Loss/128x1000", "value_and_grad", 10),
    ("CTCLoss/32x200x80x40", "value_and_grad", 2),
    ("SDMLLoss/256x128", "value_and_grad", 2),
    ("SoftmaxCrossEntropyLoss/1x10", "value_and_grad", 1000),
];
/// More instructions than recorded, in per cent, fail.
const TOLERANCE: u64 = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--calls", number, case, call] => call_often(case, call, number.parse().expect("a number of calls")),
        ["--record"] => record(),
        _ => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What valgrind watches: one kernel, called so many times.
fn call_often(name: &str, call: &str, number: usize) -> Result<(), String> {
    let case = find(name).ok_or_else(|| format!("there is no case {name}"))?;
    let wanted = case.wanted().into_iter().find(|(known, _)| *known == call);
    let (_, wanted) = wanted.ok_or_else(|| format!("there is no call {call}"))?;
    let inputs = case.inputs();
    let views = inputs.views();
    let compiled = case.block().compile(&views, &wanted).map_err(|e| e.to_string())?;
    let mut outputs = Outputs::of(&compiled);
    let mut results = outputs.views();
    (0..number).try_for_each(|_| compiled.run_on(1, &views, &mut results)).map_err(|e| e.to_string())
}

fn find(name: &str) -> Option<Case> {
    cases::cases().find(|case| case.name() == name)
}

/// Instructions of one steady call: what `calls` further calls take, divided by their number.
fn count(name: &str, call: &str, calls: u64) -> Result<u64, String> {
    let total = |calls: u64| -> Result<u64, String> {
        let program = env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
        command.args(["--calls", &calls.to_string(), name, call]).env("LOSSJIT_LEVEL", "avx2");
        let output = command.output().map_err(|e| format!("valgrind: {e}"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let collected = text.lines().find_map(|line| line.split_once("Collected :"));
        let number = collected.and_then(|(_, number)| number.trim().parse().ok());
        number.filter(|_| output.status.success()).ok_or_else(|| format!("{name} under valgrind: {text}"))
    };
    let further = total(1 + calls)?.checked_sub(total(1)?);
    Ok(further.ok_or_else(|| format!("{name}: compiling takes other numbers of instructions each time"))? / calls)
}

fn counts() -> impl Iterator<Item = Result<(String, u64), String>> {
    KERNELS.iter().map(|&(name, call, calls)| Ok((format!("{name}/{call}"), count(name, call, calls)?)))
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.txt")
}

fn record() -> Result<(), String> {
    let lines: Result<Vec<String>, String> = counts().map(|c| c.map(|(name, n)| format!("{name} {n}\n"))).collect();
    let text = lines?.concat();
    print!("{text}");
    std::fs::write(file(), text).map_err(|e| format!("{}: {e}", file().display()))
}

fn compare() -> Result<(), String> {
    let text = std::fs::read_to_string(file()).map_err(|e| format!("{}: {e}", file().display()))?;
    let recorded = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    let mut slower = vec![];
    for counted in counts() {
        let (name, now) = counted?;
        let before = recorded(&name).ok_or_else(|| format!("no number is recorded for {name}"))?;
        let change = 100.0 * (now as f64 / before as f64 - 1.0);
        println!("{name}: {now} instructions, {change:+.1} % against {before}");
        if now * 100 > before * (100 + TOLERANCE) {
            slower.push(name);
        }
    }
    if slower.is_empty() {
        return Ok(());
    }
    Err(format!("more than {TOLERANCE} % more instructions: {}", slower.join(", ")))
}

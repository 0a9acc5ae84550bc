//! Time and peak memory of two ways to the same gradient, side by side, as the rows of a table.

use peak_alloc::PeakAlloc;
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Rows and columns: a small model's output, an image classifier's, a language model's.
pub const SHAPES: [(usize, usize); 3] = [(64, 10), (128, 1000), (512, 32000)];

/// How long the two are repeated, in turns, after a first call each that does not count: it compiles.
const BUDGET: Duration = Duration::from_secs(2);

/// The head of the table.
pub fn table(framework: &str) {
    println!("| loss | shape | {framework} | lossjit | times faster | {framework}'s memory | lossjit's memory |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
}

/// Prints a row: the median time of each, and what it has allocated at once beside its inputs.
pub fn measure(name: &str, rows: usize, columns: usize, theirs: impl Fn(), ours: impl Fn()) {
    theirs();
    ours();
    let memory = [peak(&theirs), peak(&ours)];
    let mut times = [vec![], vec![]];
    let start = Instant::now();
    while start.elapsed() < BUDGET || times[0].len() < 7 {
        times[0].push(time(&theirs));
        times[1].push(time(&ours));
    }
    let [theirs, ours] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let [their_memory, our_memory] = memory.map(megabytes);
    let factor = theirs.as_secs_f64() / ours.as_secs_f64();
    println!(
        "| {name} | {rows} × {columns} | {theirs:.3?} | {ours:.3?} | {factor:.1} | {their_memory} | {our_memory} |"
    );
}

fn time(run: impl Fn()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn peak(run: impl Fn()) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    run();
    MEMORY.peak_usage() - before
}

fn megabytes(bytes: usize) -> String {
    format!("{:.3} MB", bytes as f64 / 1e6)
}

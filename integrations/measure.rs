//! Time and peak memory of two ways to the same gradient, side by side, as the rows of a table.

use peak_alloc::PeakAlloc;
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Rows and columns: a small model's output, an image classifier's, a language model's.
pub const SHAPES: [(usize, usize); 3] = [(64, 10), (128, 1000), (512, 32000)];

/// How long the two are repeated, in turns, after a first call each that does not count: it compiles.
const BUDGET: Duration = Duration::from_secs(2);

/// How many threads both sides have, as the variable `RAYON_NUM_THREADS` has it, and the head of the table.
pub fn table(framework: &str) {
    match rayon::current_num_threads() {
        1 => println!("On one thread:\n"),
        threads => println!("On {threads} threads:\n"),
    }
    println!("| loss | shape | {framework} | lossjit | times faster | {framework}'s memory | lossjit's memory |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
}

/// Prints a row: the median time of each, and what it has allocated at once beside its inputs.
pub fn measure(name: &str, shape: &str, theirs: impl Fn(), ours: impl Fn()) {
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
    let factor = theirs.as_secs_f64() / ours.as_secs_f64();
    let ([theirs, ours], [their_memory, our_memory]) = ([theirs, ours].map(readable), memory.map(megabytes));
    println!("| {name} | {shape} | {theirs} | {ours} | {factor:.1} | {their_memory} | {our_memory} |");
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
    format!("{} MB", three_digits(bytes as f64 / 1e6))
}

fn readable(time: Duration) -> String {
    let (value, unit) = match time.as_secs_f64() {
        seconds if seconds < 1e-3 => (1e6 * seconds, "µs"),
        seconds if seconds < 1.0 => (1e3 * seconds, "ms"),
        seconds => (seconds, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// Three digits in all, or three places behind the point.
fn three_digits(value: f64) -> String {
    let before = if value < 1.0 { 0 } else { value.log10() as usize + 1 };
    format!("{value:.*}", 3usize.saturating_sub(before))
}

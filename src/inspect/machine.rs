//! The machine: how fast it reads memory, does arithmetic and computes elementary functions, in code that lossjit makes
//! itself; and the least time that a loss's cost takes at these speeds.

use super::report::{Cost, Machine};
use crate::error::Result;
use crate::grad::Wanted;
use crate::ir::Dtype;
use crate::losses::Loss;
use crate::runtime::{Compiled, Real, View, ViewMut};
use crate::trace::{Axis, Expr, Spec, Tracer};
use ndarray::Array2;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is measured.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Speed {
    /// Bytes read, of so many that lie where so many lie: in a cache or in memory.
    Bytes(usize),
    Flops,
    /// Evaluations of a function.
    Math(String),
}

/// Elements of a row of the probes; two rows or more, so that threads have something to share.
const ROW: usize = 4096;
/// Fewer and more bytes than these are not told apart.
const LEAST_BYTES: usize = 1 << 16;
const MOST_BYTES: usize = 1 << 27;
/// Each speed is the best of the runs in this time.
const PATIENCE: Duration = Duration::from_millis(20);

impl Machine {
    /// What this machine can do on so many threads, and the least time for this cost. Each speed is measured once for the
    /// process.
    ///
    /// # Errors
    /// The probes do not compile: the machine is not supported.
    pub fn measure(cost: &Cost, real: Dtype, threads: usize) -> Result<Self> {
        match real {
            Dtype::F64 => Self::of::<f64>(cost, threads),
            _ => Self::of::<f32>(cost, threads),
        }
    }

    fn of<T: Real>(cost: &Cost, threads: usize) -> Result<Self> {
        let bytes = cost.bytes_read.saturating_add(cost.bytes_written) as usize;
        let size = bytes.clamp(LEAST_BYTES, MOST_BYTES).next_power_of_two();
        let bytes_per_second = speed::<T>(Speed::Bytes(size), threads)?;
        let flops_per_second = speed::<T>(Speed::Flops, threads)?;
        let mut math_per_second = vec![];
        let mut math_s = 0.0;
        for (function, calls) in &cost.math {
            let each = speed::<T>(Speed::Math(function.clone()), threads)?;
            math_per_second.push((function.clone(), each));
            math_s += *calls as f64 / each;
        }
        let (memory_s, flops_s) = (bytes as f64 / bytes_per_second, cost.flops as f64 / flops_per_second);
        let least_s = memory_s.max(flops_s).max(math_s);
        Ok(Self { threads, bytes_per_second, flops_per_second, math_per_second, memory_s, flops_s, math_s, least_s })
    }
}

/// What was measured, by dtype and threads too.
type Known = HashMap<(Speed, Dtype, usize), f64>;

/// A speed, measured now or before.
fn speed<T: Real>(what: Speed, threads: usize) -> Result<f64> {
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let key = (what.clone(), T::DTYPE, threads);
    // Held while measuring: two measurements at once would disturb each other.
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let known = known.get_or_insert_default();
    if let Some(&speed) = known.get(&key) {
        return Ok(speed);
    }
    let speed = probe::<T>(&what, threads)?;
    known.insert(key, speed);
    Ok(speed)
}

/// Products of an element, summed as a tree: no addition waits long for another.
const PRODUCTS: usize = 16;

/// A loss that does little but one thing.
struct Probe(Speed);

impl Loss for Probe {
    fn name(&self) -> &str {
        "probe"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let x = t.float("x", &[n, c])?;
        Ok(match &self.0 {
            Speed::Bytes(_) => x.sum(c),
            Speed::Flops => flops(x, c),
            Speed::Math(name) => math(name, x).sum(c),
        })
    }
}

fn flops<'t>(x: Expr<'t>, c: Axis) -> Expr<'t> {
    let mut terms: Vec<Expr> = (0..PRODUCTS).map(|i| x * (1.0 + i as f64 / 64.0)).collect();
    while terms.len() > 1 {
        terms = terms.chunks(2).map(|pair| pair[0] + pair[1]).collect();
    }
    terms[0].sum(c)
}

fn math<'t>(name: &str, x: Expr<'t>) -> Expr<'t> {
    match name {
        "log" => x.ln(),
        "log1p" => x.ln_1p(),
        "expm1" => x.exp_m1(),
        "tanh" => x.tanh(),
        _ => x.exp(),
    }
}

/// How much of what is measured this machine does in a second.
fn probe<T: Real>(what: &Speed, threads: usize) -> Result<f64> {
    let rows = match what {
        Speed::Bytes(size) => (size / size_of::<T>() / ROW).max(2),
        _ => 8 * threads,
    };
    let each = match what {
        Speed::Bytes(_) => size_of::<T>(),
        Speed::Flops => 2 * PRODUCTS,
        Speed::Math(_) => 1,
    };
    let given = [Spec::new("x", T::DTYPE, &[rows, ROW])];
    let compiled = Compiled::for_specs(&Probe(what.clone()), &given, &Wanted::value())?;
    let x = Array2::from_elem((rows, ROW), T::from_f64(0.5));
    let mut out = ndarray::Array1::from_elem(rows, T::from_f64(0.0));
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < PATIENCE {
        let before = Instant::now();
        compiled.run_on(threads, &[("x", View::from(&x))], &mut [ViewMut::from(&mut out)])?;
        best = best.min(before.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok((rows * ROW * each) as f64 / best.max(1e-9))
}

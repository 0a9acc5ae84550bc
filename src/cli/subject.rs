//! What is timed: a compiled loss with arrays to read and arrays to write.

use super::array::Array;
use super::pages::filled;
use crate::error::Result;
use crate::grad::Wanted;
use crate::ir::Dtype;
use crate::losses::Loss;
use crate::runtime::{Buffer, Compiled, HybridBlock, View, ViewMut};
use half::{bf16, f16};
use std::iter::repeat;
use std::time::{Duration, Instant};

pub(super) struct Subject {
    compiled: Compiled,
    threads: usize,
    inputs: Vec<(String, Array)>,
    pub(super) outputs: Vec<(String, Array)>,
}

/// Times of one way to call a loss.
pub(super) struct Times {
    /// From the declaration to machine code.
    pub(super) compile: Duration,
    pub(super) first_call: Duration,
}

/// A sample takes at least so long: shorter calls are timed several at once.
const SAMPLE: Duration = Duration::from_micros(5);
const MOST_SAMPLES: usize = 100_000;

impl Subject {
    /// Compiles, and calls once.
    ///
    /// # Errors
    /// The inputs do not suit the loss, or a class number is out of range.
    pub(super) fn new(
        loss: Box<dyn Loss>,
        inputs: Vec<(String, Array)>,
        wanted: &Wanted,
        threads: usize,
    ) -> Result<(Self, Times)> {
        let block = HybridBlock::new(loss).hybridize();
        let start = Instant::now();
        let compiled = block.compile(&views(&inputs), wanted)?;
        let compile = start.elapsed();
        let outputs = compiled.signature().outputs.iter().map(|b| Ok((b.name.clone(), zeros(b)?)));
        let outputs = outputs.collect::<Result<_>>()?;
        let mut subject = Self { compiled, threads, inputs, outputs };
        let first_call = subject.time(1)?;
        Ok((subject, Times { compile, first_call }))
    }

    /// The mean time of so many calls into the same buffers.
    fn time(&mut self, calls: u32) -> Result<Duration> {
        let inputs = views(&self.inputs);
        let mut outputs: Vec<ViewMut> = self.outputs.iter_mut().map(|(_, array)| view_mut(array)).collect();
        let start = Instant::now();
        for _ in 0..calls {
            self.compiled.run_on(self.threads, &inputs, &mut outputs)?;
        }
        Ok(start.elapsed() / calls)
    }

    /// Times of calls, in seconds, for about so long; at least one.
    pub(super) fn samples(&mut self, duration: Duration) -> Result<Vec<f64>> {
        let once = self.time(1)?.max(Duration::from_nanos(1));
        let calls = (SAMPLE.as_nanos() / once.as_nanos()).clamp(1, 1000) as u32;
        let start = Instant::now();
        let mut samples = vec![];
        while samples.is_empty() || (start.elapsed() < duration && samples.len() < MOST_SAMPLES) {
            samples.push(self.time(calls)?.as_secs_f64());
        }
        Ok(samples)
    }
}

pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn views(inputs: &[(String, Array)]) -> Vec<(&str, View<'_>)> {
    inputs.iter().map(|(name, array)| (name.as_str(), array.view())).collect()
}

/// # Errors
/// There is no memory for it.
fn zeros(buffer: &Buffer) -> Result<Array> {
    let (name, shape) = (&buffer.name, &buffer.shape);
    Ok(match buffer.dtype {
        Dtype::F64 => filled(name, shape, repeat(0f64))?.into(),
        Dtype::Bf16 => filled(name, shape, repeat(bf16::ZERO))?.into(),
        Dtype::F16 => filled(name, shape, repeat(f16::ZERO))?.into(),
        _ => filled(name, shape, repeat(0f32))?.into(),
    })
}

/// # Panics
/// For arrays of integers: results are floats.
fn view_mut(array: &mut Array) -> ViewMut<'_> {
    match array {
        Array::F32(array) => array.into(),
        Array::F64(array) => array.into(),
        Array::Bf16(array) => array.into(),
        Array::F16(array) => array.into(),
        _ => unreachable!("made by `zeros`"),
    }
}

//! Nothing of the inputs' size is allocated but the gradient, whatever the strides.

use candle_core::{DType, Device, Result, Tensor, Var};
use lossjit_candle::losses::SoftmaxCrossEntropyLoss;
use lossjit_candle::{LossOp, inputs};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ROWS: usize = 512;
const CLASSES: usize = 4096;
/// Bytes of the logits.
const LOGITS: usize = ROWS * CLASSES * 4;

/// Bytes that are in use at once, beside those before.
fn extra(run: impl FnOnce() -> Result<()>) -> Result<usize> {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    run()?;
    Ok(MEMORY.peak_usage() - before)
}

#[test]
fn no_copies() -> Result<()> {
    let labels = Tensor::zeros(ROWS, DType::U32, &Device::Cpu)?;
    let contiguous = Tensor::randn(0f32, 1.0, (ROWS, CLASSES), &Device::Cpu)?;
    let strided = Tensor::randn(0f32, 1.0, (ROWS, CLASSES + 64), &Device::Cpu)?.narrow(1, 32, CLASSES)?;
    let op = LossOp::new(SoftmaxCrossEntropyLoss::new());
    let halves = [contiguous.to_dtype(DType::BF16)?, strided.to_dtype(DType::F16)?];
    for logits in halves.into_iter().chain([contiguous, strided]) {
        let forward = || op.forward(&inputs! { pred: &logits, label: &labels }).map(|_| ());
        forward()?; // compiles
        let used = extra(forward)?;
        assert!(used < LOGITS / 50, "{used} bytes");
    }
    let logits = Var::randn(0f32, 1.0, (ROWS, CLASSES), &Device::Cpu)?;
    let forward = || op.forward(&inputs! { pred: &logits, label: &labels });
    forward()?.backward()?; // compiles
    let loss = forward()?;
    // Ours, and the two that candle makes when it adds it to a gradient of zeros.
    let used = extra(|| loss.backward().map(|_| ()))?;
    assert!(used < 3 * LOGITS + LOGITS / 50, "{used} bytes");
    Ok(())
}

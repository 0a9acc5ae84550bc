//! Nothing of the inputs' size is allocated but the gradient, whatever the strides.

use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor, s};
use lossjit_burn::losses::SoftmaxCrossEntropyLoss;
use lossjit_burn::{LossOp, inputs};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ROWS: usize = 512;
const CLASSES: usize = 4096;
const ELEMENTS: usize = ROWS * CLASSES;

/// Bytes that are in use at once, beside those before.
fn extra(run: impl FnOnce()) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    run();
    MEMORY.peak_usage() - before
}

#[test]
fn no_copies() {
    let device = Device::flex();
    let labels = Tensor::<1, Int>::zeros([ROWS], &device);
    let op = LossOp::new(SoftmaxCrossEntropyLoss::new());
    let forward = |logits: &Tensor<2>| op.forward(&inputs! { pred: logits, label: &labels }).unwrap();
    for (dtype, bytes) in [(FloatDType::F32, 4), (FloatDType::BF16, 2), (FloatDType::F16, 2)] {
        let random =
            |classes| Tensor::<2>::random([ROWS, classes], Distribution::Normal(0.0, 1.0), &device).cast(dtype);
        let strided = random(CLASSES + 64).slice(s![.., 32..32 + CLASSES]);
        for logits in [random(CLASSES), strided, random(CLASSES).flip([0])] {
            forward(&logits); // compiles
            let used = extra(|| drop(forward(&logits)));
            assert!(used < ELEMENTS / 10, "{used} bytes for logits in {dtype:?}");
        }
        let logits = random(CLASSES).autodiff().require_grad();
        forward(&logits).backward(); // compiles
        let loss = forward(&logits);
        let used = extra(|| drop(loss.backward()));
        assert!(used < ELEMENTS * bytes + ELEMENTS / 10, "{used} bytes for gradients in {dtype:?}");
    }
}

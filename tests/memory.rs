//! Compiled code is freed with its handle: ten thousand rounds of compiling, running and dropping keep memory flat.
#![cfg(target_os = "linux")]

use lossjit::losses::{L2Loss, SoftmaxCrossEntropyLoss};
use lossjit::runtime::pipeline;
use lossjit::{Dtype, HybridBlock, Spec, Wanted, inputs};
use ndarray::{Array1, Array2, ArrayD, IxDyn, array};
use std::sync::{Mutex, MutexGuard};

/// Tests here measure the whole process, so one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

const PAGE: usize = 4096;

/// Resident and mapped pages of this process.
fn pages() -> (usize, usize) {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut numbers = text.split_whitespace().map(|n| n.parse::<usize>().unwrap());
    let mapped = numbers.next().unwrap();
    (numbers.next().unwrap(), mapped)
}

const ROUNDS: usize = 10_000;

#[test]
fn ten_thousand_kernels() {
    let _alone = alone();
    let inputs = [Spec::new("pred", Dtype::F32, &[2, 3]), Spec::new("label", Dtype::I32, &[2])];
    let trace = pipeline::trace(&SoftmaxCrossEntropyLoss::new(), &inputs).unwrap();
    let joint = pipeline::graphs(&trace.graph, &Wanted::value()).unwrap().joint;
    let layout = lossjit::nest::Layout::row_major(&joint, &trace.extents);
    let binding = lossjit::jit::Binding { real: Dtype::F32, widen: true, inputs: vec![Dtype::F32, Dtype::I32], layout };
    let nest = pipeline::nest(&joint, &trace.extents, &binding.layout).unwrap();
    let round = || drop(lossjit::jit::compile(nest.clone(), binding.clone()).unwrap());
    (0..ROUNDS / 10).for_each(|_| round());
    let (resident, mapped) = pages();
    (0..ROUNDS).for_each(|_| round());
    let (resident, mapped) = (pages().0 as isize - resident as isize, pages().1 as isize - mapped as isize);
    // One leaked page a round would be 10,000.
    assert!(resident < 500 && mapped < 500, "{resident} more pages resident, {mapped} mapped");
}

/// The same through a block whose cache is smaller than the number of shapes.
#[test]
fn a_bounded_cache() {
    let _alone = alone();
    let block = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize().cache_capacity(4);
    let label = array![0i32];
    for classes in 1..60 {
        let pred = ndarray::Array2::<f32>::zeros((1, classes));
        let found = block.forward::<f32>(&inputs! { pred: &pred, label: &label }).unwrap();
        assert!((found[[0]] - (classes as f32).ln()).abs() < 1e-6);
    }
    let statistics = block.cache_statistics();
    assert_eq!((statistics.entries, statistics.misses, statistics.hits), (4, 59, 0));
    block.forward::<f32>(&inputs! { pred: &ndarray::Array2::<f32>::zeros((1, 59)), label: &label }).unwrap();
    assert_eq!(block.cache_statistics().hits, 1);
}

/// Calls with the sizes from 1 to `count`; memory is measured after a quarter of them and at the end.
fn memory_stays_flat(count: usize, call: impl Fn(usize)) {
    let quarter = count / 4;
    (1..=quarter).for_each(&call);
    let before = pages().0;
    (quarter + 1..=count).for_each(&call);
    let grown = pages().0.saturating_sub(before) * PAGE;
    println!("{grown} bytes more after {count} shapes than after {quarter}");
    assert!(grown < 4 << 20, "{grown} bytes more after {count} shapes");
}

/// Shapes one after the other through one block: programs and graphs are dropped as new ones come.
fn shapes_in_a_row(count: usize) {
    let _alone = alone();
    let block = HybridBlock::new(L2Loss::new()).hybridize().cache_capacity(16);
    memory_stays_flat(count, |size| {
        let (pred, label) = (Array1::<f32>::ones(size), Array1::<f32>::zeros(size));
        let found = block.forward::<f32>(&inputs! { pred: &pred, label: &label }).unwrap();
        assert_eq!(found, ArrayD::from_elem(IxDyn(&[size]), 0.5));
    });
    assert_eq!(block.cache_statistics().entries, 16);
}

/// The same with a gradient, over rows whose number and length both change.
fn gradients_in_a_row(count: usize) {
    let _alone = alone();
    let block = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize().cache_capacity(16);
    memory_stays_flat(count, |size| {
        let (rows, classes) = (1 + size % 5, 1 + size / 5);
        let (pred, label) = (Array2::<f32>::zeros((rows, classes)), Array1::<i32>::zeros(rows));
        let found = block.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
        assert!(found.value.iter().all(|x| (x - (classes as f32).ln()).abs() < 1e-5));
        assert_eq!(found.grad("pred").unwrap().shape(), [rows, classes]);
    });
    let statistics = block.cache_statistics();
    assert_eq!((statistics.entries, statistics.misses), (16, count as u64));
}

#[test]
fn many_shapes_in_a_row() {
    shapes_in_a_row(600);
    gradients_in_a_row(600);
}

/// What a cached program takes, machine code, nest and graphs together: a bound on the bytes of a cache.
#[test]
fn programs_are_small() {
    let _alone = alone();
    let block = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize().cache_capacity(1000);
    let label = Array1::<i32>::zeros(2);
    let call = |classes: usize| {
        let pred = Array2::<f32>::zeros((2, classes));
        block.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
    };
    (1..40).for_each(call);
    let before = pages().0;
    (40..240).for_each(call);
    let each = pages().0.saturating_sub(before) * PAGE / 200;
    assert!(each < 200 << 10, "{each} bytes for a program");
}

/// `cargo test --release --test memory -- --ignored`.
#[test]
#[ignore = "takes a minute"]
fn ten_thousand_shapes_in_a_row() {
    shapes_in_a_row(10_000);
    gradients_in_a_row(10_000);
}

//! Compiled code is freed with its handle: ten thousand rounds of compiling, running and dropping keep memory flat.
#![cfg(target_os = "linux")]

use lossjit::losses::SoftmaxCrossEntropyLoss;
use lossjit::runtime::pipeline;
use lossjit::{Dtype, HybridBlock, Spec, Wanted, inputs};
use ndarray::array;

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
    let inputs = [Spec::new("pred", Dtype::F32, &[2, 3]), Spec::new("label", Dtype::I32, &[2])];
    let trace = pipeline::trace(&SoftmaxCrossEntropyLoss::new(), &inputs).unwrap();
    let joint = pipeline::graphs(&trace.graph, &Wanted::value()).unwrap().joint;
    let layout = lossjit::nest::Layout::row_major(&joint, &trace.extents);
    let binding = lossjit::jit::Binding { real: Dtype::F32, inputs: vec![Dtype::F32, Dtype::I32], layout };
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

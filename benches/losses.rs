//! Times every loss at three shapes: compiling, the forward pass, and value and gradient in one.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lossjit::losses::*;
use lossjit::{HybridBlock, Inputs, Loss, View, ViewMut, Wanted, inputs};
use ndarray::Array2;
use std::hint::black_box;
use std::time::Duration;

const SHAPES: [[usize; 2]; 3] = [[1, 10], [128, 1000], [512, 32000]];

fn bench(c: &mut Criterion) {
    dense(c, "l2", L2Loss::new);
    dense(c, "l1", L1Loss::new);
    dense(c, "huber", HuberLoss::new);
    dense(c, "sigmoid_binary_cross_entropy", SigmoidBCELoss::new);
    for shape in SHAPES {
        let pred = values(shape, 0);
        let label: Vec<i32> = (0..shape[0]).map(|i| (i * 7919 % shape[1]) as i32).collect();
        let label = View::new(&label, &[shape[0]]).unwrap();
        let inputs = [("pred", View::from(&pred)), ("label", label)];
        case(c, "softmax_cross_entropy", SoftmaxCELoss::new, shape, &inputs);
    }
}

/// A loss of two arrays of one shape.
fn dense<L: Loss>(c: &mut Criterion, name: &str, loss: fn() -> L) {
    for shape in SHAPES {
        let (pred, label) = (values(shape, 0), values(shape, 1).mapv(|x| f32::from(x > 0.0)));
        case(c, name, loss, shape, &inputs! { pred: &pred, label: &label });
    }
}

fn values(shape: [usize; 2], seed: u64) -> Array2<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    Array2::from_shape_simple_fn(shape, || 8.0 * random.f32() - 4.0)
}

fn case<L: Loss>(c: &mut Criterion, name: &str, loss: fn() -> L, shape: [usize; 2], inputs: &Inputs) {
    let mut group = c.benchmark_group(format!("{name}/{}x{}", shape[0], shape[1]));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let (forward, both) = (Wanted::value(), Wanted::value_and_grad(&["pred"]));
    group.bench_function("compile", |b| {
        b.iter(|| black_box(HybridBlock::new(loss()).hybridize().compile(inputs, &both).unwrap()));
    });
    let block = HybridBlock::new(loss()).hybridize();
    let mut out = vec![0.0f32; shape[0]];
    let mut grad = vec![0.0f32; shape[0] * shape[1]];
    group.throughput(Throughput::Elements((shape[0] * shape[1]) as u64));
    for threads in [1, 2] {
        let compiled = block.compile(inputs, &forward).unwrap();
        group.bench_function(BenchmarkId::new("forward", threads), |b| {
            b.iter(|| {
                let out = ViewMut::new(&mut out, &shape[..1]).unwrap();
                compiled.run_on(threads, inputs, &mut [out]).unwrap();
            });
        });
        let compiled = block.compile(inputs, &both).unwrap();
        group.bench_function(BenchmarkId::new("value_and_grad", threads), |b| {
            b.iter(|| {
                let out = ViewMut::new(&mut out, &shape[..1]).unwrap();
                let grad = ViewMut::new(&mut grad, &shape).unwrap();
                compiled.run_on(threads, inputs, &mut [out, grad]).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

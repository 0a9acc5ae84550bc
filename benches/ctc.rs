//! Times CTC: many short sequences of few classes, and few long ones of many.

use criterion::{Criterion, criterion_group, criterion_main};
use lossjit::losses::CTCLoss;
use lossjit::{HybridBlock, View, ViewMut, Wanted};
use std::time::Duration;

/// Sequences, steps, classes, labels.
const SHAPES: [[usize; 4]; 2] = [[32, 200, 80, 40], [16, 1000, 5000, 100]];

fn bench(c: &mut Criterion) {
    for [n, t, classes, l] in SHAPES {
        let mut random = fastrand::Rng::with_seed(0);
        let pred: Vec<f32> = (0..n * t * classes).map(|_| 8.0 * random.f32() - 4.0).collect();
        let label: Vec<i32> = (0..n * l).map(|_| random.i32(0..classes as i32 - 1)).collect();
        let inputs =
            [("pred", View::new(&pred, &[n, t, classes]).unwrap()), ("label", View::new(&label, &[n, l]).unwrap())];
        let mut group = c.benchmark_group(format!("ctc/{n}x{t}x{classes}x{l}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
        let block = HybridBlock::new(CTCLoss::new()).hybridize();
        let (mut out, mut grad) = (vec![0f32; n], vec![0f32; pred.len()]);
        for threads in [1, 2] {
            let forward = block.compile(&inputs, &Wanted::value()).unwrap();
            group.bench_function(format!("forward/{threads}"), |b| {
                b.iter(|| {
                    let out = ViewMut::new(&mut out, &[n]).unwrap();
                    forward.run_on(threads, &inputs, &mut [out]).unwrap();
                });
            });
            let both = block.compile(&inputs, &Wanted::value_and_grad(&["pred"])).unwrap();
            group.bench_function(format!("value_and_grad/{threads}"), |b| {
                b.iter(|| {
                    let out = ViewMut::new(&mut out, &[n]).unwrap();
                    let grad = ViewMut::new(&mut grad, &[n, t, classes]).unwrap();
                    both.run_on(threads, &inputs, &mut [out, grad]).unwrap();
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

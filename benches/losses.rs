//! Times every loss at three shapes, forward and with gradients: compiling, the first call, and calls after it.
//!
//! A benchmark's name is `LOSS/SHAPE/forward|value_and_grad/compile|first_call|call`, and `cargo bench --bench losses --
//! PATTERN` runs those that a regular expression finds. Calls use all threads; `RAYON_NUM_THREADS=1` sets their number.

mod cases;

use cases::{Case, Outputs};
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use lossjit::Wanted;
use std::hint::black_box;
use std::time::Duration;

fn bench(c: &mut Criterion) {
    for case in cases::cases() {
        for (call, wanted) in case.wanted() {
            let mut group = c.benchmark_group(format!("{}/{call}", case.name()));
            group.sample_size(10).warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(250));
            compile(&mut group, &case, &wanted);
            group.throughput(Throughput::Elements(case.shape.iter().take(3).product::<usize>() as u64));
            calls(&mut group, &case, &wanted);
            group.finish();
        }
    }
}

/// From the declaration to machine code, with nothing made before.
fn compile(group: &mut BenchmarkGroup<WallTime>, case: &Case, wanted: &Wanted) {
    group.bench_with_input("compile", case, |b, case| {
        let inputs = case.inputs();
        let views = inputs.views();
        b.iter_with_large_drop(|| black_box(case.block().compile(&views, wanted).unwrap()));
    });
}

/// The first call of a kernel into results that nobody has touched, and further ones.
fn calls(group: &mut BenchmarkGroup<WallTime>, case: &Case, wanted: &Wanted) {
    group.bench_with_input("first_call", case, |b, case| {
        let inputs = case.inputs();
        let views = inputs.views();
        let fresh = || {
            let compiled = case.block().compile(&views, wanted).unwrap();
            let outputs = Outputs::of(&compiled);
            (compiled, outputs)
        };
        b.iter_batched_ref(
            fresh,
            |(compiled, outputs)| compiled.run(&views, &mut outputs.views()).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.bench_with_input("call", case, |b, case| {
        let inputs = case.inputs();
        let views = inputs.views();
        let compiled = case.block().compile(&views, wanted).unwrap();
        let mut outputs = Outputs::of(&compiled);
        let mut results = outputs.views();
        b.iter(|| compiled.run(&views, &mut results).unwrap());
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);

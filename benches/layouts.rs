//! Times the same work in several layouts of memory: rows one behind the other, rows of a wider array, every second
//! element, Fortran's order, and rows from the last to the first. Results are row-major.

use criterion::{Criterion, criterion_group, criterion_main};
use lossjit::losses::{L2Loss, SoftmaxCELoss};
use lossjit::{HybridBlock, Loss, View, ViewMut, Wanted};
use ndarray::{Array2, ArrayView2, s};
use std::time::Duration;

const ROWS: usize = 1024;
const COLUMNS: usize = 1000;

fn bench(c: &mut Criterion) {
    let mut random = fastrand::Rng::with_seed(0);
    let mut draw = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || 4.0 * random.f32() - 2.0);
    let (wide, tall) = (draw(ROWS, 2 * COLUMNS + 48), draw(COLUMNS, ROWS));
    let rows = wide.slice(s![.., ..COLUMNS]).to_owned();
    let layouts: [(&str, ArrayView2<f32>); 5] = [
        ("row_major", rows.view()),
        ("rows_of_a_wider_array", wide.slice(s![.., ..COLUMNS])),
        ("every_second_element", wide.slice(s![.., ..2 * COLUMNS;2])),
        ("fortran", tall.t()),
        ("rows_backwards", rows.slice(s![..;-1, ..])),
    ];
    let classes: Vec<i32> = (0..ROWS).map(|i| (i * 7919 % COLUMNS) as i32).collect();
    let label = View::new(&classes, &[ROWS]).unwrap();
    for (name, pred) in &layouts {
        let pred = || ("pred", View::from(pred));
        calls(c, &format!("softmax_cross_entropy/{name}"), SoftmaxCELoss::new(), &[pred(), ("label", label.clone())]);
        calls(c, &format!("l2/{name}"), L2Loss::new(), &[pred(), ("label", View::from(&rows))]);
    }
}

fn calls<L: Loss>(c: &mut Criterion, name: &str, loss: L, inputs: &[(&str, View)]) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
    let block = HybridBlock::new(loss).hybridize();
    let (mut out, mut grad) = (vec![0.0f32; ROWS], vec![0.0f32; ROWS * COLUMNS]);
    let mut results =
        vec![ViewMut::new(&mut out, &[ROWS]).unwrap(), ViewMut::new(&mut grad, &[ROWS, COLUMNS]).unwrap()];
    let forward = block.compile(inputs, &Wanted::value()).unwrap();
    group.bench_function("forward", |b| b.iter(|| forward.run_on(1, inputs, &mut results[..1]).unwrap()));
    let both = block.compile(inputs, &Wanted::value_and_grad(&["pred"])).unwrap();
    group.bench_function("value_and_grad", |b| b.iter(|| both.run_on(1, inputs, &mut results).unwrap()));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

//! Times starting: from the declaration to the first result of every loss (`cold`), the first result at a further shape
//! of a loss already compiled (`further_shape`), and a whole process that evaluates a loss and its gradients
//! (`process`). Shapes are small, so that starting is all that takes time.

mod cases;

use cases::{Case, Inputs};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lossjit::losses::Loss;
use lossjit::{HybridBlock, Wanted};
use safetensors::tensor::{Dtype, TensorView};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.sample_size(20).warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(300));
    for case in cases::cases().step_by(3) {
        let name = case.entry.name;
        let [_, (_, wanted)] = case.wanted();
        let further = Case { entry: case.entry, shape: case.shape.iter().map(|n| n + 1).collect() };
        let (first, second) = (case.inputs(), further.inputs());
        group.bench_function(format!("cold/{name}"), |b| {
            b.iter_with_large_drop(|| {
                let block = case.block();
                result(&block, &first, &wanted);
                block
            });
        });
        group.bench_function(format!("further_shape/{name}"), |b| {
            let known = || {
                let block = case.block();
                result(&block, &first, &wanted);
                block
            };
            b.iter_batched_ref(known, |block| result(block, &second, &wanted), BatchSize::PerIteration);
        });
        let file = write(name, &first);
        group.bench_function(format!("process/{name}"), |b| b.iter(|| evaluate(name, &first, &file)));
    }
    group.finish();
}

fn result(block: &HybridBlock<Box<dyn Loss>>, inputs: &Inputs, wanted: &Wanted) {
    let wrt: Vec<&str> = wanted.wrt.iter().map(String::as_str).collect();
    black_box(block.value_and_grad::<f32>(&inputs.views(), &wrt).unwrap());
}

/// The program, from its start to its end.
fn evaluate(loss: &str, inputs: &Inputs, file: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossjit"));
    command.args(["eval", loss, "--grad", "all", "--json"]).stdout(Stdio::null());
    for (name, _) in inputs.iter() {
        command.arg("--input").arg(format!("{name}={}:{name}", file.display()));
    }
    assert!(command.status().unwrap().success(), "{loss}");
}

fn write(loss: &str, inputs: &Inputs) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{loss}.safetensors"));
    let bytes: Vec<(&str, Dtype, &[usize], Vec<u8>)> = inputs
        .iter()
        .map(|(name, array)| match array {
            cases::Array::Float(x) => (*name, Dtype::F32, x.shape(), x.iter().flat_map(|v| v.to_le_bytes()).collect()),
            cases::Array::Class(x) => (*name, Dtype::I32, x.shape(), x.iter().flat_map(|v| v.to_le_bytes()).collect()),
        })
        .collect();
    let tensors =
        bytes.iter().map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    safetensors::serialize_to_file(tensors, None, &file).unwrap();
    file
}

criterion_group!(benches, bench);
criterion_main!(benches);

//! What a call needs beyond its inputs and results is little, whatever the size: a row's worth for each thread.

#[path = "../benches/cases/mod.rs"]
mod cases;

use lossjit::jit::{Binding, compile};
use lossjit::losses::{L2Loss, Reduction, SigmoidBCELoss};
use lossjit::nest::{Layout, Step};
use lossjit::runtime::pipeline;
use lossjit::{Dtype, HybridBlock, Loss, Spec, Wanted};

#[test]
fn scratch_is_small() {
    for case in cases::cases() {
        let inputs = case.blank();
        for (call, wanted) in case.wanted() {
            let compiled = case.block().compile(&inputs.views(), &wanted).unwrap();
            let scratch = compiled.kernel().scratch;
            assert!(scratch <= 1 << 20, "{} {call}: {scratch} bytes of scratch", case.name());
        }
    }
}

/// The sums of parts: one number for each of at most 64, or fewer parts where each has a row of sums.
#[test]
fn parts_share_little() {
    let shared = |loss: &dyn Fn() -> Box<dyn Loss>, shapes: &[(&str, &[usize])], wrt: &[&str]| {
        let specs: Vec<Spec> = shapes.iter().map(|(name, shape)| Spec::new(name, Dtype::F32, shape)).collect();
        let block = HybridBlock::new(loss()).hybridize();
        let binding = block.stages(&specs, &Wanted::value_and_grad(wrt)).unwrap();
        let trace = block.trace(&specs).unwrap();
        let layout = Layout::row_major(&binding.joint, &trace.extents);
        let nest = pipeline::nest(&binding.joint, &trace.extents, &layout).unwrap();
        assert!(nest.body.iter().any(|step| matches!(step, Step::Part { .. })), "{nest}");
        let inputs = vec![Dtype::F32; nest.graph.inputs.len()];
        compile(nest, Binding { real: Dtype::F32, widen: true, inputs, layout }).unwrap().shared
    };
    let pair: &[(&str, &[usize])] = &[("pred", &[4096, 1024]), ("label", &[4096, 1024])];
    let mean = shared(&|| Box::new(L2Loss::new().reduction(Reduction::Mean)), pair, &["pred"]);
    assert!(mean <= 64 * 8, "{mean} bytes");
    let wide: &[(&str, &[usize])] = &[("pred", &[512, 32000]), ("label", &[512, 32000]), ("pos_weight", &[32000])];
    let weights = shared(&|| Box::new(SigmoidBCELoss::new()), wide, &["pos_weight"]);
    assert!(weights <= 1 << 20, "{weights} bytes");
}

//! The machine code of vector loops, decoded: it touches the elements of its iteration and its arguments, nothing else.

use super::super::Binding;
use super::call::Arguments;
use super::codes::Width;
use super::encode::encode;
use super::program::{Program, STRIDE};
use crate::ir::Dtype;
use crate::losses::*;
use crate::nest::{Layout, Nest};
use crate::runtime::pipeline;
use crate::{Spec, Wanted};
use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind, Register};

/// The programs of a loss with all its gradients, for large arrays as for small ones.
fn programs(loss: &dyn Loss, inputs: &[Spec], wrt: &[&str]) -> Vec<(Nest, Program)> {
    let trace = pipeline::trace(loss, inputs).unwrap();
    let joint = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(wrt)).unwrap().joint;
    let dtypes: Vec<Dtype> = pipeline::ports(&trace, &joint).iter().map(|p| p.dtype).collect();
    let layout = Layout::row_major(&joint, &trace.extents);
    let nest = pipeline::nest(&joint, &trace.extents, &layout).unwrap();
    let real = if dtypes.contains(&Dtype::F64) { Dtype::F64 } else { Dtype::F32 };
    let binding = Binding { real, widen: true, inputs: dtypes, layout };
    let found = super::programs(&nest, &binding, &[]);
    found.into_iter().map(|(_, program)| (nest.clone(), program)).collect()
}

/// Registers that a function may spoil.
const VOLATILE: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

fn verify(program: &Program, width: Width) {
    let Some(code) = encode(program, width).unwrap() else { return };
    let size = Arguments::of(program).size as u64;
    let (mut saved, mut streams) = (vec![], vec![]);
    for instruction in Decoder::new(64, &code, DecoderOptions::NONE).iter() {
        assert!(!instruction.is_invalid(), "{program:?}");
        match instruction.mnemonic() {
            Mnemonic::Push => saved.push(instruction.op0_register()),
            Mnemonic::Pop => assert_eq!(saved.pop(), Some(instruction.op0_register())),
            _ => {}
        }
        let to = instruction.op0_register();
        if to.is_gpr64() && instruction.mnemonic() == Mnemonic::Mov {
            assert!(VOLATILE.contains(&to) || saved.contains(&to), "{to:?} is the caller's");
        }
        let memory = (0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory);
        if !memory || matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Prefetcht0) {
            continue;
        }
        let (base, place) = (instruction.memory_base(), instruction.memory_displacement64());
        let bytes = instruction.memory_size().size() as u64;
        assert!(bytes >= 4);
        if base == Register::RDI {
            assert!(instruction.memory_index() == Register::None && place + bytes <= size);
            if instruction.mnemonic() == Mnemonic::Mov {
                streams.push(to);
            }
            continue;
        }
        let stream = streams.iter().position(|&register| register == base).expect("the address of a stream");
        let stride = program.streams[stream].stride as i64;
        if stride != 1 {
            assert_eq!(instruction.memory_index(), Register::None);
            let size = program.real.size() as i64;
            let place = place as i64;
            assert!(bytes as i64 == size && place % (stride * size) == 0);
            assert!((0..program.elements() as i64).contains(&(place / (stride * size))), "beside the lanes");
            continue;
        }
        let scale = if program.streams[stream].doubled { 2 } else { 1 };
        assert_eq!((instruction.memory_index(), instruction.memory_index_scale()), (Register::RDX, scale));
        assert!(place + bytes <= u64::from(scale) * (program.copies() * STRIDE) as u64, "behind the iteration");
    }
    assert!(saved.is_empty());
}

#[test]
fn code_touches_its_elements_only() {
    let mut count = 0;
    for real in [Dtype::F32, Dtype::F64] {
        for rows in [3, 1 << 15] {
            let x = |name: &str| Spec::new(name, real, &[rows, 1000]);
            let per_row = |name: &str| Spec::new(name, real, &[rows]);
            let two = [x("pred"), x("label")];
            let class = Spec::new("label", Dtype::I32, &[rows]);
            let weights = Spec::new("pos_weight", real, &[1000]);
            let mut all = programs(&L1Loss::new(), &two, &["pred", "label"]);
            all.extend(programs(&HuberLoss::new(), &two, &["pred", "label"]));
            all.extend(programs(&LogisticLoss::new(), &two, &["pred", "label"]));
            all.extend(programs(&SquaredHingeLoss::new(), &two, &["pred", "label"]));
            all.extend(programs(&KLDivLoss::new().from_logits(false), &two, &["pred", "label"]));
            let weighed = [x("pred"), x("label"), weights];
            all.extend(programs(&SigmoidBCELoss::new(), &weighed, &["pred", "pos_weight"]));
            all.extend(programs(&SoftmaxCELoss::new(), &[x("pred"), class], &["pred"]));
            let three = [x("pred"), x("positive"), x("negative")];
            all.extend(programs(&TripletLoss::new(), &three, &["pred", "positive", "negative"]));
            let cosine = [x("input1"), x("input2"), per_row("label")];
            all.extend(programs(&CosineEmbeddingLoss::new(), &cosine, &["input1", "input2"]));
            let short = |name: &str| Spec::new(name, real, &[rows.max(300), 3]);
            all.extend(programs(&L2Loss::new(), &[short("pred"), short("label")], &["pred", "label"]));
            let rows_across = [Spec::new("pred", real, &[7, rows, 300]), Spec::new("label", Dtype::I32, &[7, 300])];
            all.extend(programs(&SoftmaxCELoss::new().axis(1), &rows_across, &["pred"]));
            for (_, program) in &all {
                verify(program, Width::Zmm);
                verify(program, Width::Ymm);
            }
            count += all.len();
        }
    }
    assert!(count > 50, "{count} programs");
}

/// Every program has a text with a line for each operation.
#[test]
fn programs_are_told() {
    let x = |name: &str| Spec::new(name, Dtype::F32, &[3, 1000]);
    let programs = programs(&HuberLoss::new(), &[x("pred"), x("label")], &["pred"]);
    let (nest, program) = &programs[0];
    let text = program.text(nest);
    assert_eq!(text.len(), program.scalars.len() + program.line.len());
    assert!(text.iter().any(|line| line.contains("select")), "{text:?}");
}

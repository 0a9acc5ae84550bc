//! The machine code of vector loops, decoded: it writes the elements of its iteration and its arguments, and reads nothing
//! outside of them, but what lies between near ones.

use super::super::Binding;
use super::call::Arguments;
use super::codes::Width;
use super::encode::encode;
use super::program::{Program, STRIDE};
use super::row_loop::ABREAST;
use crate::ir::Dtype;
use crate::losses::*;
use crate::nest::{Layout, Nest};
use crate::runtime::pipeline;
use crate::{Spec, Wanted};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use std::collections::HashMap;

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
    found.into_iter().map(|found| (nest.clone(), found.program)).collect()
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

/// Gives how many instructions take elements that have others in between.
fn verify(program: &Program, width: Width) -> usize {
    let Some(code) = encode(program, width).unwrap() else { return 0 };
    let mut near = 0;
    let size = Arguments::of(program).size as u64;
    let (mut saved, mut addresses) = (vec![], vec![]);
    // How many bytes a vector that is a mask lets through; the lanes of a mask register, by bit; and the bits for the next one.
    let mut masks: HashMap<Register, u64> = HashMap::new();
    let mut bits = 0;
    for instruction in Decoder::new(64, &code, DecoderOptions::NONE).iter() {
        assert!(!instruction.is_invalid(), "{program:?}");
        match instruction.mnemonic() {
            Mnemonic::Push => saved.push(instruction.op0_register()),
            Mnemonic::Pop => assert_eq!(saved.pop(), Some(instruction.op0_register())),
            Mnemonic::Ret => break, // constants stand behind it
            Mnemonic::Mov if instruction.op0_register() == Register::R11D => bits = instruction.immediate32(),
            Mnemonic::Kmovw => {
                masks.insert(instruction.op0_register(), u64::from(bits));
            }
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
        let bytes = touched(program, &instruction, &masks);
        assert!(bytes >= 4);
        match base {
            Register::RDI => {
                assert!(instruction.memory_index() == Register::None && place + bytes <= size);
                if instruction.mnemonic() == Mnemonic::Mov {
                    addresses.push(to);
                }
            }
            Register::RIP => {
                let mask = &code[place as usize..][..width.bytes()];
                masks.insert(to, mask.iter().take_while(|&&byte| byte == 0xff).count() as u64);
            }
            _ => {
                let address = addresses.iter().position(|&known| known == base).expect("an address from the arguments");
                let apart = program.streams.get(address).is_some_and(|stream| stream.stride > 1);
                near += usize::from(apart && instruction.memory_size().size() == STRIDE);
                match masks.get(&instruction.op_mask()) {
                    Some(&lanes) if !FIRST_LANES.contains(&instruction.op_mask()) => {
                        stored_among_others(program, address, &instruction, lanes);
                    }
                    _ => element(program, address, &instruction, bytes),
                }
            }
        }
    }
    assert!(saved.is_empty());
    near
}

/// Masks of the first lanes; others are of lanes among others.
const FIRST_LANES: [Register; 3] = [Register::K2, Register::K3, Register::K4];

/// The bytes of memory that an instruction touches, as its mask has it.
fn touched(program: &Program, instruction: &Instruction, masks: &HashMap<Register, u64>) -> u64 {
    match (instruction.op_mask(), instruction.mnemonic()) {
        (mask, _) if FIRST_LANES.contains(&mask) => {
            let (bits, lane) = (masks[&mask], if mask == Register::K2 { program.real.size() as u64 } else { 8 });
            assert_eq!(bits.count_ones(), bits.trailing_ones());
            u64::from(bits.count_ones()) * lane
        }
        (_, Mnemonic::Vmaskmovps | Mnemonic::Vmaskmovpd) => masks[&instruction.op1_register()],
        _ => instruction.memory_size().size() as u64,
    }
}

/// Holds a store of some lanes of a vector against the elements of a stream that has others in between.
fn stored_among_others(program: &Program, address: usize, instruction: &Instruction, lanes: u64) {
    let (stride, size) = (program.streams[address].stride as u64, program.real.size() as u64);
    assert_eq!((instruction.memory_index(), instruction.memory_displacement64() % STRIDE as u64), (Register::None, 0));
    assert!(instruction.op0_kind() == OpKind::Memory && !instruction.zeroing_masking());
    let first = instruction.memory_displacement64() / size;
    for lane in (0..64).filter(|lane| lanes >> lane & 1 == 1) {
        let place = first + lane;
        assert!(place.is_multiple_of(stride) && place / stride < program.elements() as u64, "beside the lanes");
    }
}

/// Holds an instruction against the elements of a stream, or of the sums of rows.
fn element(program: &Program, address: usize, instruction: &Instruction, bytes: u64) {
    let place = instruction.memory_displacement64() as i64;
    let (size, bytes) = (program.real.size() as i64, bytes as i64);
    let Some(stream) = program.streams.get(address) else {
        assert_eq!(instruction.memory_index(), Register::None);
        assert!((0..=8 * ABREAST as i64 - bytes).contains(&place), "beside the sums of the rows");
        return;
    };
    if stream.stride != 1 {
        assert_eq!(instruction.memory_index(), Register::None);
        if stream.stride == 0 {
            assert!(place == 0 && bytes == if stream.doubled { 8 } else { size });
            return;
        }
        let stride = stream.stride as i64;
        let last = (program.elements() as i64 - 1) * stride * size;
        if bytes == STRIDE as i64 {
            // Read as a whole, from the first lane's element to the last's.
            assert!((2..=4).contains(&stride) && instruction.op0_kind() == OpKind::Register, "{instruction}");
            assert!((0..=last + size - bytes).contains(&place), "behind the last lane");
            return;
        }
        assert!(bytes == size && place % (stride * size) == 0);
        assert!((0..program.elements() as i64).contains(&(place / (stride * size))), "beside the lanes");
        return;
    }
    let scale = if stream.doubled { 2 } else { 1 };
    assert_eq!((instruction.memory_index(), i64::from(instruction.memory_index_scale())), (Register::RDX, scale));
    let within = |first: i64, length: i64| (first..=first + length - bytes).contains(&place);
    let holds = match &program.rows {
        None => within(0, scale * (program.copies() * STRIDE) as i64),
        Some(rows) => {
            let length = (rows.length as i64 * size).min(STRIDE as i64);
            (0..program.copies() as i64).any(|row| within(row * rows.steps[address] as i64 * size, length))
        }
    };
    assert!(holds, "behind the iteration: {place} and {bytes} of {stream:?}");
}

#[test]
fn code_touches_its_elements_only() {
    let (mut count, mut row_loops, mut near) = (0, 0, 0);
    for real in [Dtype::F32, Dtype::F64] {
        for (rows, columns) in [(3, 1000), (1 << 15, 1000), (300, 5), (300, 49), (300, 64)] {
            let x = |name: &str| Spec::new(name, real, &[rows, columns]);
            let per_row = |name: &str| Spec::new(name, real, &[rows]);
            let two = [x("pred"), x("label")];
            let class = Spec::new("label", Dtype::I32, &[rows]);
            let weights = Spec::new("pos_weight", real, &[columns]);
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
            for few in 2..=4 {
                let short = |name: &str| Spec::new(name, real, &[rows.max(300), few]);
                let two = [short("pred"), short("label")];
                all.extend(programs(&L2Loss::new(), &two, &["pred", "label"]));
                all.extend(programs(&LogisticLoss::new(), &two, &["pred", "label"]));
            }
            let rows_across = [Spec::new("pred", real, &[7, rows, 300]), Spec::new("label", Dtype::I32, &[7, 300])];
            all.extend(programs(&SoftmaxCELoss::new().axis(1), &rows_across, &["pred"]));
            row_loops += all.iter().filter(|(_, program)| program.rows.is_some()).count();
            for (_, program) in &all {
                near += verify(program, Width::Zmm);
                assert_eq!(verify(program, Width::Ymm), 0);
            }
            count += all.len();
        }
    }
    assert!(count > 50 && row_loops > 20, "{count} programs, {row_loops} of them over rows");
    assert!(near > 100, "only {near} wide reads and masked stores");
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

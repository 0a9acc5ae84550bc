//! Calls of native kernels: what they read and write, as words and addresses.

use super::Binding;
use super::emit::{Emitter, Val};
use super::kernel::Status;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Graph, Id, Op};
use crate::native::{Ctc, WORDS, Word};
use crate::nest::{Nest, Step};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

/// The symbol of the kernel.
pub(super) const CTC: &str = "native.ctc";

/// Bytes of scratch for the largest call of a nest; `None` where it has none.
pub(super) fn scratch(nest: &Nest, binding: &Binding) -> Option<usize> {
    fn visit(nest: &Nest, binding: &Binding, body: &[Step], most: &mut Option<usize>) {
        for step in body {
            match step {
                Step::Loop { body, .. } | Step::Block { body, .. } | Step::Part { body, .. } => {
                    visit(nest, binding, body, most);
                }
                Step::Native { loss, grad } => {
                    let bytes = call(nest, binding, *loss, *grad).map_or(0, |ctc| ctc.scratch(grad.is_some()));
                    *most = Some(most.unwrap_or(0).max(bytes));
                }
                _ => {}
            }
        }
    }
    let mut most = None;
    visit(nest, binding, &nest.body, &mut most);
    most
}

/// Whether a nest calls one.
pub(super) fn has_kernels(body: &[Step]) -> bool {
    body.iter().any(|step| match step {
        Step::Loop { body, .. } | Step::Block { body, .. } | Step::Part { body, .. } => has_kernels(body),
        Step::Native { .. } => true,
        _ => false,
    })
}

/// What does not change from row to row.
fn call(nest: &Nest, binding: &Binding, loss: Option<Id>, grad: Option<usize>) -> Option<Ctc> {
    let graph = &nest.graph;
    let (_, [t, c, l], args) = graph.as_native(nest.native_node(loss, grad)?)?;
    let extent = |axis: AxisId| nest.extents[axis.index()];
    let (label, _) = graph.as_read(args[4])?;
    let read = |read: Id, axis: AxisId| read_stride(graph, binding, read, axis);
    let written = |axis: AxisId| {
        let output = grad?;
        let mut dims = graph.outputs[output].axes.iter().zip(&binding.layout.outputs[output]);
        dims.find(|(a, _)| **a == axis).map(|(_, &stride)| stride)
    };
    Some(Ctc {
        real: binding.real,
        label: binding.inputs[label.index()],
        steps: extent(t),
        classes: extent(c),
        labels: extent(l),
        logits: [read(args[3], t), read(args[3], c)],
        label_stride: read(args[4], l),
        gradient: [written(t).unwrap_or(0), written(c).unwrap_or(0)],
    })
}

/// How far apart a read's elements are along an axis.
fn read_stride(graph: &Graph, binding: &Binding, read: Id, axis: AxisId) -> isize {
    let (input, indices) = graph.as_read(read).expect("checked");
    let strides = indices.iter().zip(&binding.layout.inputs[input.index()]);
    strides.filter(|(i, _)| graph.as_axis(**i) == Some(axis)).map(|(_, &stride)| stride).sum()
}

impl Emitter<'_> {
    /// One call; its loss, where it has one, is then at hand.
    pub(super) fn native(&mut self, loss: Option<Id>, grad: Option<usize>) -> Result<()> {
        let fault = || Error::internal("jit", "a native kernel that is none");
        let node = self.nest.native_node(loss, grad).ok_or_else(fault)?;
        let ctc = call(self.nest, self.binding, loss, grad).ok_or_else(fault)?;
        let (_, axes, args) = self.nest.graph.as_native(node).ok_or_else(fault)?;
        let args = args.to_vec();

        let words = self.words(&ctc, &args, grad)?;
        let logits = self.plane_address(args[3], &axes)?;
        let label = self.plane_address(args[4], &axes)?;
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3));
        let result = self.b.ins().stack_addr(types::I64, slot, 0);
        let gradient = match grad {
            Some(output) => self.output_plane(output, &axes)?,
            None => self.b.ins().iconst(types::I64, 0),
        };
        let scratch = self.b.ins().iadd_imm_s(self.scratch, self.native_scratch as i64);
        let function = self.natives.ctc.ok_or_else(fault)?;
        let done = self.b.ins().call(function, &[words, logits, label, result, gradient, scratch]);
        let status = self.b.inst_results(done)[0];
        let clean = self.b.ins().iconst(types::I32, 0);
        let faulty = self.b.ins().icmp(IntCC::NotEqual, status, clean);
        self.note(faulty, Status::OUTSIDE);
        if let Some(loss) = loss {
            let wide = self.b.ins().stack_load(types::I64, types::F64, slot, 0);
            let value = if self.real == types::F32 { self.b.ins().fdemote(types::F32, wide) } else { wide };
            self.env.insert(loss, Val { exact: Some(wide), ..Val::one(value) });
        }
        Ok(())
    }

    fn words(&mut self, ctc: &Ctc, args: &[Id], grad: Option<usize>) -> Result<Value> {
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * WORDS as u32, 3));
        let place = |dtype: Dtype| Dtype::ALL.iter().position(|&d| d == dtype).unwrap_or(0) as i64;
        let constants = [
            (Word::Real, place(ctc.real)),
            (Word::Label, place(ctc.label)),
            (Word::Steps, ctc.steps as i64),
            (Word::Classes, ctc.classes as i64),
            (Word::Labels, ctc.labels as i64),
            (Word::StrideOfStep, ctc.logits[0] as i64),
            (Word::StrideOfClass, ctc.logits[1] as i64),
            (Word::StrideOfLabel, ctc.label_stride as i64),
            (Word::GradientStrideOfStep, ctc.gradient[0] as i64),
            (Word::GradientStrideOfClass, ctc.gradient[1] as i64),
        ];
        let mut words = vec![];
        for (word, constant) in constants {
            words.push((word, self.b.ins().iconst(types::I64, constant)));
        }
        for (word, arg) in [(Word::PredLength, args[5]), (Word::LabelLength, args[6]), (Word::Blank, args[7])] {
            let number = self.get(arg)?.value;
            words.push((word, self.widened(number)));
        }
        // Only the constant −1 means that the label ends by itself; a length given as −1 is out of range.
        if !matches!(self.nest.graph.op(args[6]), Op::Int(_)) {
            let given = words[11].1;
            let over = self.b.ins().iconst(types::I64, i64::MAX);
            let below = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, given, 0);
            words[11].1 = self.b.ins().select(below, over, given);
        }
        let head = match grad.map(|output| self.nest.graph.outputs[output].value) {
            Some(node) => {
                let head = self.nest.graph.node(node).args[8];
                let head = self.get(head)?.value;
                if self.real == types::F32 { self.b.ins().fpromote(types::F64, head) } else { head }
            }
            None => self.b.ins().f64const(0.0),
        };
        words.push((Word::Head, head));
        for (word, value) in words {
            self.b.ins().stack_store(types::I64, value, slot, 8 * word as i32);
        }
        Ok(self.b.ins().stack_addr(types::I64, slot, 0))
    }

    /// The address of a read's first element along the bound axes, at the open loops' indices.
    fn plane_address(&mut self, read: Id, bound: &[AxisId]) -> Result<Value> {
        let (input, indices) = self.nest.graph.as_read(read).expect("checked");
        let (input, indices) = (input.index(), indices.to_vec());
        let size = self.binding.inputs[input].size() as i64;
        let mut address = self.inputs[input];
        let strides = self.binding.layout.inputs[input].clone();
        for (index, stride) in indices.into_iter().zip(strides) {
            let index = match self.nest.graph.op(index) {
                Op::Axis(axis) if bound.contains(&axis) => continue,
                Op::Axis(axis) => self.axis_index(axis)?,
                Op::Int(i) => self.b.ins().iconst(types::I64, i),
                _ => return Err(Error::internal("jit", "a native kernel reads by a computed index")),
            };
            let step = self.b.ins().imul_imm_s(index, stride as i64 * size);
            address = self.b.ins().iadd(address, step);
        }
        Ok(address)
    }

    /// The same of an output.
    fn output_plane(&mut self, output: usize, bound: &[AxisId]) -> Result<Value> {
        let axes = self.nest.graph.outputs[output].axes.clone();
        let size = self.binding.output(output).size() as i64;
        let mut address = self.outputs[output];
        let strides = self.binding.layout.outputs[output].clone();
        for (axis, stride) in axes.into_iter().zip(strides) {
            if self.nest.extents[axis.index()] != 1 && !bound.contains(&axis) {
                let index = self.axis_index(axis)?;
                let step = self.b.ins().imul_imm_s(index, stride as i64 * size);
                address = self.b.ins().iadd(address, step);
            }
        }
        Ok(address)
    }
}

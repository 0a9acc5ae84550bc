//! The checker refuses nests that are not sound: real nests, damaged in every small way.
//!
//! A damaged nest that it lets pass must run in the nest interpreter, which refuses whatever reads or writes where it
//! must not; and as machine code on memory between forbidden pages, where that stops the process. It may compute
//! something else: that is what the other judges are for.

mod support;

use lossjit::ir::{AxisId, Id};
use lossjit::jit::{Binding, compile};
use lossjit::losses::*;
use lossjit::nest::{Layout, Nest, Place, Source, Step, check_on, split};
use lossjit::oracle::graph::Buffer;
use lossjit::oracle::nest::evaluate;
use lossjit::runtime::pipeline;
use lossjit::{Dtype, Loss, Spec, Wanted};
use ndarray::ArrayD;
use support::guard::{Flush, Guarded, running};
use support::machine::run_guarded;

/// A nest for a layout, with inputs to run it on.
type Subject = (Nest, Layout, Vec<Buffer>);

fn subject(loss: &dyn Loss, inputs: &[(&str, &[usize])], wrt: &[&str]) -> Subject {
    let spec = |(name, shape): &(&str, &[usize])| Spec::new(name, Dtype::F64, shape);
    let trace = pipeline::trace(loss, &inputs.iter().map(spec).collect::<Vec<_>>()).unwrap();
    let stages = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(wrt)).unwrap();
    let layout = Layout::row_major(&stages.joint, &trace.extents);
    let nest = pipeline::nest(&stages.joint, &trace.extents, &layout).unwrap();
    let buffers = nest.graph.inputs.iter().map(|input| {
        let shape: Vec<usize> = input.axes.iter().map(|a| trace.extents[a.index()]).collect();
        let count: usize = shape.iter().product();
        match input.kind {
            lossjit::ir::Kind::Int => {
                Buffer::Int(ArrayD::from_shape_vec(shape, (0..count as i64).map(|i| i % 3).collect()).unwrap())
            }
            _ => Buffer::Float(
                ArrayD::from_shape_vec(shape, (0..count).map(|i| 0.1 + i as f64 / 64.0).collect()).unwrap(),
            ),
        }
    });
    let buffers = buffers.collect();
    (nest, layout, buffers)
}

fn subjects() -> Vec<(&'static str, Subject)> {
    let mut subjects = vec![];
    let mut add = |name, subject| subjects.push((name, subject));
    let pair: &[(&str, &[usize])] = &[("pred", &[3, 5]), ("label", &[3, 5])];
    let weighted: &[(&str, &[usize])] = &[("pred", &[3, 5]), ("label", &[3, 5]), ("sample_weight", &[3, 1])];
    let positive: &[(&str, &[usize])] = &[("pred", &[3, 5]), ("label", &[3, 5]), ("pos_weight", &[5])];
    let sparse: &[(&str, &[usize])] = &[("pred", &[3, 5]), ("label", &[3])];
    let deep: &[(&str, &[usize])] = &[("pred", &[2, 4, 3]), ("label", &[2, 3])];
    add("l2", subject(&L2Loss::new(), weighted, &["pred", "sample_weight"]));
    add("huber", subject(&HuberLoss::new(), pair, &["pred", "label"]));
    add("binary", subject(&SigmoidBCELoss::new(), positive, &["pred", "pos_weight"]));
    add("softmax", subject(&SoftmaxCELoss::new(), sparse, &["pred"]));
    add("dense", subject(&SoftmaxCELoss::new().sparse_label(false), pair, &["pred", "label"]));
    add("axis", subject(&SoftmaxCELoss::new().axis(1), deep, &["pred"]));
    // Short rows go by blocks: two whole ones, and a part.
    let short: &[(&str, &[usize])] = &[("pred", &[37, 3]), ("label", &[37])];
    let (mut nest, layout, inputs) = subject(&SoftmaxCELoss::new(), short, &["pred"]);
    nest.body.iter_mut().for_each(|step| {
        if let Step::Block { size, .. } = step {
            *size = 16;
        }
    });
    assert_eq!(nest.block().map(|(_, size)| size), Some(16));
    add("short rows", (nest, layout, inputs));
    // The count of labels that are not ignored takes a round of its own, before the gradient.
    let (nest, layout, inputs) =
        subject(&SoftmaxCELoss::new().reduction(Reduction::MeanByWeight).ignore_label(2), sparse, &["pred"]);
    add("parts", (split(&nest, &layout, 0).expect("it has sums over the batch"), layout, inputs));
    let (nest, layout, inputs) = subject(&SigmoidBCELoss::new(), positive, &["pos_weight"]);
    add("parts of a row", (split(&nest, &layout, 0).expect("it has a gradient along classes"), layout, inputs));
    subjects
}

/// What is done to one step: `None` where it does not apply.
type Damage = fn(&mut Vec<Step>, usize, &Nest) -> Option<()>;

const DAMAGES: &[(&str, Damage)] = &[
    ("a step is missing", |body, at, _| {
        body.remove(at);
        Some(())
    }),
    ("a step is there twice", |body, at, _| {
        let step = body[at].clone();
        body.insert(at, step);
        Some(())
    }),
    ("two steps have changed places", |body, at, _| (at + 1 < body.len()).then(|| body.swap(at, at + 1))),
    ("a loop is gone, its body is not", |body, at, _| match body.remove(at) {
        Step::Loop { body: inner, .. }
        | Step::Tile { body: inner, .. }
        | Step::Block { body: inner, .. }
        | Step::Part { body: inner, .. }
        | Step::Lanes { body: inner } => {
            inner.into_iter().rev().for_each(|step| body.insert(at, step));
            Some(())
        }
        _ => None,
    }),
    ("a loop runs along another axis", |body, at, nest| match &mut body[at] {
        Step::Loop { axis, .. } | Step::Tile { axis, .. } | Step::Block { axis, .. } | Step::Part { axis, .. } => {
            *axis = AxisId::new((axis.index() + 1) % nest.extents.len());
            Some(())
        }
        _ => None,
    }),
    ("a loop has a loop around it", |body, at, _| match body[at].clone() {
        step @ Step::Loop { axis, .. } => {
            body[at] = Step::Loop { axis, body: vec![step] };
            Some(())
        }
        _ => None,
    }),
    ("a block is a loop", |body, at, _| match body[at].clone() {
        Step::Block { axis, body: inner, .. } => {
            body[at] = Step::Loop { axis, body: inner };
            Some(())
        }
        _ => None,
    }),
    ("a loop is a block", |body, at, _| match body[at].clone() {
        Step::Loop { axis, body: inner } => {
            body[at] = Step::Block { axis, size: 2, body: inner };
            Some(())
        }
        _ => None,
    }),
    ("a loop is in parts", |body, at, _| {
        let step = body[at].clone();
        let Step::Loop { axis, .. } = step else { return None };
        body[at] = Step::Part { axis, size: 2, body: vec![step] };
        Some(())
    }),
    ("a fold starts before its part", |body, at, _| match &mut body[at] {
        Step::Part { body: inner, .. } if inner.len() > 1 => {
            let start = inner.remove(0);
            body.insert(at, start);
            Some(())
        }
        _ => None,
    }),
    ("a block or part is another", |body, at, _| match &mut body[at] {
        Step::Block { size, .. } | Step::Part { size, .. } => {
            *size *= 3;
            Some(())
        }
        _ => None,
    }),
    ("a block or part has no end", |body, at, _| match &mut body[at] {
        Step::Block { size, .. } | Step::Part { size, .. } => {
            *size = 0;
            Some(())
        }
        _ => None,
    }),
    ("a slot is another", |body, at, nest| {
        let slot = slot_of(&mut body[at])?;
        *slot = (*slot + 1) % nest.slots.len();
        Some(())
    }),
    ("a value is another", |body, at, nest| {
        let value = value_of(&mut body[at])?;
        *value = Id::from((usize::from(*value) + 1) % nest.graph.nodes.len());
        Some(())
    }),
    ("a value is the one before", |body, at, _| {
        let value = value_of(&mut body[at])?;
        *value = Id::from(usize::from(*value).checked_sub(1)?);
        Some(())
    }),
    ("an output is another", |body, at, nest| match &mut body[at] {
        Step::Store { output } => {
            *output = (*output + 1) % nest.graph.outputs.len();
            Some(())
        }
        _ => None,
    }),
    ("a call sums nothing", |body, at, _| match &mut body[at] {
        Step::Call { sum, .. } => sum.take().map(|_| ()),
        _ => None,
    }),
    ("a call stores nothing", |body, at, _| match &mut body[at] {
        Step::Call { into, .. } => into.take().map(|_| ()),
        _ => None,
    }),
];

fn slot_of(step: &mut Step) -> Option<&mut usize> {
    match step {
        Step::Start { slot, .. } | Step::Fold { slot, .. } => slot.as_mut(),
        Step::Keep { slot, .. } | Step::Load { slot, .. } => Some(slot),
        Step::Call { from: Source::Slot { slot, .. }, .. } => Some(slot),
        Step::Call { into, .. } => into.as_mut(),
        _ => None,
    }
}

fn value_of(step: &mut Step) -> Option<&mut Id> {
    match step {
        Step::Let(value) | Step::Keep { value, .. } | Step::Load { value, .. } | Step::Call { value, .. } => {
            Some(value)
        }
        Step::Start { fold, .. } | Step::Fold { fold, .. } => Some(fold),
        _ => None,
    }
}

/// Every nest that differs by one damage to one step.
fn damaged(nest: &Nest) -> Vec<(&'static str, Nest)> {
    fn bodies(body: &[Step], path: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
        for (at, step) in body.iter().enumerate() {
            path.push(at);
            found.push(path.clone());
            if let Step::Loop { body, .. }
            | Step::Tile { body, .. }
            | Step::Block { body, .. }
            | Step::Part { body, .. }
            | Step::Lanes { body } = step
            {
                bodies(body, path, found);
            }
            path.pop();
        }
    }
    fn within<'b>(body: &'b mut Vec<Step>, path: &[usize]) -> &'b mut Vec<Step> {
        match path {
            [] => body,
            [at, rest @ ..] => match &mut body[*at] {
                Step::Loop { body, .. }
                | Step::Tile { body, .. }
                | Step::Block { body, .. }
                | Step::Part { body, .. }
                | Step::Lanes { body } => within(body, rest),
                _ => unreachable!("a path goes through bodies"),
            },
        }
    }
    let mut places = vec![];
    bodies(&nest.body, &mut vec![], &mut places);
    let mut found = vec![];
    for place in places {
        let (at, path) = place.split_last().expect("no path is empty");
        for (name, damage) in DAMAGES {
            let mut copy = nest.clone();
            if damage(within(&mut copy.body, path), *at, nest).is_some() && copy != *nest {
                found.push((*name, copy));
            }
        }
    }
    for slot in 0..nest.slots.len() {
        let mut change = |name, change: &dyn Fn(&mut lossjit::nest::Slot)| {
            let mut copy = nest.clone();
            change(&mut copy.slots[slot]);
            if copy != *nest {
                found.push((name, copy));
            }
        };
        change("a slot lacks an axis", &|slot| slot.axes.truncate(slot.axes.len().saturating_sub(1)));
        change("a slot is a tile", &|slot| slot.place = Place::Tile);
        change("a slot is a row", &|slot| slot.place = Place::Row);
        change("a slot holds sums", &|slot| slot.place = Place::Sums);
        change("a slot is in the first output", &|slot| slot.place = Place::Output(0));
        change("a slot is in the last output", &|slot| slot.place = Place::Output(nest.graph.outputs.len() - 1));
        change("a slot is in no output", &|slot| slot.place = Place::Output(99));
        change("a slot is of a block, or of all", &|slot| slot.block = !slot.block);
        change("a slot holds another value", &|slot| slot.value = Id::from(0));
    }
    found
}

/// Every layout that differs in one stride. Outputs do not overlap themselves.
fn damaged_layouts(layout: &Layout) -> Vec<Layout> {
    let mut found = vec![];
    let places = |buffers: &[Vec<isize>]| {
        let place = |(buffer, strides): (usize, &Vec<isize>)| (0..strides.len()).map(move |axis| (buffer, axis));
        buffers.iter().enumerate().flat_map(place).collect::<Vec<_>>()
    };
    for (buffer, axis) in places(&layout.inputs) {
        for factor in [0, 2, 3] {
            let mut copy = layout.clone();
            copy.inputs[buffer][axis] *= factor;
            found.push(copy);
        }
    }
    for (buffer, axis) in places(&layout.outputs) {
        let mut copy = layout.clone();
        copy.outputs[buffer].iter_mut().take(axis + 1).for_each(|stride| *stride *= 3);
        found.push(copy);
    }
    found
}

/// Runs machine code on guarded memory; whether there is any for this nest.
fn run(nest: &Nest, layout: &Layout, buffers: &[Buffer], real: Dtype) -> bool {
    let dtypes = buffers.iter().map(|b| if b.kind() == lossjit::ir::Kind::Int { Dtype::I32 } else { real });
    let binding = Binding { real, widen: false, inputs: dtypes.collect(), layout: layout.clone() };
    let Ok(kernel) = compile(nest.clone(), binding.clone()) else { return false };
    let mut memory = vec![];
    for ((buffer, &dtype), strides) in buffers.iter().zip(&binding.inputs).zip(&layout.inputs) {
        let mut input = Guarded::new(dtype, buffer.shape(), strides, Flush::End);
        let values = match buffer {
            Buffer::Float(x) => x.iter().copied().collect::<Vec<_>>(),
            Buffer::Int(x) => x.iter().map(|&i| i as f64).collect(),
        };
        input.fill(&values);
        input.read_only();
        memory.push(input);
    }
    for (output, strides) in nest.graph.outputs.iter().zip(&layout.outputs) {
        let shape: Vec<usize> = output.axes.iter().map(|a| nest.extents[a.index()]).collect();
        memory.push(Guarded::new(real, &shape, strides, Flush::End));
    }
    running(nest);
    run_guarded(&kernel, &mut memory);
    assert!(memory.iter().all(Guarded::is_untouched_elsewhere), "written outside elements\n{nest}");
    true
}

#[test]
fn damaged_nests_are_refused_or_harmless() {
    let (mut tried, mut refused, mut ran) = (0, 0, 0);
    for (name, (nest, layout, inputs)) in subjects() {
        check_on(&nest, &layout).unwrap();
        evaluate(&nest, &inputs).unwrap();
        let whole = damaged_layouts(&layout).into_iter().map(|layout| ("a stride is another", nest.clone(), layout));
        let parts = damaged(&nest).into_iter().map(|(damage, nest)| (damage, nest, layout.clone()));
        for (damage, nest, layout) in parts.chain(whole) {
            tried += 1;
            if check_on(&nest, &layout).is_err() {
                refused += 1;
                assert!(!run(&nest, &layout, &inputs, Dtype::F64), "{name}: {damage}: compiled in spite of the check");
                continue;
            }
            if let Err(error) = evaluate(&nest, &inputs) {
                panic!("{name}: {damage}: passed the check, but {error}\n{nest}");
            }
            ran += usize::from(run(&nest, &layout, &inputs, Dtype::F64));
            ran += usize::from(run(&nest, &layout, &inputs, Dtype::F32));
        }
    }
    println!("{ran} runs of damaged nests as machine code");
    println!("{refused} of {tried} damaged nests are refused; the others run");
    assert!(tried > 1000 && refused * 10 > tried * 7, "{refused} of {tried}");
}

/// Buffers of another width than the loss's would be overrun at their end.
#[test]
fn dtypes_that_do_not_fit_are_refused() {
    let (_, (nest, layout, _)) = subjects().swap_remove(0);
    let compiles = |real, inputs: &[Dtype]| {
        compile(nest.clone(), Binding { real, widen: false, inputs: inputs.to_vec(), layout: layout.clone() }).is_ok()
    };
    assert!(compiles(Dtype::F32, &[Dtype::F32; 3]) && compiles(Dtype::F64, &[Dtype::F64; 3]));
    assert!(!compiles(Dtype::F64, &[Dtype::F32; 3]) && !compiles(Dtype::F64, &[Dtype::F64, Dtype::F32, Dtype::F64]));
    assert!(!compiles(Dtype::F32, &[Dtype::F32; 2]) && !compiles(Dtype::I32, &[Dtype::I32; 3]));
}

//! The checker refuses nests that are not sound: real nests, damaged in every small way.
//!
//! A damaged nest that it lets pass must run in the nest interpreter, which refuses whatever reads or writes where it
//! must not. It may compute something else: that is what the other judges are for.

use lossjit::ir::{AxisId, Id};
use lossjit::losses::*;
use lossjit::nest::{Layout, Nest, Place, Source, Step, check};
use lossjit::oracle::graph::Buffer;
use lossjit::oracle::nest::evaluate;
use lossjit::runtime::pipeline;
use lossjit::{Dtype, Loss, Spec, Wanted};
use ndarray::ArrayD;

/// A nest with inputs to run it on.
fn subject(loss: &dyn Loss, inputs: &[(&str, &[usize])], wrt: &[&str]) -> (Nest, Vec<Buffer>) {
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
    (nest, buffers)
}

fn subjects() -> Vec<(&'static str, Nest, Vec<Buffer>)> {
    let mut subjects = vec![];
    let mut add = |name, (nest, buffers): (Nest, Vec<Buffer>)| subjects.push((name, nest, buffers));
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
        Step::Loop { body: inner, .. } | Step::Tile { body: inner, .. } | Step::Lanes { body: inner } => {
            inner.into_iter().rev().for_each(|step| body.insert(at, step));
            Some(())
        }
        _ => None,
    }),
    ("a loop runs along another axis", |body, at, nest| match &mut body[at] {
        Step::Loop { axis, .. } | Step::Tile { axis, .. } => {
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
            if let Step::Loop { body, .. } | Step::Tile { body, .. } | Step::Lanes { body } = step {
                bodies(body, path, found);
            }
            path.pop();
        }
    }
    fn within<'b>(body: &'b mut Vec<Step>, path: &[usize]) -> &'b mut Vec<Step> {
        match path {
            [] => body,
            [at, rest @ ..] => match &mut body[*at] {
                Step::Loop { body, .. } | Step::Tile { body, .. } | Step::Lanes { body } => within(body, rest),
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
        change("a slot holds another value", &|slot| slot.value = Id::from(0));
    }
    found
}

#[test]
fn damaged_nests_are_refused_or_harmless() {
    let (mut tried, mut refused) = (0, 0);
    for (name, nest, inputs) in subjects() {
        check(&nest).unwrap();
        evaluate(&nest, &inputs).unwrap();
        for (damage, nest) in damaged(&nest) {
            tried += 1;
            match check(&nest) {
                Err(_) => refused += 1,
                Ok(()) => {
                    if let Err(error) = evaluate(&nest, &inputs) {
                        panic!("{name}: {damage}: passed the check, but {error}\n{nest}");
                    }
                }
            }
        }
    }
    println!("{refused} of {tried} damaged nests are refused; the others run");
    assert!(tried > 1000 && refused * 10 > tried * 7, "{refused} of {tried}");
}

//! Losses under autodiff: the value, and the step by which burn's graph leads from it to its inputs.
//!
//! A step of burn has a number of parents that is known when this is compiled; a loss has any number of inputs. So a
//! step takes up to four that require gradients, and where there are more, a further step has the value so far as its
//! first parent and passes the head gradient on to it.

use crate::extension::{Call, LossBackend, Operand, Outcome};
use crate::flex::Evaluated;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use lossjit::{Backward as Mode, Result};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A tensor of the flex backend with its node in burn's graph.
type AutodiffTensor = FloatTensor<Autodiff<Flex>>;

/// How many inputs get their gradients from one step.
const INPUTS: usize = 4;

impl<C: CheckpointStrategy> LossBackend for Autodiff<Flex, C> {
    fn loss(call: Call<Self>) -> Outcome<Self> {
        Outcome(evaluate::<C>(call))
    }
}

fn evaluate<C: CheckpointStrategy>(call: Call<Autodiff<Flex, C>>) -> Result<AutodiffTensor> {
    let mut tracked: Vec<(String, NodeGuard)> = vec![];
    let mut operands = Vec::with_capacity(call.operands.len());
    for (name, operand) in call.operands {
        let plain = match operand {
            Operand::Int(tensor) => Operand::Int(tensor),
            Operand::Float(tensor) => {
                if tensor.is_tracked() && call.backward != Mode::Never {
                    tracked.push((name.clone(), tensor.node()));
                }
                Operand::Float(tensor.into_primitive())
            }
        };
        operands.push((name, plain));
    }
    let (names, guards): (Vec<String>, Vec<NodeGuard>) = tracked.into_iter().unzip();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (value, evaluated) = Call::<Flex> { block: call.block, backward: call.backward, operands }.evaluate(&names)?;
    let evaluated = Arc::new(evaluated);
    let mut result = AutodiffTensor::new(value.clone());
    let mut guards = guards.into_iter().peekable();
    let mut start = 0;
    while guards.peek().is_some() {
        let mut parents: Vec<_> = guards.by_ref().take(INPUTS).collect();
        let places = start..start + parents.len();
        start = places.end;
        let carries = result.is_tracked();
        if carries {
            parents.insert(0, result.node());
        }
        let state = State { evaluated: evaluated.clone(), places, carries };
        result = match parents.len() {
            1 => record::<1, C>(state, parents, value.clone()),
            2 => record::<2, C>(state, parents, value.clone()),
            3 => record::<3, C>(state, parents, value.clone()),
            4 => record::<4, C>(state, parents, value.clone()),
            _ => record::<5, C>(state, parents, value.clone()),
        };
    }
    Ok(result)
}

/// The value as the result of a step with these parents.
fn record<const N: usize, C: CheckpointStrategy>(
    state: State,
    parents: Vec<NodeGuard>,
    value: FlexTensor,
) -> AutodiffTensor {
    let parents: [NodeGuard; N] = parents.try_into().expect("the caller has counted");
    match LossGradient.prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(state, value),
        OpsKind::UnTracked(step) => step.finish(value),
    }
}

/// What a step computes its gradients from.
#[derive(Clone)]
struct State {
    evaluated: Arc<Evaluated>,
    /// Which of the gradients are those of the parents.
    places: Range<usize>,
    /// Whether the first parent is the value so far, not an input.
    carries: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("State").field("places", &self.places).field("carries", &self.carries).finish()
    }
}

#[derive(Debug)]
struct LossGradient;

impl<const N: usize> Backward<Flex, N> for LossGradient {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { evaluated, places, carries } = ops.state;
        let head = grads.consume::<Flex>(&ops.node);
        // The inputs are those of the forward pass, which has shown that they fit and that the gradients exist.
        let gradients = evaluated.gradients(&head).expect("a loss that had a value has its gradients");
        let own = gradients.into_iter().skip(places.start).take(places.len());
        for (parent, gradient) in ops.parents.into_iter().zip(carries.then_some(head).into_iter().chain(own)) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

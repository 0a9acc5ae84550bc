//! Where a NaN comes from: every value of the graph, as the interpreter finds it on certain inputs.

use super::bind::Buffer;
use super::block::HybridBlock;
use super::call::values_by_name;
use super::view::Inputs;
use crate::error::Result;
use crate::grad::Wanted;
use crate::ir::{Dtype, Graph, Id};
use crate::losses::Loss;
use crate::oracle::graph::{Seen, survey};

/// The values of every node of a loss's compiled graph: see [`HybridBlock::trace_values`].
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ValueTrace {
    /// What is compiled: loss and gradients, simplified.
    pub graph: Graph,
    /// The dtype whose range counts.
    pub dtype: Dtype,
    /// One for each floating node that is no number, in the order of the graph.
    pub nodes: Vec<Seen>,
}

impl ValueTrace {
    pub fn seen(&self, id: Id) -> Option<&Seen> {
        self.nodes.iter().find(|seen| seen.id == id)
    }

    /// The first output with a NaN or an infinity, by its place.
    pub fn bad_output(&self) -> Option<usize> {
        self.graph.outputs.iter().position(|o| self.is_bad(o.value))
    }

    /// The node that went bad first, of those that a bad output comes from: it has a NaN or an infinity, and none of its
    /// arguments has.
    pub fn first_bad(&self) -> Option<&Seen> {
        let mut at = self.graph.outputs[self.bad_output()?].value;
        while let Some(&arg) = self.graph.node(at).args.iter().find(|&&arg| self.is_bad(arg)) {
            at = arg;
        }
        self.seen(at)
    }

    fn is_bad(&self, id: Id) -> bool {
        match self.graph.as_float(id) {
            Some(number) => !number.is_finite(),
            None => self.seen(id).is_some_and(Seen::is_bad),
        }
    }
}

impl<L: Loss> HybridBlock<L> {
    /// Evaluates the loss, and the gradients of its sum, by the interpreter, and tells what values each node of the graph
    /// takes: to find where a NaN or an infinity comes from. What is looked at is the graph that is compiled; it is
    /// evaluated in f64, and a value beyond the range of the dtype that the loss is computed in counts as infinite.
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::L2Loss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[1e30f32, 1.0]], array![[-1.0f32, 1.0]]);
    /// let trace = HybridBlock::new(L2Loss::new()).trace_values(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// let bad = trace.first_bad().unwrap();
    /// assert_eq!(trace.graph.op(bad.id).to_string(), "mul"); // the square
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`value_and_grad`](Self::value_and_grad).
    pub fn trace_values(&self, inputs: &Inputs, wrt: &[&str]) -> Result<ValueTrace> {
        let (trace, stages) = self.prepare(&Buffer::of(inputs), &Wanted::value_and_grad(wrt))?;
        let graph = stages.joint.clone();
        let values = values_by_name(&graph, &trace.extents, inputs)?;
        let dtype = trace.dtype();
        let largest = if dtype == Dtype::F64 { f64::MAX } else { f64::from(f32::MAX) };
        let nodes = survey(&graph, &trace.extents, &values, largest)?;
        Ok(ValueTrace { graph, dtype, nodes })
    }
}

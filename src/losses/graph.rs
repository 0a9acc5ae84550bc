//! A loss from a graph's text: data, not code.

use super::Loss;
use crate::error::{Error, Result};
use crate::ir::{Graph, parse};
use crate::trace::{Expr, Tracer};

/// The most nodes that such a graph may have.
const MAX_NODES: usize = 2_000;
/// How deep its nodes may be nested.
const MAX_DEPTH: usize = 250;

/// A loss whose declaration is a graph in its text form, from a file say.
///
/// A graph holds ops of a fixed list and nothing else, so one may be taken from a stranger: whatever is wrong with it, or
/// too large in it, is an error. It has one output, `out`; its buffers are the loss's inputs.
///
/// Formula: what the text says. Gradient: that of every floating input. The form is what the *trace* stage of a loss
/// prints: one typed equation a line, `#` before remarks, axes that no buffer names behind `over`. Such an axis is as long
/// as the dimension that it is the index of.
///
/// ```
/// use lossjit::{HybridBlock, inputs, losses::GraphLoss};
/// use ndarray::array;
///
/// let hinge = GraphLoss::parse("
///     graph hinge(score[n]: float, side[n]: float)
///     %0[n]: float = read score @n
///     %1[n]: float = read side @n
///     %2[n]: float = mul %0 %1
///     %3[n]: float = sub 1.0 %2     # the margin that is missing
///     %4[n]: float = max 0.0 %3
///     out[n] = %4
/// ")?;
/// let (score, side) = (array![0.5f32, -2.0], array![1f32, -1.0]);
/// let result = HybridBlock::new(hinge).hybridize().value_and_grad::<f32>(
///     &inputs! { score: &score, side: &side },
///     &["score"],
/// )?;
/// assert_eq!(result.value, array![0.5, 0.0].into_dyn());
/// assert_eq!(result.grad("score").unwrap(), &array![-1.0, 0.0].into_dyn());
/// # Ok::<(), lossjit::Error>(())
/// ```
///
/// Errors: those of an input that does not fit; see [`parse`](Self::parse) for those of the text.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphLoss(Graph);

impl GraphLoss {
    /// # Errors
    /// The line of the text and what is wrong with it; more than 2000 nodes, or nested deeper than 250; other outputs than
    /// `out`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::new(parse(text)?)
    }

    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn new(graph: Graph) -> Result<Self> {
        let fail = |problem: String| Err(Error::Declaration { loss: graph.name.clone(), problem });
        let depth = depth(&graph);
        match graph.outputs.as_slice() {
            _ if graph.nodes.len() > MAX_NODES => {
                fail(format!("has {} nodes, but at most {MAX_NODES} are taken", graph.nodes.len()))
            }
            _ if depth > MAX_DEPTH => fail(format!("is nested {depth} deep, but at most {MAX_DEPTH} is taken")),
            [output] if output.name == "out" => Ok(Self(graph)),
            outputs => {
                let names: Vec<_> = outputs.iter().map(|o| o.name.as_str()).collect();
                fail(format!("has the outputs {}, but a loss has one, out", names.join(", ")))
            }
        }
    }

    /// The declaration.
    pub fn graph(&self) -> &Graph {
        &self.0
    }
}

/// The longest way from an output down to a leaf, in nodes.
fn depth(graph: &Graph) -> usize {
    let mut depths: Vec<usize> = vec![];
    for id in graph.ids() {
        let below = graph.node(id).args.iter().map(|&a| depths[usize::from(a)]).max();
        depths.push(below.unwrap_or(0) + 1);
    }
    depths.into_iter().max().unwrap_or(0)
}

impl Loss for GraphLoss {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        t.graph(&self.0)
    }
}

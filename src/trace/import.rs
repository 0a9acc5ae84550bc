//! Import: a graph that is there already, declared once more for the shapes at hand.

use super::expr::Expr;
use super::tracer::{Axis, Tracer};
use crate::error::{Error, Result};
use crate::ir::{Graph, Id, InputId, Op};

impl Tracer {
    /// The value of a graph's one output, `out`, with the graph's buffers as inputs of the same names and ranks.
    ///
    /// An axis that no buffer names is as long as the dimension that it is the index of; one that is none's has one
    /// element.
    ///
    /// # Errors
    /// The graph has other outputs; an input is missing or of another rank or dtype; two sizes of one axis differ.
    pub fn graph<'t>(&'t self, graph: &Graph) -> Result<Expr<'t>> {
        let [output] = graph.outputs.as_slice() else { return Err(outputs(graph)) };
        if output.name != "out" {
            return Err(outputs(graph));
        }
        let axes: Vec<Axis> = graph.axes.iter().map(|name| self.axis(name)).collect::<Result<_>>()?;
        // Operands of ops that commute stand in the order in which they were made: axes first, in theirs.
        axes.iter().for_each(|&axis| {
            self.index(axis);
        });
        let mut buffers: Vec<InputId> = vec![];
        for input in &graph.inputs {
            let along: Vec<Axis> = input.axes.iter().map(|a| axes[a.index()]).collect();
            self.exactly(&input.name, &along)?;
            buffers.push(self.declare(&input.name, &along, input.kind)?);
        }
        self.second_names(graph, &axes)?;
        let mut at: Vec<Id> = vec![];
        for id in graph.ids() {
            let node = graph.node(id);
            let op = match node.op {
                Op::Axis(axis) => Op::Axis(axes[axis.index()].0),
                Op::Input(input) => Op::Input(buffers[input.index()]),
                op => op,
            };
            let args: Vec<Id> = node.args.iter().map(|&a| at[usize::from(a)]).collect();
            at.push(self.add_from(graph.origins_of(id).next(), op, &args)?);
        }
        let along: Vec<Axis> = output.axes.iter().map(|a| axes[a.index()]).collect();
        Ok(self.along(Expr { id: at[usize::from(output.value)], tracer: self }, &along))
    }

    /// Extents of axes that index a buffer under a name of their own.
    fn second_names(&self, graph: &Graph, axes: &[Axis]) -> Result<()> {
        for id in graph.ids() {
            let Some((input, indices)) = graph.as_read(id) else { continue };
            let buffer = graph.input(input);
            for (&index, dim) in indices.iter().zip(&buffer.axes) {
                if let Some(axis) = graph.as_axis(index) {
                    let size = self.extent(axes[dim.index()]);
                    self.unify(&buffer.name, axes[axis.index()], size)?;
                }
            }
        }
        axes.iter().for_each(|&axis| self.or_one(axis));
        Ok(())
    }
}

fn outputs(graph: &Graph) -> Error {
    let names: Vec<_> = graph.outputs.iter().map(|o| o.name.as_str()).collect();
    let problem = format!("a loss has one output, out, but this graph has {}", names.join(", "));
    Error::Declaration { loss: graph.name.clone(), problem }
}

//! Makes reports: from a declaration and the shapes of its inputs, or from a handle that is compiled already.

use super::cost::cost;
use super::derivation::{prove, show, validity};
use super::listing::{self, Places, made_from};
use super::report::{AxisSize, Buffer, Origin, Report, RuleCount, SCHEMA, Simplification, Stage};
use crate::error::Result;
use crate::grad::{Wanted, grad};
use crate::ir::{AxisId, Graph};
use crate::jit::{assembly, clif, symbol};
use crate::losses::Loss;
use crate::nest::expand;
use crate::runtime::{Compiled, Signature};
use crate::simplify::{self, simplify};
use crate::trace::Spec;

impl Report {
    /// What becomes of a loss for row-major inputs of these shapes.
    ///
    /// # Errors
    /// The inputs do not suit the loss, or one asked for has no gradient.
    pub fn new(loss: &dyn Loss, given: &[Spec], wanted: &Wanted) -> Result<Self> {
        Self::of(&Compiled::for_specs(loss, given, wanted)?)
    }

    /// What became of a loss that is compiled, whoever compiled it.
    ///
    /// # Errors
    /// None but faults of the compiler.
    pub fn of(compiled: &Compiled) -> Result<Self> {
        let kernel = compiled.kernel();
        let (nest, binding, stages) = (&kernel.nest, &kernel.binding, compiled.stages());
        let (trace, simple, derived, joint) = (&stages.trace, &stages.simplify, &stages.grad, &stages.joint);
        let places = Places::of(&[trace, simple, derived, joint, &nest.graph]);

        let first = listing::graph(Stage::Trace, trace, None, &places);
        let from = made_from(trace, |graph| Ok(simplify(graph)?.0))?;
        let second = listing::graph(Stage::Simplify, simple, Some((&first, &from)), &places);
        let from = made_from(simple, |graph| grad(graph, &stages.wanted))?;
        let third = listing::graph(Stage::Grad, derived, Some((&second, &from)), &places);
        let from = made_from(derived, |graph| Ok(simplify(graph)?.0))?;
        let fourth = listing::graph(Stage::Joint, joint, Some((&third, &from)), &places);
        let from = made_from(joint, |graph| expand(graph, &nest.extents))?;
        let loops = listing::nest(nest, (&fourth, &from), &places);
        let first_step = listing::first_step(nest);
        let code = listing::code(Stage::Clif, &clif(nest, binding)?, &loops, first_step);
        let machine = listing::code(Stage::Asm, &assembly(nest, binding)?, &loops, first_step);

        let (derivations, unexplained) = match prove(stages, &nest.graph) {
            Ok(proofs) => (show(&proofs), None),
            Err(error) => (vec![], Some(error.to_string())),
        };
        let axes = nest.graph.axes.iter().zip(&nest.extents);
        Ok(Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            loss: joint.name.clone(),
            symbol: symbol(nest, binding),
            axes: axes.map(|(name, &extent)| AxisSize { name: name.clone(), extent }).collect(),
            inputs: buffers(joint, compiled.signature(), true, &binding.layout.inputs),
            outputs: buffers(joint, compiled.signature(), false, &binding.layout.outputs),
            origins: places.0.iter().map(|place| origin(*place)).collect(),
            listings: vec![first, second, third, fourth, loops, code, machine],
            simplifications: vec![
                simplification(Stage::Simplify, &stages.reports[0]),
                simplification(Stage::Joint, &stages.reports[1]),
            ],
            derivations,
            unexplained,
            cost: cost(kernel, first_step),
            machine: None,
            measured: None,
        })
    }
}

fn buffers(joint: &Graph, signature: &Signature, inputs: bool, strides: &[Vec<isize>]) -> Vec<Buffer> {
    let names = |axes: &[AxisId]| axes.iter().map(|&a| joint.axis_name(a).to_string()).collect::<Vec<_>>();
    let (found, axes): (_, Vec<Vec<String>>) = if inputs {
        (&signature.inputs, joint.inputs.iter().map(|input| names(&input.axes)).collect())
    } else {
        (&signature.outputs, joint.outputs.iter().map(|output| names(&output.axes)).collect())
    };
    let parts = found.iter().zip(axes).zip(strides);
    let buffer = |((buffer, axes), strides): ((&crate::runtime::Buffer, Vec<String>), &Vec<isize>)| Buffer {
        name: buffer.name.clone(),
        dtype: buffer.dtype.name().to_string(),
        shape: buffer.shape.clone(),
        axes,
        strides: strides.clone(),
    };
    parts.map(buffer).collect()
}

fn origin(place: crate::ir::Origin) -> Origin {
    let crate::ir::Origin { file, line, column } = place;
    Origin { file: file.to_string(), line, column, text: super::sources::line(file, line) }
}

fn simplification(stage: Stage, report: &simplify::Report) -> Simplification {
    let fired =
        report.fired.iter().map(|(rule, &count)| RuleCount { rule: rule.clone(), count, validity: validity(rule) });
    Simplification {
        stage,
        iterations: report.iterations,
        nodes: report.nodes,
        classes: report.classes,
        saturated: report.saturated,
        cost_before: report.cost_before,
        cost_after: report.cost_after,
        fired: fired.collect(),
    }
}

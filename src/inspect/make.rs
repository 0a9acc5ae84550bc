//! Makes reports: from a declaration and the shapes of its inputs, or from a handle that is compiled already.

use super::cost::cost;
use super::derivation::{prove, show, validity};
use super::listing::{self, Places, made_from};
use super::report::{AxisSize, Buffer, Listing, Origin, Report, RuleCount, SCHEMA, Simplification, Stage};
use crate::error::Result;
use crate::grad::{Wanted, grad};
use crate::ir::{AxisId, Graph};
use crate::jit::{assembly, clif, symbol};
use crate::losses::Loss;
use crate::runtime::pipeline::{self, Stages};
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
        pipeline::with_stack(&compiled.stages().grad, || Self::whole(compiled))
    }

    fn whole(compiled: &Compiled) -> Result<Self> {
        let kernel = compiled.kernel();
        let (nest, binding, stages) = (&kernel.nest, &kernel.binding, compiled.stages());
        let joint = &stages.joint;
        let places = Places::of(&[&stages.trace, &stages.simplify, &stages.grad, joint, &nest.graph]);
        let mut listings = listings(compiled, &places)?;
        let (proofs, unexplained) = match prove(stages, compiled.extents(), nest) {
            Ok(proofs) => (proofs, None),
            Err(error) => (vec![], Some(error.to_string())),
        };
        let (derivations, named) = show(&proofs, &nest.graph)?;
        for listing in listings.iter_mut().filter(|listing| listing.stage == Stage::Nest) {
            listing.nodes.iter_mut().zip(&named).for_each(|(node, name)| node.name.clone_from(name));
        }
        let axes = nest.graph.axes.iter().zip(compiled.extents());
        Ok(Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            loss: joint.name.clone(),
            symbol: symbol(nest, binding),
            axes: axes.map(|(name, &extent)| AxisSize { name: name.clone(), extent }).collect(),
            inputs: buffers(joint, compiled.signature(), true, &binding.layout.inputs),
            outputs: buffers(joint, compiled.signature(), false, &binding.layout.outputs),
            origins: places.0.iter().map(|place| origin(*place)).collect(),
            listings,
            simplifications: vec![
                simplification(Stage::Simplify, &stages.reports[0]),
                simplification(Stage::Joint, &stages.reports[1]),
            ],
            derivations,
            unexplained,
            cost: cost(kernel, listing::first_step(nest)),
            machine: None,
            measured: None,
        })
    }
}

/// All stages, each linked to the one that it was made from.
fn listings(compiled: &Compiled, places: &Places) -> Result<Vec<Listing>> {
    let Stages { trace, simplify: simple, grad: derived, joint, wanted, .. } = compiled.stages();
    let (nest, binding) = (&compiled.kernel().nest, &compiled.kernel().binding);
    let simplified = |graph: &Graph| Ok(simplify(graph)?.0);
    let first = listing::graph(Stage::Trace, trace, None, places);
    let second = listing::graph(Stage::Simplify, simple, Some((&first, &made_from(trace, simplified)?)), places);
    let from = made_from(simple, |graph| grad(graph, wanted))?;
    let third = listing::graph(Stage::Grad, derived, Some((&second, &from)), places);
    let fourth = listing::graph(Stage::Joint, joint, Some((&third, &made_from(derived, simplified)?)), places);
    let from = made_from(joint, |graph| Ok(pipeline::nest(graph, compiled.extents(), &binding.layout)?.graph))?;
    let loops = listing::nest(nest, (&fourth, &from), places);
    let first_step = listing::first_step(nest);
    let code = listing::code(Stage::Clif, &clif(nest, binding)?, &loops, first_step);
    let machine = listing::code(Stage::Asm, &assembly(nest, binding)?, &loops, first_step);
    Ok(vec![first, second, third, fourth, loops, code, machine])
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
    Origin { file: file.to_string(), line, column, text: super::sources::built_in(file, line) }
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
        kept: report.kept,
        cost_before: report.cost_before,
        cost_after: report.cost_after,
        fired: fired.collect(),
    }
}

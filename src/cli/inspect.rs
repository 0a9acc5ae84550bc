//! `lossjit inspect`: what a loss becomes for inputs of given shapes.

use super::args::{Format, InspectArgs, Part};
use super::draw::draw_arrays;
use super::failure::Failure;
use super::files::replace;
use super::subject::{Subject, median};
use crate::grad::{Wanted, differentiable};
use crate::inspect::{Machine, Measured, Report, Stage};
use crate::runtime::pipeline;
use crate::trace::Trace;
use fastrand::Rng;
use std::time::Duration;

/// How long runs are timed.
const DURATION: Duration = Duration::from_millis(500);

/// Returns what is to be printed. A file is written last, when nothing else can fail.
pub(super) fn run(args: &InspectArgs) -> Result<String, Failure> {
    let loss = args.loss.build(&args.settings)?;
    let trace = pipeline::trace(&*loss, &args.inputs)?;
    let all = args.grads.iter().any(|name| name == "all");
    let wrt = if all { differentiable(&trace.graph)? } else { args.grads.clone() };
    let wanted = Wanted::value_and_grad(&wrt);
    let mut report = Report::new(&*loss, &args.inputs, &wanted)?;
    let threads = super::eval::threads(args.threads);
    if args.run || args.stage == Part::Cost {
        report.machine = Some(Machine::measure(&report.cost, trace.dtype(), threads)?);
    }
    if args.run {
        report.measured = Some(measure(args, &trace, &wanted, threads)?);
    }
    let text = show(&report, args)?;
    match &args.output {
        None => Ok(text),
        Some(path) => {
            replace(path, |file| file.write_all(text.as_bytes()))?;
            Ok(format!("wrote {}\n", path.display()))
        }
    }
}

fn measure(args: &InspectArgs, trace: &Trace, wanted: &Wanted, threads: usize) -> Result<Measured, Failure> {
    let inputs = draw_arrays(trace, &mut Rng::with_seed(0))?;
    let (mut subject, _) = Subject::new(args.loss.build(&args.settings)?, inputs, wanted, threads)?;
    let samples = subject.samples(DURATION)?;
    let fastest_s = samples.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Measured { threads, runs: samples.len(), median_s: median(&samples), fastest_s })
}

fn show(report: &Report, args: &InspectArgs) -> Result<String, Failure> {
    match (args.format, args.stage) {
        // One page has all of it; links lead to each stage.
        (Format::Html, _) => Ok(report.html()),
        (Format::Dot | Format::Svg, _) | (_, Part::Explain | Part::Cost) if args.origins => {
            Err(Failure::usage("--origins: only the stages' text and the JSON have them"))
        }
        (Format::Text, Part::All) if args.origins => Ok(report.text_with_origins()),
        (Format::Text, Part::All) => Ok(report.text()),
        (Format::Text, Part::Explain) => Ok(report.explanation()),
        (Format::Text, Part::Cost) => Ok(report.cost_text()),
        (Format::Json, Part::All) => Ok(report.json()),
        (Format::Json, Part::Explain) => Ok(report.json_of(&["simplifications", "derivations", "unexplained"])),
        (Format::Json, Part::Cost) => Ok(report.json_of(&["cost", "machine", "measured"])),
        (Format::Dot | Format::Svg, part) => picture(report, part, args.format),
        (Format::Text, stage) if args.origins => Ok(report.stage_text_with_origins(stage.stage())),
        (Format::Text, stage) => Ok(report.stage_text(stage.stage())),
        (Format::Json, stage) => Ok(report.json_of_stage(stage.stage())),
    }
}

/// A graph as DOT or as SVG.
fn picture(report: &Report, part: Part, format: Format) -> Result<String, Failure> {
    let picture = match (format, part) {
        (_, Part::Explain | Part::Cost) => {
            Err("the explanation and the cost are no graphs; the stages trace to nest are".into())
        }
        // All that is computed, before it is cut into loops.
        (Format::Svg, Part::All) => report.svg(Stage::Joint),
        (Format::Svg, stage) => report.svg(stage.stage()),
        (_, Part::All) => Ok(report.dot_of_all()),
        (_, stage) => report.dot(stage.stage()),
    };
    let name = if format == Format::Svg { "svg" } else { "dot" };
    picture.map_err(|problem| Failure::usage(format!("{name}: {problem}")))
}

impl Part {
    /// The stage of this name.
    fn stage(self) -> Stage {
        match self {
            Part::Trace => Stage::Trace,
            Part::Simplify => Stage::Simplify,
            Part::Grad => Stage::Grad,
            Part::Joint => Stage::Joint,
            Part::Nest => Stage::Nest,
            Part::Clif => Stage::Clif,
            Part::Asm | Part::All | Part::Explain | Part::Cost => Stage::Asm,
        }
    }
}

//! The command line: what is accepted, and what `--help` says.

use super::setup::Chosen;
use crate::ir::Dtype;
use crate::trace::Spec;
use clap::{Args, Parser, Subcommand};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Training losses and their gradients, compiled.
///
/// The losses of mxnet.gluon.loss, evaluated on arrays from files by machine code that is made for their shapes.
#[derive(Parser, Debug)]
#[command(name = "lossjit", version, arg_required_else_help = true, max_term_width = 100, after_help = EXIT_STATUS)]
pub(super) struct Program {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Show every loss: names, inputs, and parameters with their defaults
    List(ListArgs),
    /// Evaluate a loss and its gradients on arrays from files
    Eval(EvalArgs),
    /// Show what is compiled, stage by stage, why it equals the declaration, and what it costs
    Inspect(InspectArgs),
    /// Time a loss on random inputs, or serve a harness that times many programs
    Bench(BenchArgs),
    /// Hold interpreters, machine code and finite differences against each other on random inputs
    Check(CheckArgs),
}

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  it could not be done: one line on stderr says why
  2  the command line is wrong

Example:
  lossjit eval L2Loss --input pred=pred.npy --input label=label.npy --grad pred";

const LIST_EXAMPLES: &str = "\
Examples:
  lossjit list
  lossjit list --json | jq -r '.[].name'";

#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    /// Print a JSON array with one object for each loss
    #[arg(long)]
    pub(super) json: bool,
}

const EVAL_EXAMPLES: &str = "\
Examples:
  lossjit eval L2Loss --input pred=pred.npy --input label=label.npy

  lossjit eval SoftmaxCrossEntropyLoss --grad pred \\
      --input pred=digits.safetensors:logits \\
      --input label=digits.safetensors:labels

  lossjit eval HuberLoss --set rho=0.5 --grad all --output result.safetensors \\
      --input pred=data.npz:pred --input label=data.npz:label

  lossjit eval ./focal.graph --input pred=pred.npy --input label=label.npy --trace-values";

#[derive(Args, Debug)]
#[command(after_help = EVAL_EXAMPLES)]
pub(super) struct EvalArgs {
    /// The loss: a name or alias that `lossjit list` shows, one of them in snake_case, or a file of a graph's text
    #[arg(value_name = "LOSS", value_parser = Chosen::parse)]
    pub(super) loss: Chosen,

    /// Set a parameter of the loss; may be repeated, and the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) settings: Vec<(String, String)>,

    /// Read an input from a .npy, .npz or .safetensors file; may be repeated
    ///
    /// KEY names the array within the file, and may be left out where the file holds one. Floating inputs are f32 or
    /// f64, all alike; class numbers may be i32, i64, u8, u32 or whole floats.
    #[arg(long = "input", value_name = "NAME=FILE[:KEY]", value_parser = pair)]
    pub(super) inputs: Vec<(String, String)>,

    /// Take the gradient with respect to an input, or to `all` that have one; may be repeated
    #[arg(long = "grad", value_name = "NAME")]
    pub(super) grads: Vec<String>,

    /// Read the head gradient, of the loss's shape and dtype; without it, gradients are those of the loss's sum
    #[arg(long, value_name = "FILE[:KEY]", requires = "grads")]
    pub(super) head: Option<String>,

    /// Write the results: `out`, and `grad.NAME` for each gradient
    #[arg(long, value_name = "FILE.safetensors", value_parser = output)]
    pub(super) output: Option<PathBuf>,

    /// Use at most so many threads [default: one for each core]; results are the same for any number
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(super) threads: Option<NonZeroUsize>,

    /// Evaluate the declared graph with the interpreter instead of compiling it
    #[arg(long)]
    pub(super) imperative: bool,

    /// Find where a NaN or an infinity comes from: print the range of every value of the graph, and what went bad first
    ///
    /// The graph is the one that is compiled, with the gradients asked for, evaluated by the interpreter in f64; a value
    /// beyond the range of the inputs' dtype counts as infinite.
    #[arg(long, conflicts_with_all = ["output", "head", "imperative", "threads"])]
    pub(super) trace_values: bool,

    /// Print the summary as one JSON object on one line; numbers that are not finite are "nan", "inf" and "-inf"
    #[arg(long)]
    pub(super) json: bool,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  lossjit inspect SoftmaxCELoss --input pred=f32[512,32000] --input label=i32[512] --grad all

  lossjit inspect SDMLLoss --input x1=f32[64,100] --input x2=f32[64,100] --stage explain

  lossjit inspect L2Loss --input pred=f32[64,1000] --input label=f32[64,1000] --stage cost --run

  lossjit inspect HuberLoss --input pred=f32[8,9] --input label=f32[8,9] --grad pred \\
      --stage joint --format svg --output joint.svg

  lossjit inspect SoftmaxCELoss --input pred=f32[512,32000] --input label=i32[512] --grad all \\
      --format html --output softmax.html";

#[derive(Args, Debug)]
#[command(after_help = INSPECT_EXAMPLES)]
pub(super) struct InspectArgs {
    /// The loss: a name or alias that `lossjit list` shows, or one of them in snake_case
    #[arg(value_name = "LOSS", value_parser = Chosen::parse)]
    pub(super) loss: Chosen,

    /// Set a parameter of the loss; may be repeated, and the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) settings: Vec<(String, String)>,

    /// The dtype and shape of an input, such as pred=f32[64,10]; may be repeated
    #[arg(long = "input", value_name = "NAME=DTYPE[SHAPE]", value_parser = spec)]
    pub(super) inputs: Vec<Spec>,

    /// Compile the gradient with respect to an input, or to `all` that have one; may be repeated [default: none]
    #[arg(long = "grad", value_name = "NAME")]
    pub(super) grads: Vec<String>,

    /// What to show: a stage on the way to machine code, the explanation, the cost, or all of it
    #[arg(long, value_name = "STAGE", value_enum, default_value = "all")]
    pub(super) stage: Part,

    /// How to show it; dot (for Graphviz) and svg draw the stages that are graphs; html is one page
    /// with all stages
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(super) format: Format,

    /// Say behind each line of a graph or nest from which places of the declaration it comes
    #[arg(long)]
    pub(super) origins: bool,

    /// Write to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Time it on random inputs, and show the least time that this machine would need beside it
    #[arg(long)]
    pub(super) run: bool,

    /// Use at most so many threads in a timed run [default: one for each core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(super) threads: Option<NonZeroUsize>,
}

/// A part of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Part {
    Trace,
    Simplify,
    Grad,
    Joint,
    Nest,
    Clif,
    Asm,
    All,
    Explain,
    Cost,
}

/// How a report is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
    Dot,
    Svg,
    Html,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  lossjit check HuberLoss --set rho=0.5 --input pred=f32[8,100] --input label=f32[8,100]

  lossjit check SoftmaxCELoss --input pred=f64[16,10] --input label=i32[16] --seed 7";

#[derive(Args, Debug)]
#[command(after_help = CHECK_EXAMPLES)]
pub(super) struct CheckArgs {
    /// The loss: a name or alias that `lossjit list` shows, one of them in snake_case, or a file of a graph's text
    #[arg(value_name = "LOSS", value_parser = Chosen::parse)]
    pub(super) loss: Chosen,

    /// Set a parameter of the loss; may be repeated, and the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) settings: Vec<(String, String)>,

    /// The dtype and shape of an input, such as pred=f32[64,10]; may be repeated
    #[arg(long = "input", value_name = "NAME=DTYPE[SHAPE]", value_parser = spec)]
    pub(super) inputs: Vec<Spec>,

    /// What the random inputs are drawn from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  lossjit bench SoftmaxCELoss --input pred=f32[512,32000] --input label=i32[512] --threads 1

  lossjit bench --serve < requests.jsonl";

#[derive(Args, Debug)]
#[command(after_help = BENCH_EXAMPLES)]
pub(super) struct BenchArgs {
    /// The loss: a name or alias that `lossjit list` shows, one of them in snake_case, or a file of a graph's text
    #[arg(value_name = "LOSS", value_parser = Chosen::parse, required_unless_present = "serve")]
    pub(super) loss: Option<Chosen>,

    /// Set a parameter of the loss; may be repeated, and the last one counts
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) settings: Vec<(String, String)>,

    /// The dtype and shape of an input, such as pred=f32[64,10]; may be repeated
    #[arg(long = "input", value_name = "NAME=DTYPE[SHAPE]", value_parser = spec)]
    pub(super) inputs: Vec<Spec>,

    /// Take the gradient with respect to an input; may be repeated [default: all that have one]
    #[arg(long = "grad", value_name = "NAME")]
    pub(super) grads: Vec<String>,

    /// Use at most so many threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(super) threads: Option<NonZeroUsize>,

    /// Print the times as one JSON object
    #[arg(long)]
    pub(super) json: bool,

    /// Answer requests on standard input, one JSON object a line, until it ends; BENCH_THREADS sets the threads
    #[arg(long, conflicts_with_all = ["loss", "settings", "inputs", "grads", "threads", "json"])]
    pub(super) serve: bool,
}

fn spec(text: &str) -> Result<Spec, String> {
    let (name, rest) = pair(text)?;
    let open = rest.find('[').ok_or("there is no shape in brackets")?;
    let shape = rest[open + 1..].strip_suffix(']').ok_or("the shape has no closing bracket")?;
    let dtype = Dtype::ALL.into_iter().find(|d| d.name() == &rest[..open]).ok_or_else(|| {
        let known: Vec<_> = Dtype::ALL.iter().map(|d| d.name()).collect();
        format!("unknown dtype `{}`; there are {}", &rest[..open], known.join(", "))
    })?;
    let size = |n: &str| n.trim().parse().map_err(|_| format!("`{n}` is no number of elements"));
    let shape: Vec<usize> = match shape.trim() {
        "" => vec![],
        sizes => sizes.split(',').map(size).collect::<Result<_, _>>()?,
    };
    Ok(Spec::new(&name, dtype, &shape))
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        None => Err("there is no `=`".into()),
        Some(("", _)) => Err("there is nothing before the `=`".into()),
        Some((_, "")) => Err("there is nothing behind the `=`".into()),
        Some((name, value)) => Ok((name.into(), value.into())),
    }
}

fn output(path: &str) -> Result<PathBuf, String> {
    let path = Path::new(path);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("safetensors") => Ok(path.to_owned()),
        _ => Err("results are written as .safetensors".into()),
    }
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number, 1 or more".into())
}

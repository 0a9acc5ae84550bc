//! What an evaluation gave, for people and as JSON.

use super::array::Array;
use super::evaluation::Evaluation;
use super::number::{json, milliseconds, short, time};
use super::setup::Setup;
use crate::inspect::table::{Align, table};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The first values that are shown.
const FIRST: usize = 4;

pub(super) struct Summary<'a> {
    pub(super) setup: &'a Setup<'a>,
    pub(super) inputs: &'a [(String, Array)],
    pub(super) evaluation: &'a Evaluation,
    pub(super) threads: usize,
    pub(super) output: Option<&'a Path>,
}

impl Summary<'_> {
    /// A page for a terminal.
    pub(super) fn text(&self) -> String {
        format!("{}\n\n{}\n{}\n{}", self.title(), self.input_table(), self.result_table(), self.times())
    }

    /// One line that says what has been written.
    pub(super) fn written(&self, path: &Path) -> String {
        let results: Vec<_> = self.evaluation.results.iter().map(|(name, a)| format!("{name} {}", ty(a))).collect();
        format!("wrote {}: {}\n", path.display(), results.join(", "))
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> String {
        let inputs: Map<_, _> = self.inputs.iter().map(|(name, a)| (name.clone(), json_type(a).into())).collect();
        let results: Map<_, _> =
            self.evaluation.results.iter().map(|(name, a)| (name.clone(), json_result(a))).collect();
        let mut object = json!({
            "loss": self.setup.loss.name(),
            "parameters": self.setup.parameters(),
            "mode": self.mode(),
            "threads": self.threads,
            "inputs": inputs,
            "results": results,
            "compile_ms": self.evaluation.compile.map(milliseconds),
            "run_ms": milliseconds(self.evaluation.run),
        });
        if let Some(path) = self.output {
            object["output"] = path.display().to_string().into();
        }
        format!("{object}\n")
    }

    fn mode(&self) -> &'static str {
        if self.evaluation.compile.is_some() { "compiled" } else { "imperative" }
    }

    fn title(&self) -> String {
        let settings: String = self.setup.settings.iter().map(|(name, value)| format!("  {name}={value}")).collect();
        format!("{}{settings}", self.setup.loss.name())
    }

    fn input_table(&self) -> String {
        let rows = self.inputs.iter().map(|(name, array)| vec![name.clone(), ty(array)]);
        table(&["input", "shape"], &[Align::Left, Align::Left], rows)
    }

    fn result_table(&self) -> String {
        let heads = ["result", "shape", "mean", "min", "max", "first values"];
        let aligns = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Right, Align::Left];
        let rows = self.evaluation.results.iter().map(|(name, array)| {
            let statistics = Statistics::of(array);
            let number = |x: Option<f64>| x.map_or("-".into(), short);
            vec![
                name.clone(),
                ty(array),
                number(statistics.mean),
                number(statistics.min),
                number(statistics.max),
                statistics.first_values(),
            ]
        });
        table(&heads, &aligns, rows)
    }

    fn times(&self) -> String {
        let run = time(self.evaluation.run);
        match self.evaluation.compile {
            Some(compile) => {
                let threads = match self.threads {
                    1 => "1 thread".to_string(),
                    n => format!("up to {n} threads"),
                };
                let rows = [
                    vec!["compile".into(), time(compile), "from the formula to machine code".into()],
                    vec!["run".into(), run, format!("the second run, on {threads}")],
                ];
                table(&[], &[Align::Left, Align::Right, Align::Left], rows.into_iter())
            }
            None => format!("run  {run}  interpreted, not compiled\n"),
        }
    }
}

/// `f32[64,10]`, as other commands take it.
fn ty(array: &Array) -> String {
    let shape: Vec<_> = array.shape().iter().map(usize::to_string).collect();
    format!("{}[{}]", array.dtype(), shape.join(","))
}

fn json_type(array: &Array) -> Map<String, Value> {
    Map::from_iter([("dtype".into(), array.dtype_name().into()), ("shape".into(), array.shape().into())])
}

fn json_result(array: &Array) -> Value {
    let statistics = Statistics::of(array);
    let number = |x: Option<f64>| x.map_or(Value::Null, json);
    let mut object = json_type(array);
    object.insert("mean".into(), number(statistics.mean));
    object.insert("min".into(), number(statistics.min));
    object.insert("max".into(), number(statistics.max));
    object.insert("first".into(), statistics.first.iter().map(|&x| json(x)).collect());
    object.into()
}

/// An array in a few numbers; an empty one has no mean, minimum or maximum. NaN anywhere makes all three NaN.
struct Statistics {
    count: usize,
    mean: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    first: Vec<f64>,
}

impl Statistics {
    fn of(array: &Array) -> Self {
        let values = array.view().to_f64();
        let with_nan = |pick: fn(f64, f64) -> f64| {
            move |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) }
        };
        let all = || values.iter().copied();
        Self {
            count: values.len(),
            mean: (!values.is_empty()).then(|| all().sum::<f64>() / values.len() as f64),
            min: all().reduce(with_nan(f64::min)),
            max: all().reduce(with_nan(f64::max)),
            first: values[..values.len().min(FIRST)].to_vec(),
        }
    }

    fn first_values(&self) -> String {
        let mut words: Vec<String> = self.first.iter().map(|&x| short(x)).collect();
        if self.count > self.first.len() {
            words.push("…".into());
        }
        format!("[{}]", words.join(", "))
    }
}

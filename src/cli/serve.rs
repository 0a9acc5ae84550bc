//! `lossjit bench --serve`: one JSON object a line. A request is `{"op": …}`:
//!
//! | op | further fields | answer |
//! | --- | --- | --- |
//! | `hello` | | `init_s`, `version` |
//! | `prepare` | `case`, `inputs`, `out_dir` | `compile_s`, `loss_dtype`; the results are in `out_dir` |
//! | `run` | `seconds` | `samples`: seconds per call |
//! | `release`, `quit` | | |
//!
//! Every answer has `ok`; where that is false, `why` says what is wrong. Threads are set by `BENCH_THREADS`.

use super::array::{Array, Element};
use super::failure::{Failure, one_line};
use super::files;
use super::pages::room;
use super::subject::{Subject, median};
use crate::grad::Wanted;
use crate::losses::find;
use ndarray::{ArrayD, IxDyn};
use serde_json::{Map, Value, json};
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Parameters of cases that are no parameters of a loss.
const INFORMATIONAL: [&str; 3] = ["pos_weight", "label_len", "form"];
/// A request is a line of at most so many bytes.
const MAX_LINE: u64 = 1 << 20;

/// Answers until the input ends or says so.
pub(super) fn run(start: Instant, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<(), Failure> {
    let threads = super::eval::threads(bench_threads()?);
    let mut subject: Option<Subject> = None;
    loop {
        let mut line = vec![];
        let read = std::io::Read::take(&mut *input, MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|e| Failure::work(format!("standard input: {e}")))? == 0 {
            return Ok(());
        }
        let answer = match answer(&line, threads, start, &mut subject) {
            Ok(Some(fields)) => fields,
            Ok(None) => return Ok(()),
            Err(failure) => json!({ "ok": false, "why": one_line(failure.message()) }),
        };
        let told = writeln!(output, "{answer}").and_then(|()| output.flush());
        told.map_err(|e| Failure::work(format!("standard output: {e}")))?;
    }
}

/// The same for whoever has no program to talk to: the fuzzer.
///
/// # Errors
/// The streams fail.
pub fn serve(input: &mut dyn BufRead, output: &mut dyn Write) -> Result<(), String> {
    run(Instant::now(), input, output).map_err(|failure| failure.message().to_string())
}

fn bench_threads() -> Result<Option<NonZeroUsize>, Failure> {
    let Some(text) = std::env::var_os("BENCH_THREADS") else { return Ok(None) };
    let number = text.to_str().and_then(|t| t.parse().ok());
    number.map(Some).ok_or_else(|| Failure::work("BENCH_THREADS: expected a whole number, 1 or more"))
}

fn answer(
    line: &[u8],
    threads: usize,
    start: Instant,
    subject: &mut Option<Subject>,
) -> Result<Option<Value>, Failure> {
    let request: Value = serde_json::from_slice(line).map_err(|e| Failure::work(format!("request: {e}")))?;
    let op = request["op"].as_str().ok_or_else(|| Failure::work("request: there is no `op`"))?;
    Ok(Some(match op {
        "hello" => {
            let init = start.elapsed().as_secs_f64();
            json!({ "ok": true, "init_s": init, "version": env!("CARGO_PKG_VERSION") })
        }
        "prepare" => {
            *subject = None;
            let (prepared, compile) = prepare(&request, threads)?;
            let dtype = prepared.outputs[0].1.dtype();
            *subject = Some(prepared);
            let name = if dtype.size() == 8 { "float64" } else { "float32" };
            json!({ "ok": true, "compile_s": compile, "loss_dtype": name })
        }
        "run" => {
            let subject = subject.as_mut().ok_or_else(|| Failure::work("run: nothing is prepared"))?;
            let seconds = request["seconds"].as_f64().unwrap_or(1.0).clamp(0.0, 3600.0);
            json!({ "ok": true, "samples": subject.samples(Duration::from_secs_f64(seconds))? })
        }
        "release" => {
            *subject = None;
            json!({ "ok": true })
        }
        "quit" => return Ok(None),
        other => return Err(Failure::work(format!("request: unknown op `{other}`"))),
    }))
}

/// A case, ready to be timed, and the seconds that its cold start took beyond a call.
fn prepare(request: &Value, threads: usize) -> Result<(Subject, f64), Failure> {
    let case = &request["case"];
    let short = case["loss"].as_str().ok_or_else(|| Failure::work("case: there is no `loss`"))?;
    let entry = find(&format!("{short}Loss")).ok_or_else(|| Failure::work(format!("case: unknown loss `{short}`")))?;
    let none = Map::new();
    let parameters = case["params"].as_object().unwrap_or(&none).iter();
    let settings: Vec<(String, String)> =
        parameters.filter(|(name, _)| !INFORMATIONAL.contains(&name.as_str())).map(setting).collect();
    let mut inputs = vec![];
    for (name, given) in request["inputs"].as_object().unwrap_or(&none) {
        inputs.push((name.clone(), raw(given)?));
    }
    let wrt: Vec<&str> = case["wrt"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wanted = match case["mode"].as_str() {
        Some("fwd") => Wanted::value(),
        Some("fwdbwd") => Wanted::value_and_grad(&wrt),
        other => return Err(Failure::work(format!("case: mode is {other:?}, not fwd or fwdbwd"))),
    };
    let (mut subject, times) =
        Subject::new((entry.build)(&settings).map_err(Failure::usage)?, inputs, &wanted, threads)?;
    let steady = median(&subject.samples(Duration::from_millis(20))?);
    let folder = request["out_dir"].as_str().ok_or_else(|| Failure::work("prepare: there is no `out_dir`"))?;
    for (name, array) in &subject.outputs {
        let file = if name == "out" { "loss.bin".to_string() } else { format!("{}.bin", name.replacen('.', "_", 1)) };
        files::write_raw(&Path::new(folder).join(file), array)?;
    }
    Ok((subject, ((times.compile + times.first_call).as_secs_f64() - steady).max(0.0)))
}

fn setting((name, value): (&String, &Value)) -> (String, String) {
    let text = match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (name.clone(), text)
}

/// An array from a file of little-endian elements.
fn raw(given: &Value) -> Result<Array, Failure> {
    let fail = |problem: &str| Failure::work(format!("prepare: an input {problem}"));
    let path = given["path"].as_str().ok_or_else(|| fail("has no path"))?;
    let sizes = given["shape"].as_array().ok_or_else(|| fail("has no shape"))?;
    let shape: Option<Vec<usize>> = sizes.iter().map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok())).collect();
    let shape = shape.ok_or_else(|| fail("has a size that is none"))?;
    let bytes = std::fs::read(path).map_err(|e| Failure::work(format!("{path}: {e}")))?;
    match given["dtype"].as_str() {
        Some("float32") => decode::<f32>(path, &bytes, &shape),
        Some("float64") => decode::<f64>(path, &bytes, &shape),
        Some("int32") => decode::<i32>(path, &bytes, &shape),
        Some("int64") => decode::<i64>(path, &bytes, &shape),
        Some("uint8") => decode::<u8>(path, &bytes, &shape),
        Some("uint32") => decode::<u32>(path, &bytes, &shape),
        other => Err(Failure::work(format!("{path}: dtype {other:?} is not supported"))),
    }
}

fn decode<T: Element>(path: &str, bytes: &[u8], shape: &[usize]) -> Result<Array, Failure>
where
    Array: From<ArrayD<T>>,
{
    let count = shape.iter().try_fold(size_of::<T>(), |n, &size| n.checked_mul(size));
    if count != Some(bytes.len()) {
        let wanted = count.map_or("more bytes than there can be".into(), |n| format!("{n} bytes"));
        return Err(Failure::work(format!("{path}: shape {shape:?} takes {wanted}, but there are {}", bytes.len())));
    }
    let mut elements = room(bytes.len() / size_of::<T>()).map_err(|e| Failure::work(format!("{path}: {e}")))?;
    elements.extend(bytes.chunks_exact(size_of::<T>()).map(T::decode_le));
    let array = ArrayD::from_shape_vec(IxDyn(shape), elements);
    Ok(Array::from(array.map_err(|e| Failure::work(format!("{path}: {e}")))?))
}

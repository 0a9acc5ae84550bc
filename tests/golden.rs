//! Recorded cases of `mxnet.gluon.loss`: every value and gradient against the float64 reference, by machine code and
//! by the interpreter; what is to be refused is refused. See `golden/README.md` for where the cases come from.

use lossjit::losses::{Entry, LOSSES};
use lossjit::runtime::Real;
use lossjit::{HybridBlock, Inputs, Loss, Spec, ValueAndGrad, View};
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;
use std::path::Path;

/// An input in its own dtype.
enum Array {
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
    I32(ArrayD<i32>),
}

impl Array {
    fn view(&self) -> View<'_> {
        match self {
            Array::F32(a) => a.into(),
            Array::F64(a) => a.into(),
            Array::I32(a) => a.into(),
        }
    }
}

fn array(file: &SafeTensors, key: &str) -> Option<Array> {
    let tensor = file.tensor(key).ok()?;
    let (shape, data) = (IxDyn(tensor.shape()), tensor.data());
    macro_rules! read {
        ($ty:ty) => {{
            let values = data.chunks_exact(size_of::<$ty>()).map(|b| <$ty>::from_le_bytes(b.try_into().unwrap()));
            ArrayD::from_shape_vec(shape, values.collect()).unwrap()
        }};
    }
    Some(match tensor.dtype() {
        Dtype::F32 => Array::F32(read!(f32)),
        Dtype::F64 => Array::F64(read!(f64)),
        Dtype::I32 => Array::I32(read!(i32)),
        other => panic!("{key}: {other:?}"),
    })
}

fn reference(file: &SafeTensors, key: &str) -> Option<ArrayD<f64>> {
    match array(file, key)? {
        Array::F64(a) => Some(a),
        _ => panic!("{key} is not float64"),
    }
}

/// Constructor arguments as the command line would have them.
fn settings(case: &Json) -> Vec<(String, String)> {
    let mut settings = vec![];
    for field in ["params", "call_params", "extra_params"] {
        for (name, value) in case[field].as_object().into_iter().flatten() {
            let text = match value {
                Json::Null => "none".to_string(),
                Json::String(s) => s.clone(),
                other => other.to_string(),
            };
            settings.push((name.clone(), text));
        }
    }
    settings
}

/// The tolerance that `golden/README.md` gives.
struct Tolerance {
    relative: f64,
    absolute: f64,
}

/// The worst |got − reference| / (relative·|reference| + absolute·scale), and where.
fn worst(got: &[f64], want: &ArrayD<f64>, least_scale: f64, tolerance: &Tolerance) -> f64 {
    let scale = want.iter().filter(|x| x.is_finite()).fold(least_scale, |m, x| m.max(x.abs()));
    let error = |(got, want): (&f64, &f64)| match (got.is_nan(), want.is_nan()) {
        (true, true) => 0.0,
        _ if got == want => 0.0,
        _ => (got - want).abs() / (tolerance.relative * want.abs() + tolerance.absolute * scale),
    };
    got.iter().zip(want).map(error).fold(0.0, |m: f64, e| if e.is_nan() { f64::INFINITY } else { m.max(e) })
}

struct Case<'a> {
    id: &'a str,
    json: &'a Json,
    file: &'a SafeTensors<'a>,
    inputs: Vec<(&'a str, Array)>,
    /// How many elements are averaged into one.
    averaged: f64,
}

impl<'a> Case<'a> {
    fn new(json: &'a Json, file: &'a SafeTensors<'a>) -> Self {
        let id = json["id"].as_str().unwrap();
        let names = json["inputs"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap());
        let inputs: Vec<_> = names.map(|n| (n, array(file, &format!("{id}.{n}")).unwrap())).collect();
        let count = |shape: &Json| shape.as_array().map_or(1, |s| s.iter().map(|n| n.as_u64().unwrap()).product());
        let averaged = count(&json["inputs"][0]["shape"]) as f64 / (count(&json["output_shape"]) as f64).max(1.0);
        Self { id, json, file, inputs, averaged: averaged.max(1.0) }
    }

    fn views(&self) -> Vec<(&str, View<'_>)> {
        self.inputs.iter().map(|(n, a)| (*n, a.view())).collect()
    }

    fn specs(&self) -> Vec<Spec> {
        self.views().iter().map(|(n, v)| Spec::new(n, v.dtype(), v.shape())).collect()
    }

    fn wrt(&self) -> Vec<&str> {
        let inputs = self.json["inputs"].as_array().unwrap().iter();
        inputs.filter(|i| i["differentiable"] == true).map(|i| i["name"].as_str().unwrap()).collect()
    }

    fn least_scale(&self, head: f64) -> f64 {
        let weight = self.json["params"]["weight"].as_f64().unwrap_or(1.0).abs();
        let sample = self.inputs.iter().find(|(n, _)| *n == "sample_weight");
        let sample = sample.map_or(1.0, |(_, a)| a.view().to_f64().into_iter().fold(0.0, |m: f64, x| m.max(x.abs())));
        weight * sample * head / self.averaged
    }

    /// Problems found with one block.
    fn check(&self, block: &HybridBlock<Box<dyn Loss>>, how: &str) -> Vec<String> {
        match self.json["dtype"].as_str() {
            Some("float32") => self.compare::<f32>(block, how, Tolerance { relative: 1e-5, absolute: 2e-6 }),
            _ => self.compare::<f64>(block, how, Tolerance { relative: 1e-10, absolute: 1e-12 }),
        }
    }

    fn compare<T: Real>(&self, block: &HybridBlock<Box<dyn Loss>>, how: &str, tolerance: Tolerance) -> Vec<String> {
        let (views, wrt) = (self.views(), self.wrt());
        let mut found = vec![];
        let mut note = |key: String, got: &ArrayD<T>, head: f64| {
            let Some(mut want) = reference(self.file, &format!("{}.ref.{key}", self.id)) else {
                return found.push(format!("{} {how} {key}: no reference", self.id));
            };
            // What is beyond the dtype's range is infinite in it.
            want.mapv_inplace(|x| if T::from_f64(x).to_f64().is_infinite() { T::from_f64(x).to_f64() } else { x });
            let values: Vec<f64> = got.iter().map(|x| x.to_f64()).collect();
            if got.shape() != want.shape() {
                found.push(format!("{} {how} {key}: shape {:?}, not {:?}", self.id, got.shape(), want.shape()));
            } else {
                let worst = worst(&values, &want, self.least_scale(head), &tolerance);
                if worst > 1.0 {
                    found.push(format!("{} {how} {key}: error {worst:.3e} of the tolerance", self.id));
                }
            }
        };
        let outcome = (|| {
            let both: ValueAndGrad<T> = block.value_and_grad(&views, &wrt)?;
            note("out".into(), &both.value, 1.0);
            both.grads.iter().for_each(|(name, grad)| note(format!("grad.{name}"), grad, 1.0));
            note("out".into(), &block.forward::<T>(&views)?, 1.0);
            let head = array(self.file, &format!("{}.head", self.id)).expect("a head");
            let most = head.view().to_f64().into_iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            for (name, grad) in block.backward::<T>(&views, head.view(), &wrt)? {
                note(format!("hgrad.{name}"), &grad, most);
            }
            Ok::<(), lossjit::Error>(())
        })();
        if let Err(error) = outcome {
            found.push(format!("{} {how}: {error}", self.id));
        }
        found
    }

    /// By array recorded in f32: the largest error of ours and of MXNet's, relative to the scale of the array, and that
    /// of the reference itself, rounded to f32.
    fn beside_mxnet(&self, block: &HybridBlock<Box<dyn Loss>>) -> Vec<(String, [f64; 3])> {
        let quirks: Vec<&str> =
            self.json["mxnet_quirk_arrays"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let recorded: Vec<&str> = (self.json["max_scaled_error"].as_object().into_iter().flatten())
            .map(|(key, _)| key.as_str())
            .filter(|key| !quirks.contains(key))
            .collect();
        if self.json["dtype"] != "float32" || self.json["expect"] == "error" || recorded.is_empty() {
            return vec![];
        }
        let (views, wrt) = (self.views(), self.wrt());
        let found = block.value_and_grad::<f32>(&views, &wrt).unwrap();
        let head = array(self.file, &format!("{}.head", self.id)).expect("a head");
        let most = head.view().to_f64().into_iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let backward = block.backward::<f32>(&views, head.view(), &wrt).unwrap();
        let ours = |key: &str| match key.split_once('.') {
            Some(("grad", name)) => found.grad(name).cloned(),
            Some(("hgrad", name)) => backward.iter().find(|(n, _)| n == name).map(|(_, grad)| grad.clone()),
            _ => Some(found.value.clone()),
        };
        let mut rows = vec![];
        for key in recorded {
            let Some(want) = reference(self.file, &format!("{}.ref.{key}", self.id)) else { continue };
            let Some(Array::F32(theirs)) = array(self.file, &format!("{}.{key}", self.id)) else { continue };
            let Some(ours) = ours(key) else { continue };
            let head = if key.starts_with("hgrad") { most } else { 1.0 };
            let scale = want.iter().filter(|x| x.is_finite()).fold(self.least_scale(head), |m, x| m.max(x.abs()));
            let error =
                |x: f64, want: f64| if x == want || x.is_nan() && want.is_nan() { 0.0 } else { (x - want).abs() };
            let scale = scale.max(f64::MIN_POSITIVE);
            let worst = |errors: &mut dyn Iterator<Item = f64>| errors.fold(0.0, f64::max) / scale;
            let own = worst(&mut ours.iter().zip(&want).map(|(&x, &w)| error(f64::from(x), w)));
            let theirs = worst(&mut theirs.iter().zip(&want).map(|(&x, &w)| error(f64::from(x), w)));
            let rounding = worst(&mut want.iter().map(|&w| error(f64::from(w as f32), w)));
            rows.push((format!("{} {key}", self.id), [own, theirs, rounding]));
        }
        rows
    }

    /// A case that is to be refused: the message names the input and both shapes.
    fn refused(&self, block: &HybridBlock<Box<dyn Loss>>) -> Vec<String> {
        let views: &Inputs = &self.views();
        let outcome = match self.json["dtype"].as_str() {
            Some("float32") => block.forward::<f32>(views).map(|_| ()),
            _ => block.forward::<f64>(views).map(|_| ()),
        };
        match outcome {
            Ok(()) => vec![format!("{}: not refused", self.id)],
            Err(error) => {
                let message = error.to_string();
                let culprit = self.json["error"].as_str().unwrap().split(' ').next().unwrap();
                let shape = format!("{:?}", self.specs().iter().find(|s| s.name == culprit).unwrap().shape);
                let named = message.contains(culprit) && message.contains(&shape);
                if named { vec![] } else { vec![format!("{}: refused with {message:?}", self.id)] }
            }
        }
    }
}

/// A loss's cases, each with a block for it.
fn each_case(entry: &Entry, mut visit: impl FnMut(&Case, HybridBlock<Box<dyn Loss>>)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let manifest = std::fs::read_to_string(folder.join(format!("{}.json", entry.name))).unwrap();
    let manifest: Json = serde_json::from_str(&manifest).unwrap();
    let bytes = std::fs::read(folder.join(manifest["arrays"].as_str().unwrap())).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let cases = manifest["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for json in cases {
        visit(&Case::new(json, &file), HybridBlock::new((entry.build)(&settings(json)).unwrap()));
    }
}

fn check_loss(entry: &Entry) {
    let mut problems = vec![];
    each_case(entry, |case, block| {
        if case.json["expect"] == "error" {
            problems.extend(case.refused(&block));
        } else {
            problems.extend(case.check(&block, "interpreted"));
            problems.extend(case.check(&block.clone().hybridize(), "compiled"));
        }
    });
    assert!(problems.is_empty(), "{}: {} problems\n{}", entry.name, problems.len(), problems.join("\n"));
}

/// In f32 every result is as close to the reference as MXNet's: small problems are computed in f64 and rounded once.
#[test]
fn as_close_as_mxnet() {
    let mut farther = vec![];
    println!("largest errors, relative to the largest magnitude: ours, MXNet's");
    for entry in LOSSES {
        let (mut compared, mut closer, mut same, mut most) = (0, 0, 0, [0f64; 2]);
        each_case(entry, |case, block| {
            for (name, [ours, theirs, rounding]) in case.beside_mxnet(&block.hybridize()) {
                compared += 1;
                closer += usize::from(ours < theirs);
                same += usize::from(ours == theirs);
                most = [most[0].max(ours), most[1].max(theirs)];
                // A result that is 0 but for the roundings of f64 is rounded to what it is.
                if ours - theirs.max(rounding) > 4.0 * f64::EPSILON {
                    farther.push(format!("{} {name}: {ours:.2e}, MXNet {theirs:.2e}", entry.name));
                }
            }
        });
        let counts = format!("of {compared}, {closer} closer, {same} the same, {} farther", compared - closer - same);
        println!("{:30} {:8.1e} {:8.1e}   {counts}", entry.name, most[0], most[1]);
    }
    assert!(farther.is_empty(), "{} are farther:\n{}", farther.len(), farther.join("\n"));
}

macro_rules! golden {
    ($($test:ident $loss:literal;)*) => {
        $(#[test]
        fn $test() {
            check_loss(lossjit::losses::find($loss).unwrap());
        })*

        /// Every built-in loss has its recorded cases in this file.
        #[test]
        fn every_loss_is_here() {
            let here = [$($loss),*];
            assert!(LOSSES.iter().all(|e| here.contains(&e.name)) && here.len() == LOSSES.len());
        }
    };
}

golden! {
    l2 "L2Loss";
    l1 "L1Loss";
    sigmoid_binary_cross_entropy "SigmoidBinaryCrossEntropyLoss";
    softmax_cross_entropy "SoftmaxCrossEntropyLoss";
    kl_div "KLDivLoss";
    ctc "CTCLoss";
    huber "HuberLoss";
    hinge "HingeLoss";
    squared_hinge "SquaredHingeLoss";
    logistic "LogisticLoss";
    triplet "TripletLoss";
    poisson_nll "PoissonNLLLoss";
    cosine_embedding "CosineEmbeddingLoss";
    sdml "SDMLLoss";
}

//! What callers are told: one row a message. Every call here is refused both imperatively and compiled. `files` has the
//! messages about files; [`every_kind_of_error_has_a_row`] holds both against the kinds of errors that there are.

#[cfg(feature = "cli")]
#[path = "errors/files.rs"]
mod files;

use lossjit::ir::parse;
use lossjit::losses::*;
use lossjit::{HybridBlock, Loss, View, ViewMut, Wanted, inputs};
use ndarray::{Array1, Array2, Array3, array};

/// The message of a call, the same from the interpreter and the compiler.
fn refused<L: Loss + Clone>(loss: &L, inputs: &[(&str, View)], wrt: &[&str]) -> String {
    let told = |block: HybridBlock<L>| block.value_and_grad::<f32>(inputs, wrt).unwrap_err().to_string();
    let imperative = told(HybridBlock::new(loss.clone()));
    assert_eq!(told(HybridBlock::new(loss.clone()).hybridize()), imperative);
    imperative
}

macro_rules! assert_refused {
    ($loss:expr, {$($name:ident: $array:expr),*}, $wrt:expr, $message:expr) => {
        assert_eq!(refused(&$loss, &inputs! { $($name: &$array),* }, &$wrt), $message)
    };
}

fn zeros(rows: usize, columns: usize) -> Array2<f32> {
    Array2::zeros((rows, columns))
}

const NONE: [&str; 0] = [];

#[test]
fn names() {
    let x = zeros(2, 3);
    assert_refused!(L2Loss::new(), {pred: x}, NONE, "label: missing; l2 needs pred, label");
    assert_refused!(SoftmaxCELoss::new(), {pred: x}, NONE, "label: missing; softmax_cross_entropy needs pred, label");
    assert_refused!(L2Loss::new(), {pred: x, labels: x}, NONE, "label: missing; l2 needs pred, label; labels is given");
    assert_refused!(
        L2Loss::new(), {pred: x, label: x, wieght: x}, NONE,
        "wieght: unknown; l2 takes pred, label, sample_weight"
    );
    assert_refused!(L2Loss::new(), {pred: x, label: x, pred: x}, NONE, "pred: given twice");
    assert_refused!(
        L2Loss::new(), {pred: x, label: x}, ["sample_weight"],
        "sample_weight: has no gradient: it is not given; given are pred, label"
    );
    assert_refused!(
        SoftmaxCELoss::new(), {pred: x, label: array![0i32, 1]}, ["label"],
        "label: has no gradient: it holds class numbers"
    );
}

#[test]
fn shapes() {
    let x = zeros(4, 3);
    assert_refused!(
        L2Loss::new(), {pred: x, label: zeros(4, 2)}, NONE,
        "label: shape [4, 2] has 8 elements, but 12 are needed, for shape [4, 3]"
    );
    assert_refused!(
        L2Loss::new(), {pred: x, label: x, sample_weight: Array1::<f32>::zeros(4)}, NONE,
        "sample_weight: shape [4] does not broadcast to the loss's shape [4, 3] without enlarging it"
    );
    assert_refused!(
        L2Loss::new(), {pred: x, label: x, sample_weight: Array3::<f32>::zeros((2, 4, 3))}, NONE,
        "sample_weight: shape [2, 4, 3] does not broadcast to the loss's shape [4, 3] without enlarging it"
    );
    assert_refused!(
        SoftmaxCELoss::new(), {pred: x, label: array![0i32, 1]}, NONE,
        "label: axis n has 2 elements, but pred has 4"
    );
    assert_refused!(
        SoftmaxCELoss::new(), {pred: x, label: Array3::<i32>::zeros((4, 1, 1))}, NONE,
        "label: shape [4, 1, 1] has 3 dimensions, not 1 [n] or 2 [n 1]"
    );
    assert_refused!(
        L1Loss::new(), {pred: ndarray::arr0(1f32), label: ndarray::arr0(1f32)}, NONE,
        "pred: shape [] has 0 dimensions, not 1 or more"
    );
}

#[test]
fn shapes_of_pairs() {
    let x = zeros(4, 3);
    assert_refused!(
        CosineEmbeddingLoss::new(),
        {input1: x, input2: zeros(4, 2), label: array![1i32, 1, 1, 1]},
        NONE,
        "input2: shape [4, 2] does not fit: [4, 3] is needed, as in input1"
    );
    assert_refused!(
        CosineEmbeddingLoss::new(),
        {input1: x, input2: x, label: array![1i32, 1, 1]},
        NONE,
        "label: shape [3] has 3 elements, but 4 are needed, for shape [4]"
    );
    assert_refused!(SDMLLoss::new(), {x1: x, x2: zeros(3, 3)}, NONE, "x2: axis j has 3 elements, but x1 has 4");
    assert_refused!(SDMLLoss::new(), {x1: x, x2: zeros(4, 2)}, NONE, "x2: axis d has 2 elements, but x1 has 3");
    assert_refused!(KLDivLoss::new(), {pred: x, label: zeros(3, 4)}, NONE, "label: axis n has 3 elements, but pred has 4");
}

#[test]
fn axes() {
    let x = zeros(4, 3);
    assert_refused!(
        L2Loss::new().batch_axis(2), {pred: x, label: x}, NONE,
        "batch_axis = 2 is out of range for pred, which has 2 dimensions"
    );
    assert_refused!(
        SoftmaxCELoss::new().axis(-3), {pred: x, label: array![0i32, 1, 2, 0]}, NONE,
        "axis = -3 is out of range for pred, which has 2 dimensions"
    );
}

#[test]
fn dtypes() {
    let (x, y) = (zeros(2, 3), Array2::<f64>::zeros((2, 3)));
    assert_refused!(L2Loss::new(), {pred: x, label: y}, NONE, "label: dtype f64, but f32 as in pred is needed");
    assert_refused!(
        L2Loss::new(), {pred: Array2::<i32>::zeros((2, 3)), label: x}, NONE,
        "pred: dtype i32, but f32, f64, bf16 or f16 is needed"
    );
    assert_refused!(L2Loss::new(), {pred: y, label: y}, NONE, "result: dtype f32, but f64, the dtype of the inputs, is needed");
}

#[test]
fn classes() {
    let x = zeros(2, 3);
    let loss = SoftmaxCELoss::new();
    assert_refused!(loss, {pred: x, label: array![0i64, 3]}, NONE, "label: value 3 at [1] is out of range: 3 classes, 0 to 2");
    assert_refused!(loss, {pred: x, label: array![[-1i32], [0]]}, ["pred"], "label: value -1 at [0, 0] is out of range: 3 classes, 0 to 2");
    assert_refused!(loss, {pred: x, label: array![0f32, 0.5]}, NONE, "label: value 0.5 at [1] is not a whole number");
    assert_refused!(loss, {pred: x, label: array![f64::NAN, 0.0]}, NONE, "label: value NaN at [0] is not a whole number");
}

#[test]
fn parameters() {
    let x = zeros(2, 3);
    assert_refused!(HuberLoss::new().rho(0.0), {pred: x, label: x}, NONE, "huber: rho = 0: must be positive and finite");
    assert_refused!(HuberLoss::new().rho(f64::NAN), {pred: x, label: x}, NONE, "huber: rho = NaN: must be positive and finite");
    assert_refused!(
        L1Loss::new().weight(Some(f64::INFINITY)),
        {pred: x, label: x},
        NONE,
        "l1: weight = inf: must be finite"
    );
    assert_refused!(HingeLoss::new().margin(f64::NAN), {pred: x, label: x}, NONE, "hinge: margin = NaN: must be finite");
    assert_refused!(
        SDMLLoss::new().smoothing_parameter(1.0),
        {x1: x, x2: x},
        NONE,
        "sdml: smoothing_parameter = 1: must be 0 or more, and less than 1"
    );
}

/// A handle is for the buffers that it was compiled for, and says which one is not that.
#[test]
fn handles() {
    let (x, y) = (zeros(2, 3), zeros(3, 2));
    let block = HybridBlock::new(L2Loss::new()).hybridize();
    let handle = block.compile(&inputs! { pred: &x, label: &x }, &Wanted::value()).unwrap();
    let (mut out, mut long) = (Array1::<f32>::zeros(2), Array1::<f32>::zeros(3));
    let told = |inputs: &[(&str, View)], out: &mut Array1<f32>| {
        handle.run(inputs, &mut [ViewMut::from(out)]).unwrap_err().to_string()
    };
    assert_eq!(told(&inputs! { pred: &x }, &mut out), "label: missing; l2 needs pred, label");
    assert_eq!(told(&inputs! { pred: &x, label: &y }, &mut out), "label: shape [3, 2] does not fit: [2, 3] is needed");
    assert_eq!(
        told(&inputs! { pred: &x, label: &y.t() }, &mut out),
        "label: strides [1, 2], but this was compiled for [3, 1]"
    );
    assert_eq!(told(&inputs! { pred: &x, label: &x, head: &x }, &mut out), "head: unknown; l2 takes pred, label");
    assert_eq!(told(&inputs! { pred: &x, label: &x }, &mut long), "out: shape [3] does not fit: [2] is needed");
    let none = handle.run(&inputs! { pred: &x, label: &x }, &mut []).unwrap_err().to_string();
    assert_eq!(none, "outputs: 0 are given, but 1 are needed");
}

#[test]
fn heads() {
    let x = zeros(2, 3);
    let block = HybridBlock::new(L2Loss::new()).hybridize();
    let given = inputs! { pred: &x, label: &x };
    let told = |head: View| block.value_and_grad_with_head::<f32>(&given, head, &["pred"]).unwrap_err().to_string();
    assert_eq!(told(View::from(&x)), "head: shape [2, 3] does not fit: [2] is needed");
    assert_eq!(told(View::from(&Array1::<f64>::zeros(2))), "head: dtype f64, but f32 is needed");
}

#[test]
fn views() {
    let mut memory = [0f32; 6];
    let told =
        |shape: &[usize], strides: &[isize]| View::with_strides(&memory, shape, strides).unwrap_err().to_string();
    assert_eq!(told(&[2, 3], &[4, 1]), "view: shape [2, 3] with strides [4, 1] needs 7 elements, but the slice has 6");
    assert_eq!(told(&[2, 3], &[3]), "view: 1 strides for 2 dimensions");
    assert_eq!(told(&[2], &[-1]), "view: shape [2] with strides [-1] reaches 1 elements before the slice");
    let huge = View::new(&memory, &[usize::MAX, 2]).unwrap_err().to_string();
    assert_eq!(huge, format!("view: shape [{}, 2] has more elements than memory has room for", usize::MAX));
    let overlapping = ViewMut::with_strides(&mut memory, &[2, 3], &[1, 1]).unwrap_err().to_string();
    assert_eq!(overlapping, "view: strides [1, 1] put two elements of shape [2, 3] in one place");
}

#[test]
fn lengths_and_labels_of_sequences() {
    let pred = Array3::<f32>::zeros((2, 4, 3));
    let label = array![[0i32, 1], [1, 0]];
    let loss = CTCLoss::new();
    assert_refused!(
        loss, {pred: pred, label: label, pred_lengths: array![1i32, 5]}, ["pred"],
        "pred_lengths: value 5 at [1] is out of range: 0 to 4"
    );
    assert_refused!(
        loss, {pred: pred, label: label, label_lengths: array![-1i64, 1]}, ["pred"],
        "label_lengths: value -1 at [0] is out of range: 0 to 2"
    );
    assert_refused!(
        loss, {pred: pred, label: label, label_lengths: array![1f32, 0.5]}, NONE,
        "label_lengths: value 0.5 at [1] is not a whole number"
    );
    assert_refused!(
        loss, {pred: pred, label: array![[0i32, 1], [1, 2]]}, NONE,
        "label: value 2 at [1, 1] is no label: there are 3 classes, and 2 is the blank"
    );
    assert_refused!(
        loss.clone().blank(Blank::Class(3)), {pred: pred, label: label}, NONE,
        "ctc: blank = 3: is out of range: 3 classes, 0 to 2"
    );
    assert_refused!(
        loss, {pred: Array3::<f32>::zeros((2, 4, 0)), label: label}, NONE,
        "pred: shape [2, 4, 0] has no classes, but the blank is one"
    );
}

/// A declaration that makes no sense is told to who wrote it.
#[test]
fn declarations() {
    struct Unknown;
    impl Loss for Unknown {
        fn name(&self) -> &str {
            "unknown"
        }

        fn declare<'t>(&self, t: &'t lossjit::Tracer) -> lossjit::Result<lossjit::Expr<'t>> {
            let [n, c] = t.axes(["n", "c"])?;
            Ok(t.float("x", &[n])? * t.index(c).to_float())
        }
    }
    let told = HybridBlock::new(Unknown).forward::<f32>(&inputs! { x: &Array1::<f32>::zeros(2) }).unwrap_err();
    assert_eq!(told.to_string(), "unknown: axis c belongs to no input");
    let graph = parse("graph g(x[n]: float, y[m]: float)\n%0[m]: float = read x @m\nout[m] = %0\n").unwrap();
    let extents = [3, 4];
    let layout = lossjit::nest::Layout::row_major(&graph, &extents);
    let told = lossjit::nest::schedule(&graph, &extents, &layout).unwrap_err().to_string();
    assert_eq!(told, "g: x is read along n, which has 3 elements, by m, which has 4");
}

#[test]
fn graph_texts() {
    let rows = [
        ("", "graph text, line 1: empty"),
        ("graph g", "graph text, line 1: expected `(`"),
        ("graph g(x[n]: string)\n", "graph text, line 1: `string` is no kind; float, int and bool are"),
        ("graph g(x[n]: float)\n", "graph text, line 1: no output"),
        ("graph g(x[n]: float)\n%0[n]: float = read y @n\n", "graph text, line 2: `y` is no buffer and no number"),
        ("graph g(x[n]: float)\n%0[n]: float = cube x\n", "graph text, line 2: `cube` is no op"),
        (
            "graph g(x[n]: float)\n%0: float = read x @n\n",
            "graph text, line 2: %0 is stated as []: float, but is [n]: float",
        ),
        ("graph g(x[n]: float)\nout[n] = %3\n", "graph text, line 2: %3 is not known yet"),
        ("graph g(x[n]: float)\nout[m] = 1.0\n", "graph text, line 2: axis m is unknown"),
    ];
    for (text, message) in rows {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

/// What the machine lacks, and what the switch of levels does not know.
#[test]
#[cfg(feature = "cli")]
fn machines() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lossjit"));
    command.args(["check", "L2Loss", "--input", "pred=f32[2,3]", "--input", "label=f32[2,3]"]);
    let output = command.env("LOSSJIT_LEVEL", "avx1024").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).trim(),
        "error: this machine is not supported: LOSSJIT_LEVEL: unknown level `avx1024`; known are baseline, avx2, avx512, neon"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn memory() {
    let one = [1f32];
    let vast = || View::with_strides(&one, &[1 << 20, 1 << 33], &[0, 0]).unwrap();
    let given = [("pred", vast()), ("label", vast())];
    let told = |block: HybridBlock<L2Loss>| block.forward::<f32>(&given).unwrap_err().to_string();
    assert_eq!(told(HybridBlock::new(L2Loss::new()).hybridize()), "l2: axis i is too long for f32");
    assert_eq!(
        told(HybridBlock::new(L2Loss::new())),
        "pred: shape [1048576, 8589934592] needs more memory than there is"
    );
}

/// The templates of messages in a source: what stands in `#[error("…")]`, cut at its holes.
fn templates(source: &str) -> Vec<Vec<String>> {
    let cut = |text: &str| -> Vec<String> {
        let text = &text[..text.find("\")]").or(text.find("\", ")).expect("an end")];
        text.split(['{', '}']).step_by(2).map(|s| s.replace("\\\"", "\"")).collect()
    };
    source.split("#[error(\"").skip(1).map(cut).collect()
}

/// Whether a text says what a template says, whatever is in its holes.
fn is_of(text: &str, template: &[String]) -> bool {
    let mut rest = text;
    template.iter().all(|piece| match rest.find(piece.as_str()) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

#[test]
fn every_kind_of_error_has_a_row() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let rows = read("tests/errors.rs") + &read("tests/errors/files.rs");
    let rows: Vec<&str> = rows.lines().filter(|l| l.contains('"')).collect();
    let (core, files) = (templates(&read("src/error.rs")), templates(&read("src/cli/files/error.rs")));
    assert!(core.len() > 15 && files.len() > 14, "{} and {}", core.len(), files.len());
    // Faults of the compiler are not to be had by any call.
    let ours = |template: &&Vec<String>| template[0] != "internal error in ";
    for template in core.iter().chain(&files).filter(ours) {
        let said = rows.iter().any(|row| is_of(&row.replace("\\\"", "\""), template));
        assert!(said, "no row for {template:?}");
    }
}

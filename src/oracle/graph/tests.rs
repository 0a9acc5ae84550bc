use super::*;
use crate::ir::parse;
use ndarray::{ArrayD, arr0, array};
use std::f64::consts::LN_2;

const INF: f64 = f64::INFINITY;

fn floats(shape: &[usize], values: &[f64]) -> Buffer {
    Buffer::Float(ArrayD::from_shape_vec(shape, values.to_vec()).unwrap())
}

fn ints(shape: &[usize], values: &[i64]) -> Buffer {
    Buffer::Int(ArrayD::from_shape_vec(shape, values.to_vec()).unwrap())
}

fn run(text: &str, extents: &[usize], inputs: &[Buffer]) -> Result<Vec<ArrayD<f64>>> {
    evaluate(&parse(text).unwrap(), extents, inputs)
}

/// One pointwise op on a row.
fn unary(op: &str, x: &[f64]) -> Vec<f64> {
    let text = format!("graph t(x[i]: float)\n%0[i]: float = read x @i\n%1[i]: float = {op} %0\nout[i] = %1");
    run(&text, &[x.len()], &[floats(&[x.len()], x)]).unwrap().remove(0).into_raw_vec_and_offset().0
}

/// One pointwise op on every pair of two rows.
fn binary(op: &str, x: &[f64], y: &[f64]) -> ArrayD<f64> {
    let text = format!(
        "graph t(x[i]: float, y[j]: float)\n%0[i]: float = read x @i\n%1[j]: float = read y @j\n\
         %2[i j]: float = {op} %0 %1\nout[i j] = %2"
    );
    run(&text, &[x.len(), y.len()], &[floats(&[x.len()], x), floats(&[y.len()], y)]).unwrap().remove(0)
}

fn same(found: &[f64], wanted: &[f64]) {
    let equal = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
    assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(equal), "{found:?} is not {wanted:?}");
}

#[test]
fn pointwise_corners() {
    same(&unary("sign", &[-INF, -0.5, -0.0, 0.0, 3.0, f64::NAN]), &[-1.0, -1.0, 0.0, 0.0, 1.0, f64::NAN]);
    same(&unary("sigmoid", &[-INF, -800.0, 0.0, 800.0, INF, f64::NAN]), &[0.0, 0.0, 0.5, 1.0, 1.0, f64::NAN]);
    same(&unary("softplus", &[-INF, 0.0, 1e300, INF, f64::NAN]), &[0.0, LN_2, 1e300, INF, f64::NAN]);
    same(&unary("sigmoid", &[-700.0]), &[(-700f64).exp()]);
    same(&unary("log1p", &[1e-20]), &[1e-20]);
    same(&unary("expm1", &[1e-20]), &[1e-20]);
    same(&unary("log", &[0.0, -1.0, INF]), &[-INF, f64::NAN, INF]);
    let nan = f64::NAN;
    same(binary("max", &[1.0, nan], &[0.0, 2.0, nan]).as_slice().unwrap(), &[1.0, 2.0, nan, nan, nan, nan]);
    same(binary("min", &[1.0, nan], &[0.0, 2.0, nan]).as_slice().unwrap(), &[0.0, 1.0, nan, nan, nan, nan]);
    same(binary("div", &[1.0, 0.0], &[0.0, -INF]).as_slice().unwrap(), &[INF, -0.0, nan, -0.0]);
}

#[test]
fn comparisons_with_nan_are_false() {
    for (op, wanted) in [("lt", [1.0, 0.0, 0.0]), ("le", [1.0, 1.0, 0.0]), ("eq", [0.0, 1.0, 0.0])] {
        let text = format!(
            "graph t(x[i]: float)\n%0[i]: float = read x @i\n%1[i]: bool = {op} 1.0 %0\n\
             %2[i]: float = select %1 1.0 0.0\nout[i] = %2"
        );
        let found = run(&text, &[3], &[floats(&[3], &[2.0, 1.0, f64::NAN])]).unwrap();
        same(found[0].as_slice().unwrap(), &wanted);
    }
}

const FOLDS: &str = "graph t(x[n c]: float)
%0[n c]: float = read x @n @c
%1[n]: float = sum @c %0
%2[n]: float = amax @c %0
%3[n]: float = lse @c %0
sum[n] = %1
amax[n] = %2
lse[n] = %3";

#[test]
fn folds_and_their_corners() {
    let nan = f64::NAN;
    let x = [0.0, 0.0, -INF, -INF, INF, 1.0, nan, INF, -INF, 3.0, 1e4, 1e4];
    let found = run(FOLDS, &[6, 2], &[floats(&[6, 2], &x)]).unwrap();
    same(found[0].as_slice().unwrap(), &[0.0, -INF, INF, nan, -INF, 2e4]);
    same(found[1].as_slice().unwrap(), &[0.0, -INF, INF, nan, 3.0, 1e4]);
    same(found[2].as_slice().unwrap(), &[LN_2, -INF, INF, nan, 3.0, 1e4 + LN_2]);
}

#[test]
fn empty_axes() {
    let found = run(FOLDS, &[2, 0], &[floats(&[2, 0], &[])]).unwrap();
    assert_eq!(found, [array![0.0, 0.0].into_dyn(), array![-INF, -INF].into_dyn(), array![-INF, -INF].into_dyn()]);
    let found = run(FOLDS, &[0, 2], &[floats(&[0, 2], &[])]).unwrap();
    assert!(found.iter().all(|x| x.shape() == [0]));
    // What does not vary along an empty axis is added no times, not multiplied by 0.
    let text = "graph t(x[i]: float, y[]: float)\n%0: float = read y\n%1: float = sum @i %0\nout = %1";
    let found = run(text, &[0], &[floats(&[0], &[]), floats(&[], &[INF])]).unwrap();
    assert_eq!(found, [arr0(0.0).into_dyn()]);
    let found = run(text, &[3], &[floats(&[3], &[0.0; 3]), floats(&[], &[2.0])]).unwrap();
    assert_eq!(found, [arr0(6.0).into_dyn()]);
}

#[test]
fn sums_keep_small_parts() {
    let x = [1e16, 1.0, 1.0, -1e16];
    let text = "graph t(x[i]: float)\n%0[i]: float = read x @i\n%1: float = sum @i %0\nout = %1";
    assert_eq!(run(text, &[4], &[floats(&[4], &x)]).unwrap(), [arr0(2.0).into_dyn()]);
}

#[test]
fn axes_are_matched_by_name_and_outputs_permuted() {
    let text = "graph t(x[i j]: float, y[j]: float)
%0[i j]: float = read x @i @j
%1[j]: float = read y @j
%2[i j]: float = sub %0 %1
%3: int = size @i
%4: float = float %3
out[j i] = %2
diagonal[i] = %5
count[j] = %4";
    let text = text.replace("out[j i]", "%5[i]: float = read x @i @i\nout[j i]");
    let inputs = [floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), floats(&[2], &[10.0, 20.0])];
    let found = run(&text, &[2, 2], &inputs).unwrap();
    assert_eq!(found[0], array![[-9.0, -7.0], [-18.0, -16.0]].into_dyn());
    assert_eq!(found[1], array![1.0, 4.0].into_dyn());
    assert_eq!(found[2], array![2.0, 2.0].into_dyn());
}

#[test]
fn reads_may_transpose() {
    let text = "graph t(x[i j]: float) over i j k\n%0[i k]: float = read x @k @i\nout[i k] = %0";
    let found = run(text, &[2, 2, 2], &[floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0])]).unwrap();
    assert_eq!(found[0], array![[1.0, 3.0], [2.0, 4.0]].into_dyn());
}

const PICK: &str = "graph t(pred[n c]: float, label[n]: int)
%0[n]: int = read label @n
%1[n]: float = read pred @n %0
%2[n]: bool = eq %0 -1
%3[n]: float = select %2 0.0 %1
%4: float = sum @n %3
out = %4
each[n] = %3
raw[n] = %1";

/// The same without its last output.
fn masked_pick() -> String {
    PICK.replace("\nraw[n] = %1", "")
}

#[test]
fn computed_indices() {
    let pred = floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let found = run(PICK, &[3, 2], &[pred, ints(&[3], &[1, 0, 1])]).unwrap();
    assert_eq!(found[0], arr0(11.0).into_dyn());
    assert_eq!(found[1], array![2.0, 3.0, 6.0].into_dyn());
}

#[test]
fn an_index_outside_counts_only_where_it_shows() {
    let pred = floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let label = |n: usize, value: &str| Error::Label {
        input: "label".into(),
        position: vec![n],
        value: value.into(),
        classes: 2,
    };
    let found = run(&masked_pick(), &[3, 2], &[pred.clone(), ints(&[3], &[1, -1, 1])]).unwrap();
    assert_eq!(found[1], array![2.0, 0.0, 6.0].into_dyn());
    let found = run(PICK, &[3, 2], &[pred.clone(), ints(&[3], &[1, -1, 1])]);
    assert_eq!(found, Err(label(1, "-1")));
    let found = run(&masked_pick(), &[3, 2], &[pred.clone(), ints(&[3], &[-1, 7, 2])]);
    assert_eq!(found, Err(label(1, "7")));
    // No class at all: every index is outside.
    let empty = floats(&[1, 0], &[]);
    let found = run(&masked_pick(), &[1, 0], &[empty, ints(&[1], &[0])]);
    assert!(matches!(found, Err(Error::Label { classes: 0, .. })), "{found:?}");
}

#[test]
fn a_fault_is_told_by_where_the_label_was_read() {
    // label[i, n] is read transposed and moved by 1; the read is over a third axis too.
    let text = "graph t(label[i n]: int, pred[c k]: float)
%0[i n]: int = read label @i @n
%1[i n]: int = sub %0 1
%2[i n k]: float = read pred %1 @k
%3[i n]: float = sum @k %2
out[n i] = %3";
    let pred = floats(&[3, 1], &[1.0, 2.0, 3.0]);
    let found = run(text, &[2, 2, 3, 1], &[ints(&[2, 2], &[1, 2, 0, 9]), pred]);
    let wanted = Error::Label { input: "label".into(), position: vec![1, 0], value: "-1".into(), classes: 3 };
    assert_eq!(found, Err(wanted));
    // A label of a label: the inner fault is the one told.
    let text = "graph t(order[n]: int, label[m]: int, pred[c]: float)
%0[n]: int = read order @n
%1[n]: int = read label %0
%2[n]: float = read pred %1
out[n] = %2";
    let inputs = |order: &[i64]| [ints(&[2], order), ints(&[2], &[5, 1]), floats(&[2], &[10.0, 20.0])];
    assert_eq!(run(text, &[2, 2, 2], &inputs(&[1, 1])).unwrap()[0], array![20.0, 20.0].into_dyn());
    let found = run(text, &[2, 2, 2], &inputs(&[1, 3]));
    assert_eq!(found, Err(Error::Label { input: "order".into(), position: vec![1], value: "3".into(), classes: 2 }));
    let found = run(text, &[2, 2, 2], &inputs(&[1, 0]));
    assert_eq!(found, Err(Error::Label { input: "label".into(), position: vec![0], value: "5".into(), classes: 2 }));
}

#[test]
fn inputs_that_do_not_fit() {
    let pred = floats(&[3, 2], &[0.0; 6]);
    let message = |found: Result<Vec<ArrayD<f64>>>| found.unwrap_err().to_string();
    let found = run(PICK, &[3, 2], std::slice::from_ref(&pred));
    assert_eq!(message(found), "label: missing; t needs pred, label");
    let found = run(PICK, &[3, 2], &[pred.clone(), ints(&[4], &[0; 4])]);
    assert_eq!(message(found), "label: axis n has 4 elements, but the graph has 3");
    let found = run(PICK, &[3, 2], &[pred.clone(), floats(&[3], &[0.0; 3])]);
    assert_eq!(message(found), "label: dtype float, but int is needed");
    let found = run(PICK, &[3, 2], &[pred, ints(&[3, 1], &[0; 3])]);
    assert_eq!(message(found), "label: shape [3, 1] has 2 dimensions, not 1");
}

#[test]
fn too_many_elements_are_refused() {
    let text = "graph t(x[i]: float, y[j]: float)\n%0[i]: float = read x @i\n%1[j]: float = read y @j\n\
                %2[i j]: float = mul %0 %1\n%3[i]: float = sum @j %2\nout[i] = %3";
    let n = 1 << 17;
    let found = run(text, &[n, n], &[floats(&[n], &vec![0.0; n]), floats(&[n], &vec![0.0; n])]);
    assert!(found.unwrap_err().to_string().contains("more than 2147483648 elements"));
}

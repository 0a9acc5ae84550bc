//! Which axes are one: those that follow each other in all memory, and mean nothing else.

use lossjit::ir::parse;
use lossjit::losses::{L2Loss, SoftmaxCELoss};
use lossjit::nest::{Layout, collapse};
use lossjit::{HybridBlock, View, inputs};
use ndarray::Array;

/// The extents of a graph's axes, collapsed, for buffers in row-major memory but where strides are given for the first input.
fn collapsed(text: &str, extents: &[usize], first: Option<&[isize]>) -> Vec<usize> {
    let graph = parse(text).unwrap();
    let mut layout = Layout::row_major(&graph, extents);
    if let Some(strides) = first {
        layout.inputs[0] = strides.to_vec();
    }
    collapse(&graph, extents, &layout).unwrap().1
}

/// The squares of an image for each row.
const SQUARES: &str = "graph g(x[n i j]: float)
%0[n i j]: float = read x @n @i @j
%1[n i j]: float = mul %0 %0
%2[n i]: float = sum @j %1
%3[n]: float = sum @i %2
out[n] = %3
";

#[test]
fn rows_of_images_are_rows() {
    assert_eq!(collapsed(SQUARES, &[5, 3, 4], None), [5, 1, 12]);
    assert_eq!(collapsed(SQUARES, &[5, 1, 4], None), [5, 1, 4]);
    assert_eq!(collapsed(SQUARES, &[5, 0, 4], None), [5, 0, 4]);
    let more = "graph g(x[n i k j]: float)\n%0[n i k j]: float = read x @n @i @k @j\n%1[n i k]: float = sum @j %0
%2[n i]: float = sum @k %1\n%3[n]: float = sum @i %2\nout[n] = %3\n";
    assert_eq!(collapsed(more, &[5, 3, 1, 4], None), [5, 1, 1, 12], "beside an axis of one element");
    assert_eq!(collapsed(more, &[5, 3, 2, 4], None), [5, 1, 1, 24]);
    let all = SQUARES
        .replace("out[n] = %3", "%4: float = sum @n %3\nout[one] = %4")
        .replace("float)", "float) over n i j one");
    assert_eq!(collapsed(&all, &[5, 3, 4, 1], None), [1, 1, 60, 1]);
    let elements =
        "graph g(x[n i j]: float)\n%0[n i j]: float = read x @n @i @j\n%1[n i j]: float = exp %0\nout[n i j] = %1\n";
    assert_eq!(collapsed(elements, &[5, 3, 4], None), [1, 1, 60]);
}

#[test]
fn memory_decides() {
    let of = |strides: &[isize]| collapsed(SQUARES, &[5, 3, 4], Some(strides));
    assert_eq!(of(&[12, 4, 1]), [5, 1, 12]);
    assert_eq!(of(&[1000, 4, 1]), [5, 1, 12], "rows apart");
    assert_eq!(of(&[12, -4, -1]), [5, 1, 12], "backwards");
    assert_eq!(of(&[24, 8, 2]), [5, 1, 12], "every second element");
    assert_eq!(of(&[0, 0, 0]), [5, 1, 12], "one element for all");
    assert_eq!(of(&[15, 5, 1]), [5, 3, 4], "lines apart");
    assert_eq!(of(&[12, 1, 3]), [5, 3, 4], "columns first");
    assert_eq!(of(&[4, 0, 1]), [5, 3, 4], "one line for all");
    assert_eq!(of(&[12, -4, 1]), [5, 3, 4], "lines backwards");
}

/// An index has to fit into 32 bits.
#[test]
fn axes_stay_countable() {
    let (rows, columns) = (1 << 16, 1 << 15);
    assert_eq!(collapsed(SQUARES, &[2, rows, columns], None), [2, rows, columns]);
    assert_eq!(collapsed(SQUARES, &[2, rows, columns - 1], None), [2, 1, rows * (columns - 1)]);
}

#[test]
fn what_tells_axes_apart_keeps_them() {
    let head = "graph g(x[n i j]: float, w[j]: float)\n%0[n i j]: float = read x @n @i @j\n";
    let with = |rest: &str| collapsed(&format!("{head}{rest}"), &[5, 3, 4], None);
    let folds = "%3[n i]: float = sum @j %2\n%4[n]: float = sum @i %3\nout[n] = %4\n";
    let weight = format!("%1[j]: float = read w @j\n%2[n i j]: float = mul %0 %1\n{folds}");
    assert_eq!(with(&weight), [5, 3, 4], "a weight for each column");
    let head = "graph g(x[n i j]: float)\n%0[n i j]: float = read x @n @i @j\n";
    let with = |rest: &str| collapsed(&format!("{head}{rest}"), &[5, 3, 4], None);
    let index = format!("%1[j]: float = float @j\n%2[n i j]: float = mul %0 %1\n{folds}");
    assert_eq!(with(&index), [5, 3, 4], "the index of a column");
    let between = "%1[n i]: float = sum @j %0\n%2[n i]: float = exp %1\n%3[n]: float = sum @i %2\nout[n] = %3\n";
    assert_eq!(with(between), [5, 3, 4], "something between the folds");
    let other = "%1[n i]: float = amax @j %0\n%2[n]: float = sum @i %1\nout[n] = %2\n";
    assert_eq!(with(other), [5, 3, 4], "folds of two kinds");
    let twice = "%1[n i]: float = sum @j %0\n%2[n]: float = sum @i %1\nout[n] = %2\nlines[n i] = %1\n";
    assert_eq!(with(twice), [5, 3, 4], "the sums of lines are wanted too");
    let across = "%1[n j]: float = sum @i %0\n%2[n]: float = sum @j %1\nout[n] = %2\n";
    assert_eq!(with(across), [5, 3, 4], "columns are added up first");
    let turned = format!("%2[n i j]: float = mul %0 %0\n{folds}squares[n j i] = %2\n");
    assert_eq!(with(&turned), [5, 3, 4], "an output with its axes the other way round");
    let shifted = "graph g(x[n i j]: float, k[n]: int)\n%0[n]: int = read k @n\n%1[n i]: float = read x @n @i %0\n%2[n]: float = sum @i %1\nout[n] = %2\n";
    assert_eq!(collapsed(shifted, &[5, 3, 4], None), [5, 3, 4], "one column, chosen by data");
}

/// The error names the place in the array as it was given, not along the one axis of the loops.
#[test]
fn wrong_classes_are_found_in_images() {
    let pred = Array::<f32, _>::zeros((2, 5, 3, 4));
    let mut label = Array::<i32, _>::zeros((2, 3, 4));
    label[[1, 2, 3]] = 5;
    let block = HybridBlock::new(SoftmaxCELoss::new().axis(1)).hybridize();
    let told = block.forward::<f32>(&inputs! { pred: &pred, label: &label }).unwrap_err().to_string();
    let declared = HybridBlock::new(SoftmaxCELoss::new().axis(1));
    let wanted = declared.forward::<f32>(&inputs! { pred: &pred, label: &label }).unwrap_err().to_string();
    assert!(told.contains("[1, 2, 3]") && told == wanted, "{told}");
}

/// The same numbers from images in one piece, in lines apart, and as declared.
#[test]
fn results_stay() {
    let mut random = fastrand::Rng::with_seed(3);
    let wide = Array::from_shape_simple_fn((7, 5, 40), || random.f32() - 0.5);
    let apart = wide.slice(ndarray::s![.., .., ..33]).into_dyn();
    let whole = apart.to_owned();
    let zeros = Array::<f32, _>::zeros(whole.raw_dim());
    let run = |pred: View, block: &HybridBlock<L2Loss>| {
        let found = block.value_and_grad::<f32>(&[("pred", pred), ("label", View::from(&zeros))], &["pred"]).unwrap();
        (found.value.clone(), found.grad("pred").unwrap().clone())
    };
    let (compiled, declared) = (HybridBlock::new(L2Loss::new()).hybridize(), HybridBlock::new(L2Loss::new()));
    let wanted = run(View::from(&whole), &declared);
    for view in [View::from(&whole), View::from(&apart)] {
        let (value, grad) = run(view, &compiled);
        assert!(value.iter().zip(&wanted.0).all(|(a, b)| (a - b).abs() <= 1e-7), "{value}");
        assert!(grad.iter().zip(&wanted.1).all(|(a, b)| (a - b).abs() <= 1e-9), "{grad}");
    }
}

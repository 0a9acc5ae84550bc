//! Blocks and compiled handles: memory layouts, labels' dtypes, threads, the cache, empty arrays.

use lossjit::losses::*;
use lossjit::{Compiled, Error, HybridBlock, View, ViewMut, Wanted, inputs};
use ndarray::{Array1, Array2, ArrayD, Axis, ShapeBuilder, array, s};
use std::thread;

fn logits(rows: usize, classes: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, classes), |(i, j)| ((i * 31 + j * 17) % 23) as f32 * 0.37 - 4.0)
}

fn labels(rows: usize, classes: usize) -> Array1<i32> {
    Array1::from_shape_fn(rows, |i| (i * 7 % classes) as i32)
}

/// Which memory an array is in does not show in the result, down to its bits.
#[test]
fn layouts_of_memory() {
    let (rows, classes) = (6, 37);
    let plain = logits(rows, classes);
    let label = labels(rows, classes);
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let wanted = block.value_and_grad::<f32>(&inputs! { pred: &plain, label: &label }, &["pred"]).unwrap();

    let mut columns = Array2::zeros((rows, classes).f());
    columns.assign(&plain);
    let mut spread = Array2::zeros((2 * rows, 3 * classes));
    spread.slice_mut(s![..;2, ..;3]).assign(&plain);
    let mut mirrored = Array2::zeros((rows, classes));
    mirrored.slice_mut(s![..;-1, ..;-1]).assign(&plain);
    let views = [columns.view(), spread.slice(s![..;2, ..;3]), mirrored.slice(s![..;-1, ..;-1])];
    for view in views {
        let strides = view.strides().to_vec();
        let found = block.value_and_grad::<f32>(&inputs! { pred: &view, label: &label }, &["pred"]).unwrap();
        let error = (&found.value - &wanted.value).mapv(f32::abs).into_iter().fold(0f32, f32::max);
        assert!(error <= 4e-7 * 8.0, "strides {strides:?}: {error}");
        let error = (found.grad("pred").unwrap() - wanted.grad("pred").unwrap()).mapv(f32::abs);
        assert!(error.into_iter().all(|e| e <= 2e-7), "strides {strides:?}");
    }
}

/// A row that is broadcast by a stride of zero is an input like any other.
#[test]
fn broadcast_views() {
    let row = array![1f64, 2.0, 4.0];
    let pred = row.broadcast((2, 3)).unwrap();
    let label = Array2::<f64>::zeros((2, 3));
    let block = HybridBlock::new(L2Loss::new()).hybridize();
    let found = block.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
    assert_eq!(found.value, array![3.5, 3.5].into_dyn());
    assert_eq!(found.grad("pred").unwrap().shape(), [2, 3]);
}

/// Gradients may be written to any rows that do not overlap; what lies between them stays.
#[test]
fn outputs_with_strides() {
    let (pred, label) = (logits(4, 5), labels(4, 5));
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let given = inputs! { pred: &pred, label: &label };
    let wanted = block.value_and_grad::<f32>(&given, &["pred"]).unwrap();
    let mut out = Array1::from_elem(8, f32::NAN);
    let mut grad = Array2::from_elem((9, 5), f32::NAN);
    let (mut out_view, mut grad_view) = (out.slice_mut(s![..;2]), grad.slice_mut(s![1..;2, ..]));
    block.value_and_grad_into(&given, ViewMut::from(&mut out_view), [("pred", ViewMut::from(&mut grad_view))]).unwrap();
    assert_eq!(out.slice(s![..;2]).into_dyn(), wanted.value);
    assert_eq!(grad.slice(s![1..;2, ..]).into_dyn(), *wanted.grad("pred").unwrap());
    assert!(out.slice(s![1..;2]).iter().chain(grad.slice(s![..;2, ..]).iter()).all(|x| x.is_nan()));
}

#[test]
fn labels_of_every_dtype() {
    let pred = logits(3, 4);
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let run = |label: View| block.value_and_grad::<f32>(&[("pred", View::from(&pred)), ("label", label)], &["pred"]);
    let wanted = run(View::from(&array![3i32, 0, 2])).unwrap();
    assert_eq!(run(View::from(&array![3i64, 0, 2])).unwrap(), wanted);
    assert_eq!(run(View::from(&array![3u8, 0, 2])).unwrap(), wanted);
    assert_eq!(run(View::from(&array![3u32, 0, 2])).unwrap(), wanted);
    assert_eq!(run(View::from(&array![3f32, 0.0, 2.0])).unwrap(), wanted);
    assert_eq!(run(View::from(&array![3f64, 0.0, 2.0])).unwrap(), wanted);
}

/// Slices are enough: no array type is needed.
#[test]
fn slices() {
    let (pred, label) = ([1f32, 2.0, 3.0, 4.0], [0f32; 4]);
    let given = [("pred", View::new(&pred, &[2, 2]).unwrap()), ("label", View::new(&label, &[2, 2]).unwrap())];
    let mut out = [0f32; 2];
    let block = HybridBlock::new(L2Loss::new()).hybridize();
    block.forward_into(&given, ViewMut::new(&mut out, &[2]).unwrap()).unwrap();
    assert_eq!(out, [1.25, 6.25]);
}

/// Views become ndarray views of the same memory again: backwards, broadcast, empty or plain.
#[test]
fn views_are_arrays() {
    let mut plain = logits(4, 6);
    for view in [plain.view(), plain.slice(s![..;-1, 1..;2]), plain.slice(s![2..2, ..])] {
        let back = View::from(&view).to_array::<f32>().unwrap();
        assert_eq!((back.view(), back.strides()), (view.view().into_dyn(), view.strides()));
        assert_eq!(back.as_ptr(), view.as_ptr());
    }
    let row = array![1f32, 2.0];
    let wide = row.broadcast((3, 2)).unwrap();
    assert_eq!(View::from(&wide).to_array::<f32>().unwrap(), wide.into_dyn());
    let wanted = plain.slice(s![..;-1, ..]).mapv(|x| x + 1.0);
    let mut part = plain.slice_mut(s![..;-1, ..]);
    ViewMut::from(&mut part).into_array::<f32>().unwrap().mapv_inplace(|x| x + 1.0);
    assert_eq!(plain.slice(s![..;-1, ..]), wanted);
    let error = View::from(&row).to_array::<f64>().unwrap_err();
    assert_eq!(error.to_string(), "view: dtype f32, but f64 is needed");
}

#[test]
fn empty_arrays() {
    for block in [HybridBlock::new(SoftmaxCELoss::new()), HybridBlock::new(SoftmaxCELoss::new()).hybridize()] {
        let (pred, label) = (Array2::<f32>::zeros((0, 10)), Array1::<i32>::zeros(0));
        let found = block.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
        assert_eq!((found.value.shape(), found.grad("pred").unwrap().shape()), (&[0][..], &[0, 10][..]));
        // No class is a class of nothing.
        let (pred, label) = (Array2::<f32>::zeros((2, 0)), Array1::<i32>::zeros(2));
        let error = block.forward::<f32>(&inputs! { pred: &pred, label: &label }).unwrap_err();
        assert!(matches!(error, Error::Label { classes: 0, .. }), "{error}");
    }
    // The mean over no elements is 0 / 0.
    let (pred, label) = (Array2::<f64>::zeros((2, 0)), Array2::<f64>::zeros((2, 0)));
    let found = HybridBlock::new(L2Loss::new()).hybridize().forward::<f64>(&inputs! { pred: &pred, label: &label });
    assert!(found.unwrap().iter().all(|x| x.is_nan()));
}

/// Enough work that calls are cut among threads.
#[test]
fn any_number_of_threads() {
    let (pred, label) = (logits(251, 3001), labels(251, 3001));
    let given = inputs! { pred: &pred, label: &label };
    let run = |threads| {
        let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize().threads(threads);
        block.value_and_grad::<f32>(&given, &["pred"]).unwrap()
    };
    let wanted = run(1);
    for threads in [2, 3, 8] {
        assert_eq!(run(threads), wanted, "{threads} threads");
    }

    // The sum of the class weights, which no row changes, is made before the rows.
    let weight = Array1::from_shape_fn(3001, |c| (c % 5) as f32 * 0.5);
    let given = inputs! { pred: &pred, label: &label, class_weight: &weight };
    let run = |threads| {
        let loss = SoftmaxCELoss::new().label_smoothing(0.1).ignore_label(14);
        HybridBlock::new(loss).hybridize().threads(threads).value_and_grad::<f32>(&given, &["pred"]).unwrap()
    };
    let wanted = run(1);
    for threads in [2, 3, 8] {
        assert_eq!(run(threads), wanted, "{threads} threads");
    }
}

/// One handle, called by many threads at once, some of them rayon's own.
#[test]
fn one_handle_for_many_threads() {
    fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<Compiled>();
    is_shared::<HybridBlock<SoftmaxCELoss>>();

    let (pred, label) = (logits(64, 333), labels(64, 333));
    let given = inputs! { pred: &pred, label: &label };
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let wanted = block.value_and_grad::<f32>(&given, &["pred"]).unwrap();
    let handle = block.compile(&given, &Wanted::value_and_grad(&["pred"])).unwrap();
    let call = || {
        let (mut out, mut grad) = (ArrayD::<f32>::zeros(vec![64]), ArrayD::<f32>::zeros(vec![64, 333]));
        handle.run(&given, &mut [ViewMut::from(&mut out), ViewMut::from(&mut grad)]).unwrap();
        assert_eq!((&out, Some(&grad)), (&wanted.value, wanted.grad("pred")));
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| call()));
            scope.spawn(|| rayon::scope(|inner| (0..20).for_each(|_| inner.spawn(|_| call()))));
        }
    });
}

/// Threads that compile, evict and call through one small cache.
#[test]
fn one_block_for_many_threads() {
    let block = HybridBlock::new(L1Loss::new()).hybridize().cache_capacity(2);
    thread::scope(|scope| {
        for thread in 0..4 {
            let block = block.clone();
            scope.spawn(move || {
                for round in 0..12 {
                    let rows = 1 + (round + thread) % 5;
                    let (pred, label) = (Array2::<f64>::from_elem((rows, 3), 2.0), Array2::<f64>::zeros((rows, 3)));
                    let found = block.forward::<f64>(&inputs! { pred: &pred, label: &label }).unwrap();
                    assert_eq!(found, ArrayD::from_elem(vec![rows], 2.0));
                }
            });
        }
    });
    let statistics = block.cache_statistics();
    assert_eq!((statistics.entries, statistics.hits + statistics.misses), (2, 48));
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_used() {
    let block = HybridBlock::new(L1Loss::new()).hybridize().cache_capacity(3);
    let call = |rows: usize| {
        let zeros = Array2::<f32>::zeros((rows, 2));
        block.forward::<f32>(&inputs! { pred: &zeros, label: &zeros }).unwrap();
        let statistics = block.cache_statistics();
        (statistics.hits, statistics.misses, statistics.entries)
    };
    assert_eq!([1, 2, 3].map(call), [(0, 1, 1), (0, 2, 2), (0, 3, 3)]);
    assert_eq!([1, 4].map(call), [(1, 3, 3), (1, 4, 3)]);
    // 2 was used longest ago, 1 was not.
    assert_eq!([1, 3, 2].map(call), [(2, 4, 3), (3, 4, 3), (3, 5, 3)]);
}

/// Imperative and hybrid evaluation give the same numbers.
#[test]
fn imperative_and_hybrid() {
    let (pred, label) = (logits(5, 9).mapv(f64::from), labels(5, 9));
    let weight = array![0.5, 1.0, 2.0, 0.0, 3.0];
    let given = inputs! { pred: &pred, label: &label, sample_weight: &weight };
    let head = Array1::linspace(-1.0, 1.0, 5);
    let imperative = HybridBlock::new(SoftmaxCELoss::new());
    let hybrid = imperative.clone().hybridize();
    let run = |block: &HybridBlock<_>| {
        block.value_and_grad_with_head::<f64>(&given, View::from(&head), &["pred", "sample_weight"]).unwrap()
    };
    let (a, b) = (run(&imperative), run(&hybrid));
    let close =
        |a: &ArrayD<f64>, b: &ArrayD<f64>| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-14 * (1.0 + a.abs()));
    assert!(close(&a.value, &b.value));
    assert!(a.grads.iter().zip(&b.grads).all(|((_, a), (_, b))| close(a, b)));
    let backward = hybrid.backward::<f64>(&given, View::from(&head), &["pred", "sample_weight"]).unwrap();
    assert!(backward.iter().zip(&b.grads).all(|((_, a), (_, b))| close(a, b)));
    assert!(b.value.len_of(Axis(0)) == 5);
}

/// An array that shares its memory is copied before it is written, with other strides than it had.
#[test]
fn shared_arrays_as_outputs() {
    let shared = Array2::from_elem((10, 10), 7f32).into_shared();
    let mut grad = shared.clone();
    grad.slice_collapse(s![..2, ..2]);
    assert_eq!(grad.strides(), [10, 1]);
    let (pred, label) = (array![[1f32, 2.0], [3.0, 4.0]], Array2::<f32>::zeros((2, 2)));
    let (given, mut out) = (inputs! { pred: &pred, label: &label }, Array1::<f32>::zeros(2));
    let block = HybridBlock::new(L2Loss::new()).hybridize();
    block.value_and_grad_into(&given, ViewMut::from(&mut out), [("pred", ViewMut::from(&mut grad))]).unwrap();
    assert_eq!(grad, array![[0.5, 1.0], [1.5, 2.0]]);
    assert!(shared.iter().all(|&x| x == 7.0));
}

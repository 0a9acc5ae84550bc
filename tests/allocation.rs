//! The `*_into` forms and compiled handles allocate nothing, once they have been called on a thread.

use lossjit::losses::{SigmoidBCELoss, SoftmaxCELoss};
use lossjit::{HybridBlock, View, ViewMut, Wanted, inputs};
use ndarray::{Array1, Array2};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(mut call: impl FnMut()) -> usize {
    call();
    let before = ALLOCATIONS.get();
    (0..10).for_each(|_| call());
    ALLOCATIONS.get() - before
}

#[test]
fn nothing_is_allocated() {
    let (pred, label) = (Array2::<f32>::ones((64, 1000)), Array1::<i32>::ones(64));
    let inputs = inputs! { pred: &pred, label: &label };
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize().threads(1);
    let (mut out, mut grad) = (vec![0f32; 64], vec![0f32; 64000]);
    let count = allocations(|| block.forward_into(&inputs, ViewMut::new(&mut out, &[64]).unwrap()).unwrap());
    assert_eq!(count, 0, "forward_into");
    let count = allocations(|| {
        let grads = [("pred", ViewMut::new(&mut grad, &[64, 1000]).unwrap())];
        block.value_and_grad_into(&inputs, ViewMut::new(&mut out, &[64]).unwrap(), grads).unwrap();
    });
    assert_eq!(count, 0, "value_and_grad_into");
    let head = vec![2f32; 64];
    let count = allocations(|| {
        let grads = [("pred", ViewMut::new(&mut grad, &[64, 1000]).unwrap())];
        block.backward_into(&inputs, View::new(&head, &[64]).unwrap(), grads).unwrap();
    });
    assert_eq!(count, 0, "backward_into");
    assert!((grad[1] - 2.0 * (1.0 / 1000.0 - 1.0)).abs() < 1e-5);
}

#[test]
fn a_handle_allocates_nothing() {
    let (pred, label) = (Array2::<f64>::ones((8, 700)), Array2::<f64>::zeros((8, 700)));
    let inputs = inputs! { pred: &pred, label: &label };
    let block = HybridBlock::new(SigmoidBCELoss::new()).hybridize();
    let compiled = block.compile(&inputs, &Wanted::value_and_grad(&["pred"])).unwrap();
    let (mut out, mut grad) = (vec![0f64; 8], vec![0f64; 5600]);
    let count = allocations(|| {
        let outputs = &mut [ViewMut::new(&mut out, &[8]).unwrap(), ViewMut::new(&mut grad, &[8, 700]).unwrap()];
        compiled.run(&inputs, outputs).unwrap();
    });
    assert_eq!(count, 0);
    assert!((out[0] - 1f64.exp().ln_1p()).abs() < 1e-12);
}

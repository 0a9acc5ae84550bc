//! Many threads at once: compiling, evicting and calling the same blocks and handles, inside rayon and beside it, while
//! some declarations panic. Every result has the bits of the serial one, and all of it ends.

use lossjit::losses::{HuberLoss, SoftmaxCELoss};
use lossjit::{Compiled, Expr, HybridBlock, Loss, Result, Tracer, Wanted, inputs};
use ndarray::{Array1, Array2, ArrayD};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// More than the caches of the test hold.
const SHAPES: usize = 12;

type Bits = Vec<u32>;

fn bits(array: &ArrayD<f32>) -> Bits {
    array.iter().map(|x| x.to_bits()).collect()
}

/// Inputs for a shape; the last are large enough to be cut among threads.
struct Work {
    pred: Array2<f32>,
    dense: Array2<f32>,
    label: Array1<i32>,
}

impl Work {
    fn new(shape: usize) -> Self {
        let (rows, classes) = if shape + 2 < SHAPES { (shape + 1, 7 * shape + 3) } else { (150 + shape, 1501) };
        let number = |(i, j): (usize, usize)| ((i * 31 + j * 17 + shape) % 41) as f32 * 0.21 - 4.0;
        let pred = Array2::from_shape_fn((rows, classes), number);
        let dense = Array2::from_shape_fn((rows, classes), |(i, j)| number((j, i)));
        Self { pred, dense, label: Array1::from_shape_fn(rows, |i| (i * 7 % classes) as i32) }
    }
}

/// One call of a block, in one of the forms that share its cache.
fn call(softmax: &HybridBlock<SoftmaxCELoss>, huber: &HybridBlock<HuberLoss>, work: &Work, form: usize) -> Bits {
    let (sparse, pair) =
        (inputs! { pred: &work.pred, label: &work.label }, inputs! { pred: &work.pred, label: &work.dense });
    match form {
        0 => bits(&softmax.forward::<f32>(&sparse).unwrap()),
        1 => bits(softmax.value_and_grad::<f32>(&sparse, &["pred"]).unwrap().grad("pred").unwrap()),
        2 => bits(&huber.forward::<f32>(&pair).unwrap()),
        _ => bits(huber.value_and_grad::<f32>(&pair, &["label", "pred"]).unwrap().grad("label").unwrap()),
    }
}

const FORMS: usize = 4;

/// A loss whose author made a mistake that shows at some calls.
struct Panicking(AtomicUsize);

impl Loss for Panicking {
    fn name(&self) -> &str {
        "panicking"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let x = t.float("x", &[n, c])?;
        if self.0.fetch_add(1, Ordering::Relaxed) % 3 == 1 {
            panic!("the author's own mistake");
        }
        Ok((x * 2.0).sum(c))
    }
}

/// Runs for a bounded time; a deadlock is a failure and not a wait.
fn within(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    match wait.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still running after {limit:?}: a deadlock"),
        _ => thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)),
    }
}

#[test]
fn soak() {
    within(Duration::from_secs(240), || soak_for(Duration::from_secs(8)));
}

/// A longer run: `cargo test --release --test concurrency -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn long_soak() {
    within(Duration::from_secs(1200), || soak_for(Duration::from_secs(300)));
}

fn soak_for(duration: Duration) {
    let work: Vec<Work> = (0..SHAPES).map(Work::new).collect();
    let softmax = HybridBlock::new(SoftmaxCELoss::new()).hybridize().cache_capacity(3);
    let huber = HybridBlock::new(HuberLoss::new()).hybridize().cache_capacity(2);
    let serial: Vec<Vec<Bits>> = work
        .iter()
        .map(|work| {
            (0..FORMS).map(|form| call(&softmax.clone().threads(1), &huber.clone().threads(1), work, form)).collect()
        })
        .collect();
    let handle = |work: &Work| {
        let given = inputs! { pred: &work.pred, label: &work.label };
        softmax.compile(&given, &Wanted::value()).unwrap()
    };
    let handles: Vec<Compiled> = work.iter().map(handle).collect();
    let pools: Vec<rayon::ThreadPool> =
        [1, 2, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap()).into();
    let (calls, panics) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let panicking = HybridBlock::new(Panicking(AtomicUsize::new(0))).hybridize().cache_capacity(1);
    let end = Instant::now() + duration;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("the author's own mistake") {
            hook(info);
        }
    }));
    thread::scope(|scope| {
        for worker in 0..8u64 {
            let (work, serial, handles, pools) = (&work, &serial, &handles, &pools);
            let (softmax, huber, calls, panics, panicking) = (&softmax, &huber, &calls, &panics, &panicking);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(worker);
                while Instant::now() < end {
                    let (shape, form) = (rng.usize(..SHAPES), rng.usize(..FORMS));
                    let one = |shape: usize, form: usize| {
                        let found = call(softmax, huber, &work[shape], form);
                        assert!(
                            found == serial[shape][form],
                            "shape {shape}, form {form} differs from the serial call"
                        );
                        calls.fetch_add(1, Ordering::Relaxed);
                    };
                    match rng.u8(..6) {
                        0 | 1 => one(shape, form),
                        2 => pools[rng.usize(..pools.len())].install(|| one(shape, form)),
                        // Calls that are cut among threads, called from the threads of a pool.
                        3 => (0..4).into_par_iter().for_each(|i| one((shape + i) % SHAPES, form)),
                        4 => {
                            let work = &work[shape];
                            let given = inputs! { pred: &work.pred, label: &work.label };
                            let mut out = Array1::<f32>::zeros(work.pred.nrows());
                            handles[shape].clone().run(&given, &mut [(&mut out).into()]).unwrap();
                            assert!(bits(&out.into_dyn()) == serial[shape][0], "a handle differs");
                            calls.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => {
                            let x = Array2::<f32>::from_elem((1 + shape, 2), 0.5);
                            let call = || panicking.forward::<f32>(&inputs! { x: &x });
                            match catch_unwind(AssertUnwindSafe(call)) {
                                Ok(found) => assert!(found.unwrap().iter().all(|&y| y == 2.0)),
                                Err(_) => drop(panics.fetch_add(1, Ordering::Relaxed)),
                            }
                        }
                    }
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let (calls, panics) = (calls.into_inner(), panics.into_inner());
    println!("{calls} calls, {panics} panics of a declaration");
    assert!(calls > 50 && panics > 0, "{calls} calls, {panics} panics");
    assert!(softmax.cache_statistics().entries <= 3 && huber.cache_statistics().entries <= 2);
    for (work, serial) in work.iter().zip(&serial) {
        for (form, wanted) in serial.iter().enumerate() {
            assert!(call(&softmax, &huber, work, form) == *wanted, "after the soak");
        }
    }
}

/// A panic of a declaration reaches its caller as it is, and the block goes on.
#[test]
fn a_panic_is_the_callers() {
    let block = HybridBlock::new(Panicking(AtomicUsize::new(0))).hybridize();
    let (x, y) = (Array2::<f32>::ones((2, 3)), Array2::<f32>::ones((2, 4)));
    assert_eq!(block.forward::<f32>(&inputs! { x: &x }).unwrap()[[1]], 6.0);
    let caught = catch_unwind(AssertUnwindSafe(|| block.forward::<f32>(&inputs! { x: &y })));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"the author's own mistake"));
    assert_eq!(block.forward::<f32>(&inputs! { x: &x }).unwrap()[[0]], 6.0);
    assert_eq!(block.forward::<f32>(&inputs! { x: &y }).unwrap()[[0]], 8.0);
}

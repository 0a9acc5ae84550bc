//! Gradients larger than the caches, which are stored past them where their memory begins at a multiple of 16 bytes: the
//! same bits as in the caches, wherever they lie and whatever reads them next.

use lossjit::losses::*;
use lossjit::{HybridBlock, Loss, View, ViewMut};

/// Three arrays of so many rows are 48 MB, and a few rows less than one.
const ROWS: usize = 4096;
const COLUMNS: usize = 1024;

/// Room to begin a buffer at any element.
const SLACK: usize = 16;

fn noise(seed: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..ROWS * COLUMNS + SLACK).map(|_| rng.f32() * 4.0 - 2.0).collect()
}

/// The elements of `memory` from the so-manyth word of 4 bytes behind a multiple of 16 on.
fn placed(memory: &mut [f32], word: usize, count: usize) -> &mut [f32] {
    let aligned = memory.as_ptr().align_offset(16);
    &mut memory[aligned + word..][..count]
}

/// The gradient of the first rows, and the loss, as bits.
fn run(
    block: &HybridBlock<impl Loss + Clone>,
    names: [&str; 2],
    data: &[Vec<f32>; 2],
    rows: usize,
    word: usize,
) -> Vec<u32> {
    let shape = [rows, COLUMNS];
    let count = rows * COLUMNS;
    let given: Vec<(&str, View)> =
        names.iter().zip(data).map(|(name, data)| (*name, View::new(&data[..count], &shape).unwrap())).collect();
    let mut memory = vec![f32::NAN; count + 2 * SLACK];
    let mut out = vec![f32::NAN; rows];
    let grad = placed(&mut memory, word, count);
    let views = [(names[0], ViewMut::new(grad, &shape).unwrap())];
    block.value_and_grad_into(&given, ViewMut::new(&mut out, &[rows]).unwrap(), views).unwrap();
    let grad = placed(&mut memory, word, count);
    let bits = out.iter().chain(grad.iter()).map(|x| x.to_bits()).collect();
    let inside = memory.as_ptr().align_offset(16) + word..;
    let outside = memory.iter().enumerate().filter(|(i, _)| *i < inside.start || *i >= inside.start + count);
    assert!(outside.into_iter().all(|(_, x)| x.is_nan()), "written outside the gradient");
    bits
}

fn same_everywhere(loss: impl Loss + Clone, names: [&str; 2]) {
    let data = [noise(1), noise(2)];
    let few = 64;
    for threads in [1, 3] {
        let block = HybridBlock::new(loss.clone()).hybridize().threads(threads);
        let aligned = run(&block, names, &data, ROWS, 0);
        for word in [1, 4, 7] {
            assert!(run(&block, names, &data, ROWS, word) == aligned, "at word {word}");
        }
        // Rows do not depend on each other, and few of them stay in the caches.
        let small = run(&block, names, &data, few, 0);
        let (value, grad) = aligned.split_at(ROWS);
        assert!(small[..few] == value[..few] && small[few..] == grad[..few * COLUMNS]);
    }
}

#[test]
fn rows_have_the_same_bits_past_the_caches() {
    same_everywhere(L2Loss::new(), ["pred", "label"]);
    same_everywhere(HuberLoss::new(), ["pred", "label"]);
}

//! Both calls against their definition, in buffers that end with the last element that may be touched.

use super::lanes::Real;
use super::*;

/// Rows in memory, with a gap behind each but the last.
struct Held<T> {
    numbers: Vec<T>,
    stride: usize,
}

impl<T: Real + Into<f64>> Held<T> {
    fn new(count: usize, depth: usize, seed: u64) -> Self {
        let stride = depth + 3;
        Self { numbers: numbers((count * stride).saturating_sub(stride - depth), seed), stride }
    }

    fn rows(&mut self, count: usize) -> Rows {
        Rows { start: self.numbers.as_mut_ptr().cast(), stride: self.stride as isize, count }
    }

    fn at(&self, row: usize, d: usize) -> f64 {
        self.numbers[row * self.stride + d].into()
    }
}

fn numbers<T: Real>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::narrow((state >> 40) as f64 / f64::from(1 << 24) - 0.5)
    };
    (0..count).map(|_| next()).collect()
}

/// Numbers of pairs by rows, by columns, and with gaps everywhere.
fn layouts(n: usize, m: usize) -> [[usize; 2]; 3] {
    [[m, 1], [1, n], [2 * m + 1, 2]]
}

fn agree<T: Real + Into<f64>>([n, m, depth]: [usize; 3], term: Term, adds: bool, error: f64) {
    let (mut x, mut y) = (Held::<T>::new(n, depth, 1), Held::<T>::new(m, depth, 2));
    for strides in layouts(n, m) {
        let place = |i: usize, j: usize| i * strides[0] + j * strides[1];
        let matrix = |numbers: &mut [T]| Matrix {
            start: numbers.as_mut_ptr().cast(),
            strides: strides.map(|stride| stride as isize),
        };
        let mut weight: Vec<T> = numbers(if m == 0 { 0 } else { place(n - 1, m - 1) + 1 }, 3);
        let mut out = weight.clone();
        let mut spread = Held::<T>::new(n, depth, 4);
        let before: Vec<f64> = spread.numbers.iter().map(|&number| number.into()).collect();
        let pairs = Pairs { real: T::DTYPE, term, x: x.rows(n), y: y.rows(m), depth };
        // SAFETY: the buffers have the sizes that are told.
        unsafe {
            pairs.contract(matrix(&mut out));
            pairs.spread(matrix(&mut weight), spread.rows(n), -1.0, adds);
        }
        let pair = |at: usize| (0..n).any(|i| (0..m).any(|j| place(i, j) == at));
        let apart = (0..out.len()).filter(|_| strides[1] == 2).filter(|&at| !pair(at));
        apart.for_each(|at| assert_eq!(out[at].into(), weight[at].into(), "{n} {m} {depth} {term:?}: a gap"));
        for i in 0..n {
            for j in 0..m {
                let of = |d| match term {
                    Term::Difference => (x.at(i, d) - y.at(j, d)).powi(2),
                    Term::Product => x.at(i, d) * y.at(j, d),
                };
                let (sum, terms) = (0..depth).map(of).fold((0.0, 0.0), |(sum, terms), t| (sum + t, terms + t.abs()));
                let found: f64 = out[place(i, j)].into();
                assert!(
                    (found - sum).abs() <= error * terms,
                    "{n} {m} {depth} {term:?} {strides:?}: pair {i} {j}: {found} for {sum}"
                );
            }
            for d in 0..spread.stride {
                if i * spread.stride + d >= spread.numbers.len() {
                    continue;
                }
                let known = if adds || d >= depth { before[i * spread.stride + d] } else { 0.0 };
                let of = |j: usize| {
                    let weight: f64 = weight[place(i, j)].into();
                    match term {
                        _ if d >= depth => 0.0,
                        Term::Difference => weight * (x.at(i, d) - y.at(j, d)),
                        Term::Product => weight * y.at(j, d),
                    }
                };
                let (sum, terms) =
                    (0..m).map(of).fold((known, known.abs()), |(sum, terms), t| (sum - t, terms + t.abs()));
                let found = spread.at(i, d);
                assert!(
                    (found - sum).abs() <= error * terms,
                    "{n} {m} {depth} {term:?} {strides:?}: row {i} {d}: {found} for {sum}"
                );
            }
        }
    }
}

#[test]
fn agrees_with_the_definition_at_every_size() {
    let sizes = [
        [1, 1, 1],
        [3, 5, 7],
        [4, 8, 16],
        [9, 6, 33],
        [50, 67, 20],
        [37, 130, 49],
        [64, 150, 15],
        [5, 300, 600],
        [2, 3, 1100],
        [3, 2, 0],
        [3, 0, 2],
    ];
    for size in sizes {
        for term in Term::ALL {
            for adds in [false, true] {
                agree::<f32>(size, term, adds, 3e-7);
                // The definition is computed in f64 too, one term after the other.
                agree::<f64>(size, term, adds, 1e-13);
            }
        }
    }
}

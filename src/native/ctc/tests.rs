//! The two recursions side by side: where the scaled one gives up, and that it is right where it does not.

use super::*;

/// A sequence in f64 of some steps over the classes of a label.
struct Case {
    call: Ctc,
    logits: Vec<f64>,
    entries: Vec<u64>,
}

/// What a recursion found, unless it gave up: the loss and the gradient.
type Found = Option<(f64, Vec<f64>)>;

impl Case {
    /// With logits as `logit` says of step and class; the blank is the last class.
    fn new(steps: usize, classes: usize, entries: Vec<u64>, mut logit: impl FnMut(usize, usize) -> f64) -> Self {
        let mut logits = vec![];
        for t in 0..steps {
            logits.extend((0..classes).map(|class| logit(t, class)));
        }
        let along = [classes as isize, 1];
        let labels = entries.len();
        let (real, label) = (Dtype::F64, Dtype::I64);
        let call = Ctc { real, label, steps, classes, labels, logits: along, label_stride: 1, gradient: along };
        Self { call, logits, entries }
    }

    /// A label of so many entries, and logits up to ±`spread`.
    fn random(seed: u64, [steps, classes, labels]: [usize; 3], spread: f64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let entries = (0..labels).map(|_| random.u64(..classes as u64 - 1)).collect();
        Self::new(steps, classes, entries, |_, _| spread * (2.0 * random.f64() - 1.0))
    }

    /// By the scaled recursion and by the exact one.
    fn both(&self, with_gradient: bool) -> [Found; 2] {
        [true, false].map(|scaled| {
            let call = &self.call;
            let mut gradient = vec![0.5; self.logits.len()];
            let mut memory = vec![[0u64; 8]; call.scratch(with_gradient).div_ceil(64) + 1];
            let start = memory.as_mut_ptr().cast::<u8>();
            let start = start.wrapping_add(start.align_offset(64));
            // SAFETY: the memory is aligned, and longer by what that takes.
            let mut arena = unsafe { Arena::new(start, call.scratch(with_gradient)) };
            let Common { mut word, mut softmax, .. } = Common::new(&mut arena, call, with_gradient);
            word.spell(&self.entries, call.classes - 1);
            let plane =
                |start: *const f64| Plane { start: start.cast_mut().cast(), strides: call.logits, double: true };
            let sequence = Sequence {
                logits: plane(self.logits.as_ptr()),
                gradient: with_gradient.then_some((plane(gradient.as_mut_ptr()), 1.0)),
                steps: call.steps,
                classes: call.classes,
            };
            let mut first = Scaled::new(&mut arena.rest(), call, with_gradient);
            // SAFETY: the planes are vectors of as many steps and classes, and the label's entries are classes.
            let found = unsafe { sequence.scaled(&word, &mut softmax, &mut first) };
            let loss = if scaled {
                found.ok()?
            } else {
                let mut second = Exact::new(&mut arena.rest(), call.steps, call.labels, with_gradient);
                // SAFETY: as above.
                unsafe { sequence.exact(&word, &softmax, &mut second) }
            };
            Some((loss, gradient))
        })
    }

    /// Whether the scaled recursion gives up; where it does not, that both agree, with the gradient and without it.
    #[track_caller]
    fn gives_up(&self) -> bool {
        let [with, without] = [true, false].map(|with_gradient| {
            let [scaled, exact] = self.both(with_gradient);
            let (exact_loss, exact_gradient) = exact.expect("the exact recursion does not give up");
            scaled.map(|(loss, gradient)| {
                let close = (loss - exact_loss).abs() <= 1e-13 * exact_loss.max(1.0);
                assert!(close || loss == exact_loss, "{loss}, not {exact_loss}");
                let apart = gradient.iter().zip(&exact_gradient).map(|(a, b)| (a - b).abs());
                let apart = apart.fold(0.0, |most: f64, x| if x <= most { most } else { x });
                assert!(apart < 1e-11, "gradients are {apart} apart");
                loss
            })
        });
        if let (Some(with), Some(without)) = (with, without) {
            assert_eq!(with.to_bits(), without.to_bits());
        }
        // Without a gradient only the way back cannot be what gave up.
        assert!(without.is_some() || with.is_none());
        with.is_none()
    }
}

/// Logits as networks have them, however long the sequence and however unlikely the label, are no reason to give up.
#[test]
fn usual_logits_stay_scaled() {
    for (size, most) in [([300, 80, 40], 20.0), ([50, 28, 10], 20.0), ([2000, 50, 50], 20.0), ([700, 6, 300], 10.0)] {
        for spread in [0.0, 0.1 * most, 0.3 * most, most] {
            let case = Case::random(1, size, spread);
            assert!(!case.gives_up(), "{size:?} within ±{spread}");
        }
    }
}

/// A trained network: at each step one class has nearly everything, mostly the blank, and now and then the label's next.
#[test]
fn peaks_stay_scaled() {
    let entries: Vec<u64> = (0..60).map(|entry| entry * 7 % 30).collect();
    for (stretch, offset, most) in [(10, 0, 50.0), (10, 45, 50.0), (3, 200, 25.0), (2, 100, 10.0)] {
        for height in [0.2 * most, most] {
            let case = Case::new(700, 31, entries.clone(), |t, class| {
                let place = t.checked_sub(offset).filter(|t| t % stretch == 0).map(|t| t / stretch);
                let at = place.and_then(|place| entries.get(place)).copied().unwrap_or(30);
                if class as u64 == at { height } else { 0.0 }
            });
            assert!(!case.gives_up(), "height {height}, stretch {stretch}, offset {offset}");
        }
    }
}

/// One step with a class 2⁻³⁰⁰ times as likely as another is what the mantissas can take, and no more.
#[test]
fn what_mantissas_cannot_take_is_given_up() {
    let steep = |nats: f64| Case::new(20, 3, vec![0, 1], |t, class| if (t, class) == (9, 1) { -nats } else { 0.0 });
    assert!(!steep(207.0).gives_up());
    assert!(steep(209.0).gives_up());
    assert!(steep(1e4).gives_up());
    assert!(steep(f64::INFINITY).gives_up());
    // Unlikely as it may be, a class that is not in the label does not matter.
    let other = Case::new(20, 4, vec![0, 1], |t, class| if (t, class) == (9, 2) { f64::NEG_INFINITY } else { 0.0 });
    assert!(!other.gives_up());
    for seed in 0..20 {
        assert!(Case::random(seed, [90, 9, 12], 500.0).gives_up());
    }
}

/// Between usual logits and impossible ones either may happen; what is not given up is right.
#[test]
fn wide_logits_are_given_up_or_right() {
    let mut given_up = 0;
    for seed in 0..200 {
        let spread = 20.0 + seed as f64;
        given_up += usize::from(Case::random(seed, [60 + seed as usize, 7, 30], spread).gives_up());
    }
    assert!((1..200).contains(&given_up), "{given_up}");
}

/// Labels that no alignment, or just one, can spell.
#[test]
fn just_feasible_and_infeasible() {
    for (steps, loss_is_finite) in [(39, false), (40, true), (41, true)] {
        // Ten repeats: 30 entries need 40 steps.
        let entries: Vec<u64> = (0..30).map(|entry| entry / 3 * 2 + u64::from(entry % 3 == 2)).collect();
        let case = Case::new(steps, 22, entries, |t, class| ((t * 5 + class * 3) % 11) as f64 - 5.0);
        assert!(!case.gives_up());
        let [scaled, _] = case.both(true);
        assert_eq!(scaled.unwrap().0.is_finite(), loss_is_finite);
    }
}

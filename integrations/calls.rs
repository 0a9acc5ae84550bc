//! Calls of every loss with every input it takes, for the tests of all integrations.

use lossjit::losses::{LOSSES, find};
use lossjit::{Dtype, HybridBlock, Loss, Spec, View};
use std::collections::BTreeSet;

/// One way to call a loss.
pub struct Call {
    pub loss: &'static str,
    pub settings: &'static [(&'static str, &'static str)],
    pub inputs: &'static [Input],
}

/// An input: its name, its shape, and what is in it.
pub struct Input(pub &'static str, pub &'static [usize], pub Values);

#[derive(Clone, Copy, PartialEq)]
pub enum Values {
    /// Floats between −2 and 2.
    Any,
    /// Floats between 0.1 and 0.9.
    Unit,
    /// Floats −1 and 1, which have no gradient.
    Sign,
    /// Whole numbers 0, 1 and 2.
    Class,
    /// Whole numbers 5 and 6.
    Length,
    /// Whole numbers 1 and 2.
    Few,
}
use Values::{Any, Class, Few, Length, Sign, Unit};

pub const CALLS: &[Call] = &[
    Call {
        loss: "L2Loss",
        settings: &[("weight", "3")],
        inputs: &[Input("pred", &[3, 4], Any), Input("label", &[4, 3], Any), Input("sample_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "L1Loss",
        settings: &[("batch_axis", "1")],
        inputs: &[Input("pred", &[3, 4], Any), Input("label", &[12], Any), Input("sample_weight", &[4], Unit)],
    },
    Call {
        loss: "SigmoidBinaryCrossEntropyLoss",
        settings: &[],
        inputs: &[
            Input("pred", &[3, 4], Any),
            Input("label", &[3, 4], Unit),
            Input("sample_weight", &[1, 4], Unit),
            Input("pos_weight", &[4], Unit),
        ],
    },
    Call {
        loss: "SoftmaxCrossEntropyLoss",
        settings: &[("label_smoothing", "0.1"), ("z_loss", "0.01")],
        inputs: &[
            Input("pred", &[5, 3], Any),
            Input("label", &[5], Class),
            Input("sample_weight", &[5], Unit),
            Input("class_weight", &[3], Unit),
        ],
    },
    Call {
        loss: "SoftmaxCrossEntropyLoss",
        settings: &[("sparse_label", "false"), ("axis", "1"), ("reduction", "mean")],
        inputs: &[
            Input("pred", &[2, 3, 2], Any),
            Input("label", &[2, 3, 2], Unit),
            Input("sample_weight", &[2, 1, 1], Unit),
            Input("class_weight", &[3], Unit),
        ],
    },
    Call {
        loss: "KLDivLoss",
        settings: &[("from_logits", "false")],
        inputs: &[Input("pred", &[3, 4], Any), Input("label", &[3, 4], Unit), Input("sample_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "CTCLoss",
        settings: &[],
        inputs: &[
            Input("pred", &[3, 6, 4], Any),
            Input("label", &[3, 2], Class),
            Input("pred_lengths", &[3], Length),
            Input("label_lengths", &[3], Few),
            Input("sample_weight", &[3], Unit),
        ],
    },
    Call {
        loss: "HuberLoss",
        settings: &[("rho", "0.7")],
        inputs: &[Input("pred", &[3, 4], Any), Input("label", &[3, 4], Any), Input("sample_weight", &[3, 4], Unit)],
    },
    Call {
        loss: "HingeLoss",
        settings: &[],
        inputs: &[Input("pred", &[3, 4], Any), Input("label", &[3, 4], Sign), Input("sample_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "SquaredHingeLoss",
        settings: &[("margin", "0.8")],
        inputs: &[Input("pred", &[3, 4], Any), Input("label", &[3, 4], Sign), Input("sample_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "LogisticLoss",
        settings: &[],
        inputs: &[Input("pred", &[3, 4], Any), Input("label", &[3, 4], Sign), Input("sample_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "TripletLoss",
        settings: &[("margin", "6")],
        inputs: &[
            Input("pred", &[4, 3], Any),
            Input("positive", &[4, 3], Any),
            Input("negative", &[4, 3], Any),
            Input("sample_weight", &[4], Unit),
        ],
    },
    Call {
        loss: "PoissonNLLLoss",
        settings: &[("compute_full", "true")],
        inputs: &[Input("pred", &[3, 4], Any), Input("target", &[3, 4], Any), Input("sample_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "CosineEmbeddingLoss",
        settings: &[("margin", "-0.9")],
        inputs: &[
            Input("input1", &[4, 3], Any),
            Input("input2", &[4, 3], Any),
            Input("label", &[4], Sign),
            Input("sample_weight", &[4], Unit),
        ],
    },
    Call {
        loss: "SDMLLoss",
        settings: &[],
        inputs: &[Input("x1", &[4, 3], Any), Input("x2", &[4, 3], Any), Input("sample_weight", &[4], Unit)],
    },
];

impl Call {
    /// The loss, set up.
    pub fn build(&self) -> Box<dyn Loss> {
        let settings: Vec<_> = self.settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        (find(self.loss).unwrap().build)(&settings).unwrap()
    }

    /// The inputs that have a gradient, in f64.
    pub fn differentiable(&self) -> Vec<String> {
        let dtype = |values: Values| if values.is_float() { Dtype::F64 } else { Dtype::I64 };
        let specs: Vec<_> = self.inputs.iter().map(|i| Spec::new(i.0, dtype(i.2), i.1)).collect();
        HybridBlock::new(self.build()).differentiable(&specs).unwrap()
    }
}

impl Values {
    pub fn is_float(self) -> bool {
        matches!(self, Any | Unit | Sign)
    }
}

impl Input {
    /// Its elements; whole numbers are whole.
    pub fn elements(&self, seed: u64) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed + self.0.bytes().map(u64::from).sum::<u64>());
        let mut element = || match self.2 {
            Any => 4.0 * random.f64() - 2.0,
            Unit => 0.1 + 0.8 * random.f64(),
            Sign => random.choice([-1.0, 1.0]).unwrap(),
            Class => f64::from(random.u8(0..3)),
            Length => f64::from(random.u8(5..7)),
            Few => f64::from(random.u8(1..3)),
        };
        (0..self.1.iter().product()).map(|_| element()).collect()
    }
}

/// A head gradient of a loss, none of whose elements are alike.
pub fn head(len: usize) -> Vec<f64> {
    (0..len).map(|i| 0.7 - 0.3 * i as f64).collect()
}

/// `Σ loss · head`, by lossjit alone.
fn total(block: &HybridBlock<Box<dyn Loss>>, call: &Call, inputs: &[Vec<f64>]) -> f64 {
    let whole: Vec<Vec<i64>> = inputs.iter().map(|x| x.iter().map(|&x| x as i64).collect()).collect();
    let views = call.inputs.iter().zip(inputs).zip(&whole).map(|((input, floats), whole)| {
        let view = if input.2.is_float() { View::new(floats, input.1) } else { View::new(whole, input.1) };
        (input.0, view.unwrap())
    });
    let value = block.forward::<f64>(&views.collect::<Vec<_>>()).unwrap();
    value.iter().zip(head(value.len())).map(|(value, head)| value * head).sum()
}

/// Compares a gradient of `Σ loss · head` with central differences.
pub fn compare(call: &Call, inputs: &[Vec<f64>], name: &str, gradient: &[f64]) {
    const STEP: f64 = 1e-6;
    let block = HybridBlock::new(call.build());
    let place = call.inputs.iter().position(|input| input.0 == name).unwrap();
    assert_eq!(gradient.len(), inputs[place].len(), "{} by {name}", call.loss);
    for (i, &slope) in gradient.iter().enumerate() {
        let moved = |by: f64| {
            let mut inputs = inputs.to_vec();
            inputs[place][i] += by;
            total(&block, call, &inputs)
        };
        let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let error = (slope - difference).abs();
        assert!(error <= 2e-7 * (1.0 + slope.abs()), "{} by {name}, element {i}: {slope}, not {difference}", call.loss);
    }
}

/// Checks a loss: its gradient by each input alone, and by all of them at once.
pub fn check_loss(loss: &str, check: impl Fn(&Call, &[String])) {
    for call in CALLS.iter().filter(|call| call.loss == loss) {
        let differentiable = call.differentiable();
        differentiable.iter().for_each(|name| check(call, std::slice::from_ref(name)));
        check(call, &differentiable);
    }
}

/// A test for each of these losses, which are all there are, by a function that checks the gradients of a call by the inputs
/// named.
macro_rules! test_losses {
    ($check:ident: $($test:ident $loss:literal)*) => {
        $(#[test]
        fn $test() {
            $crate::calls::check_loss($loss, $check);
        })*

        #[test]
        fn every_loss_and_input_is_tested() {
            $crate::calls::assert_complete(&[$($loss),*]);
        }
    };
    ($check:ident) => {
        test_losses! {
            $check:
            l2 "L2Loss"
            l1 "L1Loss"
            sigmoid_binary_cross_entropy "SigmoidBinaryCrossEntropyLoss"
            softmax_cross_entropy "SoftmaxCrossEntropyLoss"
            kl_div "KLDivLoss"
            ctc "CTCLoss"
            huber "HuberLoss"
            hinge "HingeLoss"
            squared_hinge "SquaredHingeLoss"
            logistic "LogisticLoss"
            triplet "TripletLoss"
            poisson_nll "PoissonNLLLoss"
            cosine_embedding "CosineEmbeddingLoss"
            sdml "SDMLLoss"
        }
    };
}

/// Every loss is tested and called, with every input that it takes.
pub fn assert_complete(tested: &[&str]) {
    for entry in LOSSES {
        assert!(tested.contains(&entry.name), "{}", entry.name);
        let called: BTreeSet<_> =
            CALLS.iter().filter(|c| c.loss == entry.name).flat_map(|c| c.inputs.iter().map(|i| i.0)).collect();
        let taken: BTreeSet<_> = entry.inputs.iter().map(|name| name.trim_end_matches('?')).collect();
        assert_eq!(called, taken, "{}", entry.name);
    }
}

//! Every op and every loss × input: the gradient beside central differences, in f64. Points lie away from kinks.

use lossjit::grad::{Wanted, differentiable, grad};
use lossjit::ir::{Builder, Fold, Graph, Kind, Op, Point, Signature};
use lossjit::losses::{LOSSES, find};
use lossjit::oracle::graph::{Buffer, evaluate};
use lossjit::{HybridBlock, View};
use ndarray::{ArrayD, IxDyn};

const STEP: f64 = 1e-6;

/// The largest difference between a gradient and a slope that counts as none, relative to 1 + |slope|.
const TOLERANCE: f64 = 2e-7;

fn array(shape: &[usize], value: impl Fn(usize) -> f64) -> ArrayD<f64> {
    let count = shape.iter().product();
    ArrayD::from_shape_vec(IxDyn(shape), (0..count).map(value).collect()).unwrap()
}

/// Compares `slopes` with the central differences of `total`, which is given an input with one element moved.
fn compare(what: &str, at: &ArrayD<f64>, slopes: &ArrayD<f64>, total: impl Fn(&ArrayD<f64>) -> f64) {
    assert_eq!(at.shape(), slopes.shape(), "{what}");
    for (place, &slope) in slopes.iter().enumerate() {
        let moved = |by: f64| {
            let mut x = at.clone();
            x.as_slice_mut().unwrap()[place] += by;
            total(&x)
        };
        let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let error = (slope - difference).abs();
        assert!(error <= TOLERANCE * (1.0 + slope.abs()), "{what}, element {place}: {slope}, not {difference}");
    }
}

/// A graph of two floating inputs `a` and `b` along one axis, and one output along it or of one element.
fn graph_of(
    name: &str,
    value: impl FnOnce(&mut Builder, lossjit::ir::AxisId, [lossjit::ir::Id; 2]) -> lossjit::ir::Id,
) -> Graph {
    let mut builder = Builder::new(name);
    let i = builder.axis("i").unwrap();
    let index = builder.index(i).unwrap();
    let inputs = ["a", "b"].map(|name| {
        let input = builder.input(name, &[i], Kind::Float).unwrap();
        builder.read(input, &[index]).unwrap()
    });
    let value = value(&mut builder, i, inputs);
    let axes: Vec<_> = builder.graph().ty(value).axes.iter().collect();
    builder.output("out", &axes, value);
    builder.finish().unwrap()
}

fn check_graph(graph: &Graph) {
    const LEN: usize = 5;
    // Positive, so that every logarithm and root is defined; no two are equal.
    let inputs = [array(&[LEN], |i| 0.3 + 0.37 * i as f64), array(&[LEN], |i| 1.9 - 0.31 * i as f64)];
    let buffers = |inputs: &[ArrayD<f64>]| inputs.iter().cloned().map(Buffer::Float).collect::<Vec<_>>();
    let wrt = differentiable(graph).unwrap();
    assert!(!wrt.is_empty(), "{} has no gradient", graph.name);
    for (place, input) in graph.inputs.iter().enumerate().filter(|(_, input)| wrt.contains(&input.name)) {
        let wanted = Wanted { value: false, ..Wanted::value_and_grad(&[&input.name]) };
        let joint = grad(graph, &wanted).unwrap();
        let slopes = evaluate(&joint, &[LEN], &buffers(&inputs)).unwrap().swap_remove(0);
        compare(&format!("{} by {}", graph.name, input.name), &inputs[place], &slopes, |moved| {
            let mut inputs = inputs.clone();
            inputs[place] = moved.clone();
            evaluate(graph, &[LEN], &buffers(&inputs)).unwrap()[0].sum()
        });
    }
}

#[test]
fn every_pointwise_op() {
    for &point in Point::ALL {
        check_graph(&graph_of(point.name(), |builder, i, [a, b]| {
            let op = |builder: &mut Builder, args: &[_]| builder.add(Op::Point(point), args).unwrap();
            let add = |builder: &mut Builder, point, args: &[_]| builder.add(Op::Point(point), args).unwrap();
            let less = add(builder, Point::Lt, &[a, b]);
            // What gives no float chooses between two that do.
            let choice = match point.signature() {
                Signature::Float1 => {
                    // Times b, so that even a step has a slope by something.
                    let value = op(builder, &[a]);
                    return add(builder, Point::Mul, &[value, b]);
                }
                Signature::Float2 | Signature::Number2 => return op(builder, &[a, b]),
                Signature::Select => return op(builder, &[less, a, b]),
                Signature::Cast => {
                    let index = builder.index(i).unwrap();
                    let float = op(builder, &[index]);
                    return add(builder, Point::Mul, &[float, a]);
                }
                Signature::Compare => op(builder, &[a, b]),
                Signature::Logic1 => op(builder, &[less]),
                Signature::Logic2 => {
                    let same = add(builder, Point::Eq, &[a, b]);
                    op(builder, &[less, same])
                }
            };
            let square = add(builder, Point::Mul, &[b, b]);
            add(builder, Point::Select, &[choice, a, square])
        }));
    }
}

#[test]
fn every_fold() {
    for fold in Fold::ALL {
        check_graph(&graph_of(fold.name(), |builder, i, [a, b]| {
            let product = builder.add(Op::Point(Point::Mul), &[a, b]).unwrap();
            builder.fold(fold, i, product).unwrap()
        }));
    }
}

/// One way to call a loss.
struct Call {
    loss: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// Names, shapes and what is in them.
    inputs: &'static [(&'static str, &'static [usize], Values)],
}

#[derive(Clone, Copy)]
enum Values {
    /// Between −2 and 2.
    Any,
    /// Between 0.1 and 0.9.
    Unit,
    /// Whole numbers below 3.
    Class,
    /// −1, 0 or 1.
    Sign,
    /// 1 or 2.
    Few,
    /// 5 or 6.
    Many,
}

use Values::{Any, Class, Few, Many, Sign, Unit};

const CALLS: &[Call] = &[
    Call {
        loss: "L2Loss",
        settings: &[("weight", "3")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[4, 3], Any), ("sample_weight", &[3, 1], Any)],
    },
    Call {
        loss: "L1Loss",
        settings: &[("batch_axis", "1")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[12], Any), ("sample_weight", &[4], Any)],
    },
    Call {
        loss: "HuberLoss",
        settings: &[("rho", "0.7")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Any), ("sample_weight", &[3, 4], Any)],
    },
    Call {
        loss: "SigmoidBCELoss",
        settings: &[],
        inputs: &[
            ("pred", &[3, 4], Any),
            ("label", &[3, 4], Unit),
            ("sample_weight", &[1, 4], Any),
            ("pos_weight", &[4], Unit),
        ],
    },
    Call {
        loss: "SigmoidBCELoss",
        settings: &[("from_sigmoid", "true")],
        inputs: &[("pred", &[3, 4], Unit), ("label", &[3, 4], Unit), ("pos_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "SoftmaxCELoss",
        settings: &[("ignore_label", "1")],
        inputs: &[("pred", &[4, 3], Any), ("label", &[4], Class), ("sample_weight", &[4], Any)],
    },
    Call {
        loss: "SoftmaxCELoss",
        settings: &[("axis", "1")],
        inputs: &[("pred", &[2, 3, 2], Any), ("label", &[2, 2], Class)],
    },
    Call {
        loss: "SoftmaxCELoss",
        settings: &[("from_logits", "true")],
        inputs: &[("pred", &[4, 3], Any), ("label", &[4, 1], Class)],
    },
    Call {
        loss: "SoftmaxCELoss",
        settings: &[("sparse_label", "false"), ("axis", "0"), ("batch_axis", "1")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Unit), ("sample_weight", &[1, 4], Any)],
    },
    Call {
        loss: "KLDivLoss",
        settings: &[("batch_axis", "1")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Unit), ("sample_weight", &[1, 4], Any)],
    },
    Call {
        loss: "KLDivLoss",
        settings: &[("from_logits", "false"), ("axis", "0")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Unit)],
    },
    Call {
        loss: "HingeLoss",
        settings: &[("margin", "0.5")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Any), ("sample_weight", &[3, 1], Any)],
    },
    Call {
        loss: "SquaredHingeLoss",
        settings: &[],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Any), ("sample_weight", &[3, 1], Any)],
    },
    Call {
        loss: "LogisticLoss",
        settings: &[("label_format", "signed")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Any), ("sample_weight", &[3, 1], Any)],
    },
    Call {
        loss: "LogisticLoss",
        settings: &[("label_format", "binary")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Unit)],
    },
    Call {
        loss: "TripletLoss",
        settings: &[("margin", "2")],
        inputs: &[
            ("pred", &[3, 4], Any),
            ("positive", &[3, 4], Any),
            ("negative", &[4, 3], Any),
            ("sample_weight", &[3], Any),
        ],
    },
    Call {
        loss: "PoissonNLLLoss",
        settings: &[("compute_full", "true")],
        inputs: &[("pred", &[3, 4], Any), ("target", &[3, 4], Any), ("sample_weight", &[4], Any)],
    },
    Call {
        loss: "PoissonNLLLoss",
        settings: &[("from_logits", "false"), ("epsilon", "0.1")],
        inputs: &[("pred", &[3, 4], Unit), ("target", &[3, 4], Any)],
    },
    Call {
        loss: "CosineEmbeddingLoss",
        settings: &[("margin", "0.1")],
        inputs: &[
            ("input1", &[2, 3, 4], Any),
            ("input2", &[2, 3, 4], Any),
            ("label", &[6], Sign),
            ("sample_weight", &[6], Any),
        ],
    },
    Call {
        loss: "SDMLLoss",
        settings: &[("weight", "2")],
        inputs: &[("x1", &[4, 3], Any), ("x2", &[4, 3], Any), ("sample_weight", &[4], Any)],
    },
    Call {
        loss: "CTCLoss",
        settings: &[],
        inputs: &[
            ("pred", &[3, 6, 4], Any),
            ("label", &[3, 2], Class),
            ("pred_lengths", &[3], Many),
            ("label_lengths", &[3], Few),
            ("sample_weight", &[3], Any),
        ],
    },
    Call {
        loss: "CTCLoss",
        settings: &[("layout", "TNC"), ("label_layout", "TN"), ("zero_infinity", "true"), ("weight", "2")],
        inputs: &[("pred", &[3, 2, 4], Any), ("label", &[2, 2], Class), ("sample_weight", &[2, 1], Any)],
    },
    Call {
        loss: "SoftmaxCELoss",
        settings: &[
            ("label_smoothing", "0.2"),
            ("z_loss", "0.1"),
            ("ignore_label", "1"),
            ("reduction", "mean_by_weight"),
        ],
        inputs: &[
            ("pred", &[5, 3], Any),
            ("label", &[5], Class),
            ("sample_weight", &[5], Unit),
            ("class_weight", &[3], Unit),
        ],
    },
    Call {
        loss: "SoftmaxCELoss",
        settings: &[("label_smoothing", "0.2"), ("sparse_label", "false"), ("reduction", "sum")],
        inputs: &[("pred", &[4, 3], Any), ("label", &[4, 3], Unit), ("class_weight", &[3], Unit)],
    },
    Call {
        loss: "SigmoidBCELoss",
        settings: &[("label_smoothing", "0.1"), ("reduction", "mean_by_weight")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Unit), ("sample_weight", &[3, 1], Unit)],
    },
    Call {
        loss: "L2Loss",
        settings: &[("reduction", "mean")],
        inputs: &[("pred", &[3, 4], Any), ("label", &[3, 4], Any)],
    },
];

fn values(rng: &mut fastrand::Rng, shape: &[usize], values: Values) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || match values {
        Any => rng.f64() * 4.0 - 2.0,
        Unit => rng.f64() * 0.8 + 0.1,
        Class => rng.usize(..3) as f64,
        Sign => rng.usize(..3) as f64 - 1.0,
        Few => rng.usize(1..3) as f64,
        Many => rng.usize(5..7) as f64,
    })
}

fn views<'a>(arrays: &'a [(&'static str, ArrayD<f64>)]) -> Vec<(&'static str, View<'a>)> {
    arrays.iter().map(|(name, array)| (*name, View::from(array))).collect()
}

/// Compiled, with a head gradient.
#[test]
fn every_loss_and_input() {
    for (seed, call) in CALLS.iter().enumerate() {
        let mut rng = fastrand::Rng::with_seed(seed as u64);
        let settings: Vec<_> = call.settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let entry = find(call.loss).unwrap();
        let block = HybridBlock::new((entry.build)(&settings).unwrap()).hybridize();
        let inputs: Vec<_> = call.inputs.iter().map(|(_, shape, kind)| values(&mut rng, shape, *kind)).collect();
        let named = |inputs: &[ArrayD<f64>]| -> Vec<(&'static str, ArrayD<f64>)> {
            call.inputs.iter().zip(inputs).map(|((name, ..), array)| (*name, array.clone())).collect()
        };
        let given = named(&inputs);
        let shape = block.forward::<f64>(&views(&given)).unwrap().shape().to_vec();
        let head = values(&mut rng, &shape, Any);
        let wrt: Vec<_> = call.inputs.iter().filter(|i| matches!(i.2, Any | Unit)).map(|i| i.0).collect();
        let found = block.value_and_grad_with_head::<f64>(&views(&given), View::from(&head), &wrt).unwrap();
        for (place, (name, ..)) in call.inputs.iter().enumerate() {
            let Some(slopes) = found.grad(name) else { continue };
            compare(&format!("{} {settings:?} by {name}", call.loss), &inputs[place], slopes, |moved| {
                let mut inputs = inputs.clone();
                inputs[place] = moved.clone();
                (block.forward::<f64>(&views(&named(&inputs))).unwrap() * &head).sum()
            });
        }
    }
}

/// A loss that is added is added to the table above.
#[test]
fn every_loss_is_called_with_every_input() {
    for entry in LOSSES {
        let calls: Vec<_> = CALLS.iter().filter(|c| find(c.loss).is_some_and(|e| e.name == entry.name)).collect();
        for input in entry.inputs.iter().map(|i| i.trim_end_matches('?')) {
            assert!(calls.iter().any(|c| c.inputs.iter().any(|i| i.0 == input)), "{} {input}", entry.name);
        }
    }
}

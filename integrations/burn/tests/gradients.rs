//! Every loss and every input of each that has a gradient: it is there, and it is the one of finite differences.

#[path = "../../calls.rs"]
mod calls;

use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};
use calls::{CALLS, Call, assert_complete, compare, head};
use lossjit_burn::{Input, LossOp};

/// A tensor of one dimension, whatever the input's shape is.
enum Flat {
    Float(Tensor<1>),
    Int(Tensor<1, Int>),
}

/// The input in its shape.
fn shaped(flat: &Flat, shape: &[usize]) -> Input {
    fn of<const D: usize>(flat: &Flat, shape: &[usize]) -> Input {
        let shape = Shape::from(shape.to_vec());
        match flat {
            Flat::Float(tensor) => Input::from(&tensor.clone().reshape::<D, _>(shape)),
            Flat::Int(tensor) => Input::from(&tensor.clone().reshape::<D, _>(shape)),
        }
    }
    match shape.len() {
        1 => of::<1>(flat, shape),
        2 => of::<2>(flat, shape),
        _ => of::<3>(flat, shape),
    }
}

/// Has the inputs named require gradients and compares what `backward` gives them.
fn check(call: &Call, required: &[String]) {
    let device = Device::flex().autodiff();
    let elements: Vec<_> = call.inputs.iter().map(|input| input.elements(7)).collect();
    let flat: Vec<Flat> = call
        .inputs
        .iter()
        .zip(&elements)
        .map(|(input, elements)| {
            let len = [elements.len()];
            if !input.2.is_float() {
                let whole = elements.iter().map(|&x| x as i64).collect();
                return Flat::Int(Tensor::from_data(TensorData::new::<i64, _>(whole, len), (&device, DType::I64)));
            }
            let tensor = Tensor::<1>::from_data(TensorData::new(elements.clone(), len), (&device, DType::F64));
            Flat::Float(if required.iter().any(|name| name == input.0) { tensor.require_grad() } else { tensor })
        })
        .collect();
    let op = LossOp::new(call.build());
    // burn's `backward` uses its graph up, so that a second one needs a second forward pass.
    for _ in 0..2 {
        let inputs: Vec<_> =
            call.inputs.iter().zip(&flat).map(|(input, tensor)| (input.0, shaped(tensor, input.1))).collect();
        let value = op.forward(&inputs).unwrap();
        let len = value.dims()[0];
        let head = Tensor::<1>::from_data(TensorData::new(head(len), [len]), (&device, DType::F64));
        let grads = (value * head).sum().backward();
        for (input, tensor) in call.inputs.iter().zip(&flat) {
            let Flat::Float(tensor) = tensor else { continue };
            let grad = tensor.grad(&grads);
            if required.iter().any(|name| name == input.0) {
                let grad = grad.unwrap_or_else(|| panic!("{} gives {} no gradient", call.loss, input.0));
                compare(call, &elements, input.0, &grad.into_data().try_into_vec::<f64>().unwrap());
            } else {
                assert!(grad.is_none());
            }
        }
    }
}

fn check_loss(loss: &str) {
    for call in CALLS.iter().filter(|call| call.loss == loss) {
        let differentiable = call.differentiable();
        differentiable.iter().for_each(|name| check(call, std::slice::from_ref(name)));
        check(call, &differentiable);
    }
}

macro_rules! losses {
    ($($test:ident $loss:literal)*) => {
        $(#[test]
        fn $test() {
            check_loss($loss);
        })*

        const TESTED: &[&str] = &[$($loss),*];
    };
}

losses! {
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

#[test]
fn every_loss_and_input_is_tested() {
    assert_complete();
    assert!(lossjit::losses::LOSSES.iter().all(|entry| TESTED.contains(&entry.name)));
}

//! Every loss and every input of each that has a gradient: it is there, and it is the one of finite differences. Floats of
//! 16 bits have the value and the gradients of the same floats in f32.

#[macro_use]
#[path = "../../calls.rs"]
mod calls;

use burn::tensor::{DType, Device, FloatDType, Int, Shape, Tensor, TensorData};
use calls::{Call, compare, head};
use lossjit_burn::{Backward, Input, LossOp};

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

/// Tensors of a call's elements, floats in this dtype; those of the inputs named require gradients.
fn leaves(call: &Call, elements: &[Vec<f64>], dtype: FloatDType, required: &[String]) -> Vec<Flat> {
    let device = Device::flex().autodiff();
    let leaf = |(input, elements): (&calls::Input, &Vec<f64>)| {
        let len = [elements.len()];
        if !input.2.is_float() {
            let whole = elements.iter().map(|&x| x as i64).collect();
            return Flat::Int(Tensor::from_data(TensorData::new::<i64, _>(whole, len), (&device, DType::I64)));
        }
        let tensor = Tensor::from_data(TensorData::new(elements.clone(), len), (&device, dtype.into()));
        Flat::Float(if required.iter().any(|name| name == input.0) { tensor.require_grad() } else { tensor })
    };
    call.inputs.iter().zip(elements).map(leaf).collect()
}

/// The loss of some tensors, and what `Σ loss · head` has for gradients by the leaves behind them.
fn evaluate(op: &LossOp, call: &Call, tensors: &[Flat], leaves: &[Flat]) -> (Tensor<1>, Vec<Option<Tensor<1>>>) {
    let inputs: Vec<_> =
        call.inputs.iter().zip(tensors).map(|(input, tensor)| (input.0, shaped(tensor, input.1))).collect();
    let value = op.forward(&inputs).unwrap();
    let len = value.dims()[0];
    let head = Tensor::<1>::from_data(TensorData::new(head(len), [len]), (&value.device(), value.dtype()));
    let grads = (value.clone() * head).sum().backward();
    let gradient = |leaf: &Flat| match leaf {
        Flat::Float(leaf) => leaf.grad(&grads),
        Flat::Int(_) => None,
    };
    (value, leaves.iter().map(gradient).collect())
}

/// Has the inputs named require gradients and compares what `backward` gives them.
fn check(call: &Call, required: &[String]) {
    let elements: Vec<_> = call.inputs.iter().map(|input| input.elements(7)).collect();
    let leaves = leaves(call, &elements, FloatDType::F64, required);
    let op = LossOp::new(call.build());
    // burn's `backward` uses its graph up, so that a second one needs a second forward pass.
    for _ in 0..2 {
        let (_, grads) = evaluate(&op, call, &leaves, &leaves);
        for (input, grad) in call.inputs.iter().zip(grads) {
            assert_eq!(grad.is_some(), required.iter().any(|name| name == input.0), "{} by {}", call.loss, input.0);
            if let Some(grad) = grad {
                compare(call, &elements, input.0, &grad.into_data().try_into_vec::<f64>().unwrap());
            }
        }
    }
    for half in [FloatDType::BF16, FloatDType::F16] {
        check_half(call, &elements, half, required);
    }
}

/// Floats of 16 bits, with the bits that they have when burn converts them to f32 and their gradients back.
fn check_half(call: &Call, elements: &[Vec<f64>], half: FloatDType, required: &[String]) {
    let leaves = leaves(call, elements, half, required);
    let cast = |leaf: &Flat| match leaf {
        Flat::Float(leaf) => Flat::Float(leaf.clone().cast(FloatDType::F32)),
        Flat::Int(leaf) => Flat::Int(leaf.clone()),
    };
    for backward in [Backward::Recomputed, Backward::Kept] {
        let op = LossOp::new(call.build()).backward(backward);
        let data = |(value, grads): (Tensor<1>, Vec<Option<Tensor<1>>>)| -> Vec<_> {
            [Some(value)].into_iter().chain(grads).map(|tensor| tensor.map(Tensor::into_data)).collect()
        };
        let converted: Vec<Flat> = leaves.iter().map(cast).collect();
        let wanted = data(evaluate(&op, call, &converted, &leaves));
        for _ in 0..2 {
            let found = data(evaluate(&op, call, &leaves, &leaves));
            assert!(found == wanted, "{} in {half:?}, {backward:?}: {found:?}, not {wanted:?}", call.loss);
        }
        // CTC's kernel reads f32, and what was compiled for that is used again; others have a program for 16 bits beside it.
        let programs = if call.loss == "CTCLoss" { 1 } else { 2 };
        assert_eq!(op.block().cache_statistics().entries, programs, "{} in {half:?}", call.loss);
    }
}

test_losses!(check);

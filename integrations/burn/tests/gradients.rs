//! Every loss and every input of each that has a gradient: it is there, and it is the one of finite differences.

#[macro_use]
#[path = "../../calls.rs"]
mod calls;

use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};
use calls::{Call, compare, head};
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

test_losses!(check);

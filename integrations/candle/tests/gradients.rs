//! Every loss and every input of each that has a gradient: it reaches the `Var`, and it is the one of finite differences.

#[macro_use]
#[path = "../../calls.rs"]
mod calls;

use calls::{Call, compare, head};
use candle_core::{DType, Device, Tensor, Var};
use lossjit_candle::LossOp;

/// The tensors of a call, in f64 and i64.
fn tensors(call: &Call, elements: &[Vec<f64>]) -> Vec<Tensor> {
    let tensor = |(input, elements): (&calls::Input, &Vec<f64>)| {
        let tensor = Tensor::from_vec(elements.clone(), input.1, &Device::Cpu).unwrap();
        if input.2.is_float() { tensor } else { tensor.to_dtype(DType::I64).unwrap() }
    };
    call.inputs.iter().zip(elements).map(tensor).collect()
}

/// Makes variables of the inputs named and compares what `backward` gives them, twice.
fn check(call: &Call, variables: &[String]) {
    let elements: Vec<_> = call.inputs.iter().map(|input| input.elements(7)).collect();
    let mut tensors = tensors(call, &elements);
    let mut vars = vec![];
    for (tensor, input) in tensors.iter_mut().zip(call.inputs) {
        if variables.iter().any(|name| name == input.0) {
            let var = Var::from_tensor(tensor).unwrap();
            *tensor = var.as_tensor().clone();
            vars.push((input.0, var));
        }
    }
    let inputs: Vec<_> = call.inputs.iter().zip(&tensors).map(|(input, tensor)| (input.0, tensor)).collect();
    let value = LossOp::new(call.build()).forward(&inputs).unwrap();
    let head = Tensor::from_vec(head(value.elem_count()), value.shape(), &Device::Cpu).unwrap();
    let total = value.mul(&head).unwrap().sum_all().unwrap();
    for _ in 0..2 {
        let grads = total.backward().unwrap();
        for (name, var) in &vars {
            let grad = grads.get(var).unwrap_or_else(|| panic!("{} gives {name} no gradient", call.loss));
            assert_eq!(grad.shape(), var.shape());
            compare(call, &elements, name, &grad.flatten_all().unwrap().to_vec1::<f64>().unwrap());
        }
    }
}

test_losses!(check);

//! A small tape: reverse-mode differentiation of matrices, as a framework without custom operations has it. It knows nothing
//! of losses.

use ndarray::{Array2, Axis};
use std::cell::RefCell;

type Backward = Box<dyn Fn(&Array2<f32>) -> Vec<Array2<f32>>>;

struct Node {
    value: Array2<f32>,
    parents: Vec<usize>,
    /// From the gradient of this node to those of its parents.
    backward: Option<Backward>,
}

/// Records what is computed.
#[derive(Default)]
pub struct Tape(RefCell<Vec<Node>>);

/// A matrix on the tape.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    tape: &'t Tape,
    id: usize,
}

impl Tape {
    pub fn var(&self, value: Array2<f32>) -> Var<'_> {
        self.push(value, vec![], None)
    }

    fn push(&self, value: Array2<f32>, parents: Vec<usize>, backward: Option<Backward>) -> Var<'_> {
        let mut nodes = self.0.borrow_mut();
        nodes.push(Node { value, parents, backward });
        Var { tape: self, id: nodes.len() - 1 }
    }
}

impl<'t> Var<'t> {
    pub fn value(self) -> Array2<f32> {
        self.tape.0.borrow()[self.id].value.clone()
    }

    /// The same value, to which no gradient flows.
    pub fn detach(self) -> Self {
        self.tape.var(self.value())
    }

    pub fn matmul(self, other: Self) -> Self {
        let (a, b) = (self.value(), other.value());
        let value = a.dot(&b);
        self.node(other, value, move |grad| vec![grad.dot(&b.t()), a.t().dot(grad)])
    }

    pub fn add(self, other: Self) -> Self {
        self.node(other, self.value() + other.value(), |grad| vec![grad.clone(), grad.clone()])
    }

    pub fn sub(self, other: Self) -> Self {
        self.node(other, self.value() - other.value(), |grad| vec![grad.clone(), -grad])
    }

    pub fn mul(self, other: Self) -> Self {
        let (a, b) = (self.value(), other.value());
        let value = &a * &b;
        self.node(other, value, move |grad| vec![grad * &b, grad * &a])
    }

    pub fn tanh(self) -> Self {
        let value = self.value().mapv(f32::tanh);
        let slope = value.mapv(|y| 1.0 - y * y);
        self.tape.push(value, vec![self.id], Some(Box::new(move |grad| vec![grad * &slope])))
    }

    /// The sum of all elements, 1 × 1.
    pub fn sum(self) -> Self {
        let shape = self.value().dim();
        let value = self.value().sum_axis(Axis(0)).insert_axis(Axis(0)).sum_axis(Axis(1)).insert_axis(Axis(1));
        let spread = move |grad: &Array2<f32>| vec![Array2::from_elem(shape, grad[[0, 0]])];
        self.tape.push(value, vec![self.id], Some(Box::new(spread)))
    }

    fn node(
        self,
        other: Self,
        value: Array2<f32>,
        backward: impl Fn(&Array2<f32>) -> Vec<Array2<f32>> + 'static,
    ) -> Self {
        self.tape.push(value, vec![self.id, other.id], Some(Box::new(backward)))
    }

    /// The gradients of this 1 × 1 matrix with respect to others.
    pub fn gradients(self, wrt: &[Self]) -> Vec<Array2<f32>> {
        let nodes = self.tape.0.borrow();
        let mut grads: Vec<Option<Array2<f32>>> = vec![None; nodes.len()];
        grads[self.id] = Some(Array2::ones((1, 1)));
        for id in (0..=self.id).rev() {
            let (Some(grad), Some(backward)) = (grads[id].clone(), &nodes[id].backward) else { continue };
            for (&parent, part) in nodes[id].parents.iter().zip(backward(&grad)) {
                grads[parent] = Some(match grads[parent].take() {
                    Some(sum) => sum + part,
                    None => part,
                });
            }
        }
        let zero = |var: &Self| Array2::zeros(nodes[var.id].value.dim());
        wrt.iter().map(|var| grads[var.id].clone().unwrap_or_else(|| zero(var))).collect()
    }
}

//! Losses from graphs' texts: equal to their Rust forms, and safe whatever the text is.

#[path = "../examples/graph_files/losses.rs"]
mod example;

use lossjit::losses::{GraphLoss, LOSSES, SDMLLoss, SoftmaxCELoss};
use lossjit::runtime::pipeline;
use lossjit::{Dtype, Error, HybridBlock, Loss, Spec, inputs};
use ndarray::Array2;

fn same_graph(text: &str, rust: impl Loss, given: &[Spec]) {
    let from_file = pipeline::trace(&GraphLoss::parse(text).unwrap(), given).unwrap();
    let from_rust = pipeline::trace(&rust, given).unwrap();
    assert_eq!(from_file.graph.to_string(), from_rust.graph.to_string());
    assert_eq!((from_file.extents, from_file.ports), (from_rust.extents, from_rust.ports));
}

fn specs<const N: usize>(list: [(&str, Dtype, &[usize]); N]) -> Vec<Spec> {
    list.iter().map(|(name, dtype, shape)| Spec::new(name, *dtype, shape)).collect()
}

#[test]
fn examples_are_their_rust_forms() {
    let pred: (&str, Dtype, &[usize]) = ("pred", Dtype::F32, &[4, 3]);
    let given = specs([pred, ("label", Dtype::I32, &[4])]);
    same_graph(include_str!("../examples/graph_files/focal.graph"), example::Focal, &given);
    let given = specs([pred, ("label", Dtype::F32, &[4, 3])]);
    same_graph(include_str!("../examples/graph_files/dice.graph"), example::Dice, &given);
    let given = specs([("query", Dtype::F32, &[4, 3]), ("key", Dtype::F32, &[4, 3])]);
    same_graph(include_str!("../examples/graph_files/info_nce.graph"), example::InfoNce, &given);
}

/// What the trace stage prints of a built-in loss is such a file.
#[test]
fn traces_are_graphs() {
    let given = specs([("pred", Dtype::F32, &[5, 7]), ("label", Dtype::I64, &[5])]);
    let text = pipeline::trace(&SoftmaxCELoss::new(), &given).unwrap().graph.to_string();
    same_graph(&text, SoftmaxCELoss::new(), &given);
    let given = specs([("x1", Dtype::F64, &[5, 7]), ("x2", Dtype::F64, &[5, 7])]);
    let text = pipeline::trace(&SDMLLoss::new(), &given).unwrap().graph.to_string();
    same_graph(&text, SDMLLoss::new(), &given);
    assert!(LOSSES.len() >= 14);
}

#[test]
fn sizes_are_compared() {
    let info_nce = GraphLoss::parse(include_str!("../examples/graph_files/info_nce.graph")).unwrap();
    let (query, key) = (Array2::<f32>::zeros((4, 3)), Array2::<f32>::zeros((5, 3)));
    let error = HybridBlock::new(info_nce).forward::<f32>(&inputs! { query: &query, key: &key }).unwrap_err();
    assert_eq!(error.to_string(), "key: axis i has 5 elements, but query has 4");
}

fn refused(text: &str) -> String {
    GraphLoss::parse(text).unwrap_err().to_string()
}

/// A chain of so many equations.
fn chain(equations: usize) -> String {
    let mut text = "graph chain(x[n]: float)\n%0[n]: float = read x @n\n".to_string();
    for i in 1..equations {
        text += &format!("%{i}[n]: float = abs %{}\n", i - 1);
    }
    text + &format!("out[n] = %{}\n", equations - 1)
}

/// So many equations side by side, added up as a balanced tree.
fn wide(leaves: usize) -> String {
    let mut text = "graph wide(x[n]: float)\n%x[n]: float = read x @n\n".to_string();
    let mut open: Vec<String> = vec![];
    for i in 0..leaves {
        text += &format!("%a{i}[n]: float = mul {i}.5 %x\n");
        open.push(format!("%a{i}"));
    }
    let mut made = 0;
    while open.len() > 1 {
        let (a, b) = (open.remove(0), open.remove(0));
        text += &format!("%s{made}[n]: float = add {a} {b}\n");
        open.push(format!("%s{made}"));
        made += 1;
    }
    text + &format!("out[n] = {}\n", open[0])
}

#[test]
fn limits_are_errors() {
    assert_eq!(refused(&chain(400)), "chain: is nested 401 deep, but at most 250 is taken");
    assert!(refused(&wide(1000)).ends_with("nodes, but at most 2000 are taken"), "{}", refused(&wide(1000)));
    assert!(refused(&chain(19_000)).contains("nodes, but at most 2000"));
    assert!(refused(&chain(25_000)).contains("more than 20000 nodes"), "{}", refused(&chain(25_000)));
    assert!(refused(&" ".repeat(1 << 21)).contains("longer than"));
    let two = "graph two(x[n]: float)\n%0[n]: float = read x @n\nout[n] = %0\nmore[n] = %0\n";
    assert_eq!(refused(two), "two: has the outputs out, more, but a loss has one, out");
    assert!(matches!(GraphLoss::parse("graph x("), Err(Error::Text { line: 1, .. })));
}

/// What is just within the limits compiles and runs, gradients included, on a thread with a stack of the usual size.
#[test]
fn large_graphs_compile() {
    for text in [chain(240), wide(120)] {
        let x = ndarray::Array1::<f32>::from_elem(3, -1.5);
        let block = HybridBlock::new(GraphLoss::parse(&text).unwrap()).hybridize();
        let found = block.value_and_grad::<f32>(&inputs! { x: &x }, &["x"]).unwrap();
        assert!(found.grad("x").unwrap().iter().all(|g| g.is_finite()));
    }
}

/// Parts of the text left out, doubled or swapped: an error or a loss, never a crash.
#[test]
fn damaged_texts() {
    let texts = ["focal", "dice", "info_nce"].map(|name| {
        let path = format!("{}/examples/graph_files/{name}.graph", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    });
    let mut rng = fastrand::Rng::with_seed(7);
    let mut parsed = 0;
    for _ in 0..4000 {
        let mut bytes = rng.choice(&texts).unwrap().clone().into_bytes();
        for _ in 0..rng.usize(1..4) {
            let (a, b) = (rng.usize(..bytes.len()), rng.usize(..bytes.len()));
            match rng.u8(..3) {
                0 => bytes.swap(a, b),
                1 => bytes[a] = *rng.choice(b"%@[]=:# \n.-0123456789abcnd").unwrap(),
                _ => {
                    let part: Vec<u8> = bytes[a.min(b)..a.max(b)].to_vec();
                    bytes.splice(a..a, part.into_iter().take(20));
                }
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        parsed += usize::from(GraphLoss::parse(&text).is_ok());
    }
    assert!(parsed > 20, "some are still graphs");
}

//! lossjit
pub mod error;
pub mod grad;
pub mod ir;
pub mod losses;
pub mod nest;
pub mod vmath;
pub mod simplify;
pub mod trace;
pub use error::{Error, Result};
#[test]
fn show() {
    use ir::Dtype;
    use losses::*;
    use trace::*;
    let f = |n: &str, s: &[usize]| Spec::new(n, Dtype::F32, s);
    let all: Vec<(Box<dyn Loss>, Vec<Spec>, Vec<&str>)> = vec![
        (
            Box::new(SoftmaxCrossEntropyLoss::new()),
            vec![f("pred", &[4, 10]), Spec::new("label", Dtype::I32, &[4])],
            vec!["pred"],
        ),
        (
            Box::new(SoftmaxCrossEntropyLoss::new().sparse_label(false).weight(2.0)),
            vec![f("pred", &[4, 10]), f("label", &[4, 10]), f("sample_weight", &[4, 1])],
            vec!["pred", "label", "sample_weight"],
        ),
        (
            Box::new(SigmoidBinaryCrossEntropyLoss::new()),
            vec![f("pred", &[4, 10]), f("label", &[4, 10]), f("pos_weight", &[10])],
            vec!["pred", "label", "pos_weight"],
        ),
        (Box::new(HuberLoss::new().rho(0.5)), vec![f("pred", &[4, 10]), f("label", &[4, 10])], vec!["pred", "label"]),
        (
            Box::new(L2Loss::new()),
            vec![f("pred", &[4, 10]), f("label", &[4, 10]), f("sample_weight", &[4, 1])],
            vec!["pred", "label"],
        ),
    ];
    for (l, s, w) in all {
        let t = Tracer::new(l.name(), &s).unwrap();
        let id = l.declare(&t).unwrap().id_();
        let tr = t.finish(id).unwrap();
        println!("{}", tr.graph);
        let re = ir::parse(&tr.graph.to_string()).unwrap();
        assert_eq!(re, tr.graph);
        let (g, r) = simplify::simplify(&tr.graph).unwrap();
        println!("{g}{r}");
        let j = grad::grad(&g, &grad::Wanted::value_and_grad(&w)).unwrap();
        println!("{j}");
        let i = std::time::Instant::now();
        let (g, r) = simplify::simplify(&j).unwrap();
        println!("{g}{r} {:?}", i.elapsed());
        let e=nest::expand(&g,&tr.extents).unwrap();
        println!("{e}");
        let lay=nest::Layout::row_major(&e,&tr.extents);
        let n=nest::schedule(&e,&tr.extents,&lay).unwrap();
        println!("{n}");
    }
}
#[test]
fn dbg() {
    use ir::*;
    let g = parse("graph l2(x[n]: float, y[n]: float)\n%0[n]: float = read x @n\n%1[n]: float = read y @n\n%2[n]: float = mul 0.5 %1\n%3[n]: float = mul %0 %2\n%4[n]: float = mul 2.0 %3\nout[n] = %4\n").unwrap();
    let (g,r)=simplify::simplify(&g).unwrap(); println!("{g}{r}");
}

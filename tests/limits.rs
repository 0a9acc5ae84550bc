//! What is bounded, and what happens at the bound: an error in words, never the end of the process.

use lossjit::ir::{Builder, MAX_AXES, MAX_INPUTS, MAX_NODES, Point, parse};
use lossjit::losses::*;
use lossjit::simplify::simplify;
use lossjit::{Expr, HybridBlock, Loss, Result, Tracer, View, inputs};
use ndarray::{Array1, Array2};

/// Broadcast by strides of 0, an array of one element can be of any size; its result cannot.
#[test]
fn results_larger_than_memory() {
    let one = [1f64];
    let vast = 1usize << 45;
    let view = || View::with_strides(&one, &[vast, 2], &[0, 0]).unwrap();
    let given = [("pred", view()), ("label", view())];
    for block in [HybridBlock::new(L2Loss::new()), HybridBlock::new(L2Loss::new()).hybridize()] {
        let told = block.forward::<f64>(&given).unwrap_err().to_string();
        assert_eq!(told, format!("out: shape [{vast}] needs more memory than there is"));
    }
    let one = [1f32];
    let view = || View::with_strides(&one, &[1 << 20, 1 << 33], &[0, 0]).unwrap();
    let told = HybridBlock::new(L2Loss::new()).hybridize().forward::<f32>(&[("pred", view()), ("label", view())]);
    assert_eq!(told.unwrap_err().to_string(), "l2: axis i is too long for f32");
}

/// Rows of pairs as wide as memory: what their kernel works in and the gradients.
#[test]
fn gradients_larger_than_memory() {
    let one = [1f32];
    let rows = 1usize << 21;
    let view = || View::with_strides(&one, &[rows, 1 << 25], &[0, 0]).unwrap();
    let block = HybridBlock::new(SDMLLoss::new()).hybridize();
    let told = block.value_and_grad::<f32>(&[("x1", view()), ("x2", view())], &["x2"]).unwrap_err().to_string();
    assert!(told.contains("more memory than there is"), "{told}");
}

/// Sizes whose product does not fit into a machine word, in arrays of nothing and of something.
#[test]
fn overflowing_sizes() {
    let none: [f32; 0] = [];
    let vast = 1usize << 20;
    for shape in [[0, vast, vast, vast], [0, vast, 0, vast], [0, 0, vast, 1]] {
        let view = View::new(&none, &shape).unwrap();
        for block in [HybridBlock::new(SigmoidBCELoss::new()), HybridBlock::new(SigmoidBCELoss::new()).hybridize()] {
            match block.value_and_grad::<f32>(&[("pred", view.clone()), ("label", view.clone())], &["pred"]) {
                Ok(found) => assert_eq!(found.grad("pred").unwrap().shape(), shape),
                // The interpreter's arrays are ndarray's, which takes no such shape even of nothing.
                Err(error) => assert!(error.to_string().contains("has more than 2147483648 elements"), "{error}"),
            }
        }
    }
    let one = [1f32];
    let refused = View::with_strides(&one, &[usize::MAX, usize::MAX], &[0, 0]).unwrap_err().to_string();
    assert!(refused.contains("more elements than memory has room for"), "{refused}");
    let refused = View::with_strides(&one, &[3, 3], &[isize::MAX, 1]).unwrap_err().to_string();
    assert!(refused.contains("overflows"), "{refused}");
    // A stride along one element is never stepped, whatever it is.
    let row = [1f32, 2.0, 3.0];
    let view = || View::with_strides(&row, &[1, 3], &[isize::MAX, 1]).unwrap();
    let found = HybridBlock::new(L1Loss::new()).hybridize().forward::<f32>(&[("pred", view()), ("label", view())]);
    assert_eq!(found.unwrap()[[0]], 0.0);
}

/// A loss that is a chain of so many steps.
struct Chain(usize);

impl Loss for Chain {
    fn name(&self) -> &str {
        "chain"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let start = t.float("x", &[n, c])?;
        Ok((0..self.0).fold(start, |x, step| (x * 1.0001 + start * (step as f64)).tanh()).sum(c))
    }
}

/// Deep graphs go through every stage, or are refused; none exhausts the stack of a thread of ordinary size.
#[test]
fn deep_graphs() {
    let x = Array2::<f32>::from_elem((2, 3), 0.5);
    let deep = HybridBlock::new(Chain(250)).hybridize().value_and_grad::<f32>(&inputs! { x: &x }, &["x"]).unwrap();
    assert!(deep.value.iter().chain(deep.grad("x").unwrap()).all(|x| x.is_finite()));
    let compiled = HybridBlock::new(Chain(100)).hybridize().value_and_grad::<f32>(&inputs! { x: &x }, &["x"]).unwrap();
    let interpreted = HybridBlock::new(Chain(100)).value_and_grad::<f32>(&inputs! { x: &x }, &["x"]).unwrap();
    assert!((&compiled.value - &interpreted.value).iter().all(|e| e.abs() < 1e-4));
    let told = HybridBlock::new(Chain(10_000)).hybridize().forward::<f32>(&inputs! { x: &x }).unwrap_err().to_string();
    assert_eq!(told, format!("chain: more than {MAX_NODES} nodes"));
}

/// A number that is twice itself: rules that put constants together would multiply what stands beside it without end.
#[test]
fn nothing_times_a_value_saturates() {
    let text = "graph nothing(x[i]: float, y[i k]: float)
%0: float = log 1.0
%1[i]: float = read x @i
%2[i]: float = sigmoid %1
%3[i]: float = neg %2
%4[i]: float = mul %0 %3
%5[i]: float = add %4 %4
%6[i k]: float = read y @i @k
%7[i k]: float = mul %5 %6
%8[i]: float = sum @k %7
out[i] = %8
";
    let (simple, report) = simplify(&parse(text).unwrap()).unwrap();
    assert!(report.saturated && report.classes < 200, "{report}{simple}");
}

/// Branches inside branches: patterns of two of them have matches without number.
#[test]
fn branches_inside_branches_are_bounded() {
    let text = "graph rule(x0[i]: float, x1[k]: float, x2[]: float, x3[]: float, x4[j k]: int, x5[j k]: float, x6[]: float, x7[j k]: float) over i j k
%0[i k]: bool = le @k @i
%1: float = read x6
%2[j k]: float = read x7 @j @k
%3[j k]: bool = le %1 %2
%4[j k]: float = read x5 @j @k
%5[j k]: float = softplus %4
%6[j k]: int = read x4 @j @k
%7[j k]: bool = lt %6 @k
%8[k]: float = read x1 @k
%9: float = read x2
%10[k]: bool = le %8 %9
%11[i]: float = read x0 @i
%12[i]: float = exp %11
%13[i]: float = log %12
%14[i]: float = neg %13
%15[i k]: float = select %10 0.0 %14
%16: float = read x3
%17: float = sum @k %16
%18[i k]: float = mul %15 %17
%19: float = mul %17 -0.30789588390255496
%20[i k]: float = sub %18 %19
%21[i j k]: float = select %7 %20 0.0
%22[i j k]: float = mul %5 %21
%23[i j k]: float = select %3 %22 0.0
%24[i j k]: float = select %3 0.0 %22
%25[i j k]: float = add %23 %24
%26[i j k]: float = select %0 0.0 %25
%27[i j k]: float = select %0 %25 0.0
%28[i j k]: float = add %26 %27
out[i j k] = %28
";
    let (_, report) = simplify(&parse(text).unwrap()).unwrap();
    assert!(!report.saturated && report.nodes < 100_000, "{report}");
}

#[test]
fn graph_tables() {
    let mut b = Builder::new("wide");
    for axis in 0..MAX_AXES {
        b.axis(&format!("a{axis}")).unwrap();
    }
    assert_eq!(b.axis("more").unwrap_err().to_string(), format!("wide: more than {MAX_AXES} axes"));
    for input in 0..MAX_INPUTS {
        b.input(&format!("x{input}"), &[], lossjit::ir::Kind::Float).unwrap();
    }
    let told = b.input("more", &[], lossjit::ir::Kind::Float).unwrap_err().to_string();
    assert_eq!(told, format!("wide: more than {MAX_INPUTS} inputs"));
    let text = "graph g()\n".to_string() + &"#".repeat(1 << 20);
    assert_eq!(parse(&text).unwrap_err().to_string(), format!("graph text, line 1: longer than {} bytes", 1 << 20));
    let mut b = Builder::new("long");
    let mut last = b.float(1.5).unwrap();
    let told = loop {
        let next = b.float(last_number(&b)).and_then(|number| b.point(Point::Max, &[last, number]));
        match next {
            Ok(next) => last = next,
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(told, format!("long: more than {MAX_NODES} nodes"));
}

fn last_number(b: &Builder) -> f64 {
    b.graph().nodes.len() as f64
}

/// No page of this process can be written and executed: while kernels are made, while they live, and after.
#[test]
#[cfg(target_os = "linux")]
fn no_page_is_writable_and_executable() {
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap();
    let (pred, label) = (Array2::<f32>::ones((4, 300)), Array1::<i32>::ones(4));
    let given = inputs! { pred: &pred, label: &label };
    let make = || {
        let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
        block.compile(&given, &lossjit::Wanted::value_and_grad(&["pred"])).unwrap()
    };
    let looked = std::thread::scope(|scope| {
        let maker = scope.spawn(|| (0..20).for_each(|_| drop(make())));
        let mut looked = 0;
        while !maker.is_finished() {
            maps().lines().for_each(|line| assert!(!is_open(line), "{line}"));
            looked += 1;
        }
        looked
    });
    assert!(looked > 20, "{looked}");
    let handle = make();
    let lines: Vec<String> = maps().lines().map(str::to_string).collect();
    lines.iter().for_each(|line| assert!(!is_open(line), "{line}"));
    let code = handle.kernel().code_address();
    let holds = |line: &&String| {
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let number = |hex| usize::from_str_radix(hex, 16).unwrap();
        (number(from)..number(to)).contains(&code)
    };
    let ours = lines.iter().find(holds).expect("the code is mapped");
    assert!(ours.contains("r-xp"), "{ours}");
}

/// Whether a line of `/proc/self/maps` is of pages that can be written and executed.
#[cfg(target_os = "linux")]
fn is_open(line: &str) -> bool {
    let rights = line.split_whitespace().nth(1).unwrap();
    rights.contains('w') && rights.contains('x')
}

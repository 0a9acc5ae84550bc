//! What the inspector says is true: proofs hold step by step, listings hang together, texts parse back.
#![cfg(feature = "inspect")]

mod support;

use lossjit::inspect::{COLLAPSED, Report, Stage, Validity, prove};
use lossjit::ir::{Graph, Input, Kind, Output};
use lossjit::losses::*;
use lossjit::oracle::graph::{Buffer, evaluate};
use lossjit::runtime::pipeline::{self, Stages};
use lossjit::simplify::simplify;
use lossjit::{Compiled, Dtype, HybridBlock, Loss, Spec, Wanted, inputs};
use ndarray::{ArrayD, IxDyn, array};
use support::{agree, case};

fn f64(name: &str, shape: &[usize]) -> Spec {
    Spec::new(name, Dtype::F64, shape)
}

fn int(name: &str, shape: &[usize]) -> Spec {
    Spec::new(name, Dtype::I64, shape)
}

/// A loss with its inputs and the gradients that are asked for.
type Subject = (Box<dyn Loss>, Vec<Spec>, Vec<&'static str>);

/// Every loss.
fn losses() -> Vec<Subject> {
    let pair = || vec![f64("pred", &[3, 4]), f64("label", &[3, 4])];
    let weighed = || [pair(), vec![f64("sample_weight", &[3, 1])]].concat();
    let sparse = || vec![f64("pred", &[3, 4]), int("label", &[3])];
    let all = || vec!["pred", "label", "sample_weight"];
    vec![
        (Box::new(L2Loss::new()), weighed(), all()),
        (Box::new(L1Loss::new()), weighed(), all()),
        (Box::new(HuberLoss::new().rho(0.5)), pair(), vec!["pred", "label"]),
        (Box::new(HingeLoss::new()), pair(), vec!["pred"]),
        (Box::new(SquaredHingeLoss::new()), pair(), vec!["pred", "label"]),
        (Box::new(LogisticLoss::new()), pair(), vec!["pred", "label"]),
        (Box::new(SigmoidBCELoss::new()), weighed(), all()),
        (
            Box::new(SigmoidBCELoss::new()),
            [pair(), vec![f64("pos_weight", &[4])]].concat(),
            vec!["pred", "label", "pos_weight"],
        ),
        (Box::new(SigmoidBCELoss::new().from_sigmoid(true)), pair(), vec!["pred", "label"]),
        (Box::new(SoftmaxCELoss::new()), sparse(), vec!["pred"]),
        (Box::new(SoftmaxCELoss::new().label_smoothing(0.1).z_loss(1e-4)), sparse(), vec!["pred"]),
        (Box::new(SoftmaxCELoss::new().sparse_label(false)), pair(), vec!["pred", "label"]),
        (Box::new(KLDivLoss::new()), pair(), vec!["pred", "label"]),
        (Box::new(KLDivLoss::new().from_logits(false)), pair(), vec!["pred", "label"]),
        (
            Box::new(TripletLoss::new()),
            vec![f64("pred", &[3, 4]), f64("positive", &[3, 4]), f64("negative", &[3, 4])],
            vec!["pred", "positive", "negative"],
        ),
        (
            Box::new(PoissonNLLLoss::new().compute_full(true)),
            vec![f64("pred", &[3, 4]), f64("target", &[3, 4])],
            vec!["pred", "target"],
        ),
        (
            Box::new(CosineEmbeddingLoss::new()),
            vec![f64("input1", &[3, 4]), f64("input2", &[3, 4]), int("label", &[3])],
            vec!["input1", "input2"],
        ),
        (Box::new(L2Loss::new()), vec![f64("pred", &[3, 2, 4]), f64("label", &[3, 2, 4])], vec!["pred", "label"]),
        (Box::new(SDMLLoss::new()), vec![f64("x1", &[3, 2]), f64("x2", &[3, 2])], vec!["x1", "x2"]),
        (
            Box::new(CTCLoss::new().zero_infinity(true)),
            vec![f64("pred", &[2, 5, 4]), int("label", &[2, 2])],
            vec!["pred"],
        ),
    ]
}

/// Numbers that suit every loss: floats between 0 and 1, labels 0 and 1.
fn draw(graph: &Graph, extents: &[usize], random: &mut fastrand::Rng) -> Vec<Buffer> {
    let buffer = |input: &lossjit::ir::Input| {
        let shape = IxDyn(&input.axes.iter().map(|a| extents[a.index()]).collect::<Vec<_>>());
        match input.kind {
            Kind::Float => Buffer::Float(ArrayD::from_shape_simple_fn(shape, || 0.05 + 0.9 * random.f64())),
            _ => Buffer::Int(ArrayD::from_shape_simple_fn(shape, || random.i64(0..2))),
        }
    };
    let mut buffer = buffer;
    graph.inputs.iter().map(&mut buffer).collect()
}

/// Evaluates every formula of every proof: neighbours are equal, but where one is the derivative of the other, and the
/// ends are the declared and the compiled graph's own. Returns how many steps there are.
fn judge(name: &str, stages: &Stages, extents: &[usize], random: &mut fastrand::Rng) -> usize {
    let layout = lossjit::nest::Layout::row_major(&stages.joint, extents);
    let nest = pipeline::nest(&stages.joint, extents, &layout).unwrap();
    let buffers = draw(&stages.joint, extents, random);
    let named = |graph: &Graph| -> Vec<Buffer> {
        graph.inputs.iter().map(|i| buffers[stages.joint.find_input(&i.name).unwrap().index()].clone()).collect()
    };
    let values = |graph: &Graph| evaluate(graph, extents, &named(graph)).unwrap();
    // The same elements along the axes of the nest, for formulas behind the step that collapses some.
    let shaped = |graph: &Graph| -> Vec<Buffer> {
        let shape = |i: &Input| i.axes.iter().map(|a| nest.extents[a.index()]).collect::<Vec<_>>();
        let shaped = |(i, buffer): (&Input, Buffer)| match buffer {
            Buffer::Float(x) => Buffer::Float(x.into_shape_with_order(shape(i)).unwrap()),
            Buffer::Int(x) => Buffer::Int(x.into_shape_with_order(shape(i)).unwrap()),
        };
        graph.inputs.iter().zip(named(graph)).map(shaped).collect()
    };
    let in_nest = |graph: &Graph| -> Vec<ArrayD<f64>> {
        let found = evaluate(graph, &nest.extents, &shaped(graph)).unwrap();
        let shape = |o: &Output| o.axes.iter().map(|a| extents[a.index()]).collect::<Vec<_>>();
        graph.outputs.iter().zip(found).map(|(o, x)| x.into_shape_with_order(shape(o)).unwrap()).collect()
    };
    let proofs = prove(stages, extents, &nest).unwrap();
    assert_eq!(proofs.len(), stages.joint.outputs.len());
    let compiled = in_nest(&nest.graph);
    let mut steps = 0;
    for (proof, compiled) in proofs.iter().zip(compiled) {
        let formulas = proof.formulas().unwrap();
        agree(&values(&stages.trace), &values(&formulas[0]), 1e-12).unwrap();
        let collapsed = proof.steps.iter().position(|step| step.rule == COLLAPSED).unwrap_or(formulas.len());
        let values =
            |place: usize| if place > collapsed { in_nest(&formulas[place]) } else { values(&formulas[place]) };
        for (place, (step, pair)) in proof.steps.iter().zip(formulas.windows(2)).enumerate() {
            if step.validity != Validity::Derivative {
                agree(&values(place), &values(place + 1), 1e-9).unwrap_or_else(|problem| {
                    panic!("{name}, {}: {}: {problem}\n{}{}", proof.output, step.rule, pair[0], pair[1])
                });
                steps += 1;
            }
        }
        agree(&[compiled], &values(formulas.len() - 1), 0.0).unwrap();
    }
    steps
}

#[test]
fn proofs_hold_step_by_step() {
    let mut steps = 0;
    for (loss, given, wrt) in losses() {
        let trace = pipeline::trace(&*loss, &given).unwrap();
        let stages = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(&wrt)).unwrap();
        steps += judge(loss.name(), &stages, &trace.extents, &mut fastrand::Rng::with_seed(1));
    }
    assert!(steps > 150, "only {steps} steps were judged");
}

/// Graphs that nobody thought of are proven too.
#[test]
fn proofs_of_random_graphs_hold() {
    let mut steps = 0;
    for seed in 0..60 {
        let case = case(seed);
        let (simple, report) = simplify(&case.graph).unwrap();
        if !report.saturated {
            continue;
        }
        let mut terms = lossjit::ir::Builder::like(&case.graph);
        let chains = lossjit::simplify::explain(&case.graph, &simple, &mut terms).unwrap();
        let wanted = evaluate(&case.graph, &case.extents, &case.inputs);
        for (output, chain) in case.graph.outputs.iter().zip(chains) {
            let Some(last) = chain.last() else { continue };
            let mut builder = lossjit::ir::Builder::from(&Graph { outputs: vec![], ..terms.graph().clone() });
            builder.output(&output.name, &output.axes, last.whole);
            let reached = builder.finish().unwrap();
            let place = simple.outputs.iter().position(|o| o.name == output.name).unwrap();
            let found = Graph { outputs: vec![simple.outputs[place].clone()], ..simple.clone() };
            let found = lossjit::ir::Builder::from(&found).finish().unwrap();
            assert_eq!(reached.to_string(), found.to_string(), "seed {seed}");
            assert!(wanted.is_ok());
            steps += chain.len();
        }
    }
    assert!(steps > 60, "only {steps} steps");
}

fn report(loss: &dyn Loss, given: &[Spec], wrt: &[&str]) -> Report {
    Report::new(loss, given, &Wanted::value_and_grad(wrt)).unwrap()
}

/// The explanation and the cost as people read them, beside the snapshots of the stages.
#[test]
fn explanations_and_costs_read_well() {
    let f32 = |name: &str, shape: &[usize]| Spec::new(name, Dtype::F32, shape);
    let label = Spec::new("label", Dtype::I32, &[64]);
    let (pred, dense) = (f32("pred", &[64, 1000]), f32("label", &[64, 1000]));
    let subjects: [Subject; 3] = [
        (Box::new(SoftmaxCELoss::new()), vec![pred.clone(), label], vec!["pred"]),
        (Box::new(SigmoidBCELoss::new()), vec![pred, dense], vec!["pred"]),
        (Box::new(SDMLLoss::new()), vec![f32("x1", &[64, 100]), f32("x2", &[64, 100])], vec!["x1", "x2"]),
    ];
    for (loss, given, wrt) in subjects {
        let (name, report) = (loss.name(), report(&*loss, &given, &wrt));
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(format!("{}/snapshots/{name}", env!("CARGO_MANIFEST_DIR")));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| {
            insta::assert_snapshot!("explain", report.explanation());
            insta::assert_snapshot!("cost", report.cost_text());
        });
    }
}

#[test]
fn derivations_are_connected() {
    for (loss, given, wrt) in losses() {
        let report = report(&*loss, &given, &wrt);
        assert_eq!((report.derivations.len(), report.unexplained), (1 + wrt.len(), None), "{}", loss.name());
        for derivation in report.derivations {
            let last = derivation.steps.last().map_or(&derivation.declared, |step| &step.after);
            assert_eq!(last, &derivation.compiled);
            for (step, number) in derivation.steps.iter().zip(1..) {
                assert_eq!(step.number, number);
                assert_ne!(step.part_before.text, step.part_after.text, "{}: {}", loss.name(), step.rule);
            }
        }
    }
}

/// Every link leads somewhere, and every line of a formula has its place in the declaration.
#[test]
fn listings_hang_together() {
    for (loss, given, wrt) in losses() {
        let report = report(&*loss, &given, &wrt);
        let name = loss.name();
        assert_eq!(report.listings.iter().map(|l| l.stage).collect::<Vec<_>>(), Stage::ALL);
        for listing in &report.listings {
            let parent = listing.parent.map(|stage| report.listing(stage).unwrap());
            for line in &listing.lines {
                assert!(line.from.iter().all(|&from| from < parent.unwrap().lines.len()), "{name} {}", line.text);
                assert!(line.nodes.iter().all(|&node| node < listing.nodes.len()), "{name} {}", line.text);
                assert!(line.origins.iter().all(|&origin| origin < report.origins.len()), "{name} {}", line.text);
            }
            for node in &listing.nodes {
                assert!(node.from.iter().all(|&from| from < parent.unwrap().nodes.len()), "{name} {}", node.text);
                assert!(!node.leaf || node.line.is_none());
                if let Some(line) = node.line {
                    assert!(listing.lines[line].text.ends_with(&format!("= {}", node.text)));
                    assert!(!node.origins.is_empty(), "{name} {}: {} comes from nowhere", listing.stage, node.text);
                }
            }
        }
        for code in [Stage::Clif, Stage::Asm] {
            let listing = report.listing(code).unwrap();
            let known = listing.lines.iter().filter(|line| !line.from.is_empty()).count();
            let expected = code == Stage::Clif || cfg!(target_arch = "x86_64");
            assert!(
                !expected || known > listing.lines.len() / 2,
                "{name}: {known} of {} lines of {code}",
                listing.lines.len()
            );
            // Every loop of the nest that does something is found again.
            let nest = report.listing(Stage::Nest).unwrap();
            let stores = nest.lines.iter().enumerate().filter(|(_, l)| l.text.trim_start().starts_with("store "));
            for (line, text) in stores.filter(|_| expected) {
                assert!(listing.lines.iter().any(|l| l.from == [line]), "{name}: no {code} for {}", text.text);
            }
        }
        let own = |file: &str| file.contains("src/losses/");
        assert!(report.origins.iter().all(|o| own(&o.file) && o.text.as_ref().is_some_and(|text| !text.is_empty())));
    }
}

/// The place of a line of the declaration goes with it to the machine code.
#[test]
fn origins_lead_from_the_declaration_to_machine_code() {
    let report = report(&SoftmaxCELoss::new(), &[f64("pred", &[8, 1000]), int("label", &[8])], &["pred"]);
    let place = report.origins.iter().position(|o| o.text.as_ref().unwrap().contains("log_softmax(c)")).unwrap();
    for listing in &report.listings {
        let found = listing.lines.iter().filter(|line| line.origins.contains(&place)).count();
        let expected = listing.stage != Stage::Asm || cfg!(target_arch = "x86_64");
        assert!(found > 0 || !expected, "not in {}", listing.stage);
    }
    let simple = report.listing(Stage::Simplify).unwrap();
    let fused = simple.nodes.iter().find(|node| node.op == "lse").unwrap();
    let trace = report.listing(Stage::Trace).unwrap();
    let from: Vec<&str> = fused.from.iter().map(|&node| trace.nodes[node].op.as_str()).collect();
    assert!(["exp", "sum", "log"].iter().all(|op| from.contains(op)), "{from:?}");
}

struct Square;

impl Loss for Square {
    fn name(&self) -> &str {
        "square"
    }

    fn declare<'t>(&self, t: &'t lossjit::Tracer) -> lossjit::Result<lossjit::Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        Ok(t.float("x", &[n, c])?.square().sum(c)) // the line that is looked for
    }
}

/// The source of a loss that is not built in is not guessed at.
#[test]
fn the_source_of_a_loss_is_taken_where_it_is_given() {
    let report = report(&Square, &[f64("x", &[3, 4])], &["x"]);
    assert!(report.origins.iter().all(|o| o.file == file!() && o.text.is_none()));
    let report = report.with_source(file!(), include_str!("inspect.rs"));
    assert!(report.origins.iter().all(|o| o.text.as_ref().unwrap().ends_with("// the line that is looked for")));
}

struct Deep;

impl Loss for Deep {
    fn name(&self) -> &str {
        "deep"
    }

    fn declare<'t>(&self, t: &'t lossjit::Tracer) -> lossjit::Result<lossjit::Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let mut x = t.float("x", &[n, c])?;
        for _ in 0..1500 {
            x = x.tanh();
        }
        Ok(x.sum(c))
    }
}

/// What recurses along a graph has the stack for it, whatever the caller's is.
#[test]
fn deep_graphs_are_reported_from_a_small_stack() {
    let given = [f64("x", &[2, 3])];
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let thread = small.spawn(move || report(&Deep, &given, &[])).unwrap();
    let report = thread.join().unwrap();
    assert!(report.listing(Stage::Nest).unwrap().nodes.len() > 1500);
    assert_eq!((report.derivations.len(), report.unexplained), (1, None));
}

/// The lines of a graph's text are its origins. They unite where a rule fuses, and are no part of what graphs are.
#[test]
fn origins_of_a_text_are_its_lines() {
    let text = "graph g(x[n c]: float)\n%0[n c]: float = read x @n @c\n%1[n c]: float = exp %0\n\
                %2[n]: float = sum @c %1\n%3[n]: float = log %2\nout[n] = %3\n";
    let graph = lossjit::ir::parse(text).unwrap();
    let lines = |graph: &Graph, word: &str| -> Vec<String> {
        let id = graph.ids().find(|&id| graph.op(id).to_string() == word).unwrap();
        graph.origins_of(id).map(|origin| origin.to_string()).collect()
    };
    assert_eq!((lines(&graph, "exp"), lines(&graph, "log")), (vec!["line 3".to_string()], vec!["line 5".to_string()]));
    let (simple, _) = simplify(&graph).unwrap();
    assert_eq!(lines(&simple, "lse"), ["line 3", "line 4", "line 5"]);
    let derived = lossjit::grad::grad(&simple, &Wanted::value_and_grad(&["x"])).unwrap();
    assert_eq!(lines(&derived, "exp"), ["line 3", "line 4", "line 5"]);
    let moved = lossjit::ir::parse(&text.replace("\n%3", "\n\n# later\n%3")).unwrap();
    assert_eq!(graph, moved);
    assert_ne!(lines(&graph, "log"), lines(&moved, "log"));
}

#[test]
fn the_text_of_a_nest_parses_back() {
    let mut parsed = 0;
    for (loss, given, wrt) in losses() {
        let compiled = Compiled::for_specs(&*loss, &given, &Wanted::value_and_grad(&wrt)).unwrap();
        let nest = &compiled.kernel().nest;
        let text = nest.to_string();
        assert_eq!(lossjit::nest::parse(&text).unwrap(), *nest, "{text}");
        parsed += 1;
    }
    for seed in 0..100 {
        let case = case(seed);
        let layout = lossjit::nest::Layout::row_major(&case.graph, &case.extents);
        let Ok(nest) = pipeline::nest(&case.graph, &case.extents, &layout) else { continue };
        let text = nest.to_string();
        assert_eq!(lossjit::nest::parse(&text).unwrap(), nest, "{text}");
        parsed += 1;
    }
    assert!(parsed > 60);
}

#[test]
fn damaged_texts_of_a_nest_are_refused() {
    let given = [f64("pred", &[8, 1000]), int("label", &[8])];
    let compiled = Compiled::for_specs(&SoftmaxCELoss::new(), &given, &Wanted::value_and_grad(&["pred"])).unwrap();
    let text = compiled.kernel().nest.to_string();
    let damages = [
        ("n=8", "n=eight", "`eight` is no extent"),
        (" c=1000", "", "1 extents for 2 axes"),
        ("into grad.pred", "into out", "`out` is no slot of that value"),
        ("for n, parallel", "for m, parallel", "axis m is unknown"),
        ("for n, parallel", "for n", "`for n` should be `for n, parallel`"),
        ("store out[n] = %9", "store out[n] = %8", "`store out[n] = %8` should be `store out[n] = %9`"),
        ("    lanes\n", "      lanes\n", "is indented deeper than any loop"),
        ("%5 = log %4\n", "%99 = log %4\n", "`%99` is no value of the graph"),
        ("  %4 = 0\n", "", "internal error in nest"),
    ];
    for (right, wrong, message) in damages {
        assert!(text.contains(right), "{right}\n{text}");
        let error = lossjit::nest::parse(&text.replacen(right, wrong, 1)).unwrap_err().to_string();
        assert!(error.contains(message), "{right} → {wrong}: {error}");
    }
    // However a text is damaged, it is refused or means what it says.
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..2000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(..bytes.len());
            match random.u8(0..3) {
                0 => drop(bytes.remove(place)),
                1 => bytes[place] = random.u8(32..127),
                _ => bytes.insert(place, *b"%,= \n0@[]"[random.usize(..9)..].first().unwrap()),
            }
        }
        if let Ok(damaged) = String::from_utf8(bytes)
            && let Ok(nest) = lossjit::nest::parse(&damaged)
        {
            lossjit::nest::check(&nest).unwrap();
        }
    }
}

#[test]
fn a_handle_from_a_block_is_inspected_as_one_made_for_it() {
    let (pred, label) = (array![[1.0f64, 2.0], [3.0, 4.0]], array![0i64, 1]);
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let wanted = Wanted::value_and_grad(&["pred"]);
    let compiled = block.compile(&inputs! { pred: &pred, label: &label }, &wanted).unwrap();
    let given = [f64("pred", &[2, 2]), int("label", &[2])];
    assert_eq!(Report::of(&compiled).unwrap(), Report::new(&SoftmaxCELoss::new(), &given, &wanted).unwrap());
    assert!(block.cached().is_empty());
    block.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"]).unwrap();
    let [cached] = &block.cached()[..] else { panic!("one program") };
    assert_eq!(Report::of(cached).unwrap(), Report::of(&compiled).unwrap());
}

/// What is counted, on a loss where it is known: 64 rows of 1000 logits are read twice, and the gradient is written
/// twice, its buffer being where the exponentials are kept, and so is the loss, where the logits of the labels are.
#[test]
fn costs_are_counted() {
    let given = [Spec::new("pred", Dtype::F32, &[64, 1000]), Spec::new("label", Dtype::I32, &[64])];
    let cost = report(&SoftmaxCELoss::new(), &given, &["pred"]).cost;
    assert_eq!(cost.bytes_read, 64 * 1000 * 4 + 64 * 4);
    assert_eq!(cost.bytes_written, 64 * 1000 * 4 + 64 * 4);
    assert_eq!(cost.math, [("exp".to_string(), 64_000), ("log".to_string(), 64)]);
    assert_eq!(cost.math_calls, 64_064);
    let buffer = |name: &str| cost.buffers.iter().find(|b| b.name == name).unwrap();
    assert_eq!(buffer("pred").accesses, 2 * 64_000 + 64);
    assert_eq!(buffer("grad.pred").accesses, 2 * 64_000);
    assert_eq!(buffer("out").accesses, 2 * 64);
    let loops: Vec<_> = cost.loops.iter().map(|l| (l.axis.as_str(), l.depth, l.iterations)).collect();
    let row = [("c", 2, 64_000); 3];
    assert_eq!(loops, [&[("n", 0, 1), ("n", 1, 64)][..], &row, &[("n", 1, 64)]].concat());
}

/// The parts of DOT that Graphviz asks for: balanced braces, quoted strings, edges between declared nodes.
#[test]
fn dot_is_well_formed() {
    let report = report(&SDMLLoss::new(), &[f64("x1", &[3, 2]), f64("x2", &[3, 2])], &["x1", "x2"]);
    let all = Stage::ALL.iter().filter_map(|&stage| report.dot(stage).ok());
    let dots: Vec<String> = all.chain([report.dot_of_all()]).collect();
    assert_eq!(dots.len(), 6);
    for dot in dots {
        assert!(dot.starts_with("digraph \"sdml.value_and_grad.f64[3,2]\" {\n") && dot.ends_with("}\n"));
        assert_eq!(dot.matches('{').count(), dot.matches('}').count());
        let mut declared = vec![];
        let mut edges = 0;
        for line in dot.lines().map(str::trim) {
            assert_eq!(line.matches('"').count() % 2, 0, "{line}");
            if let Some((from, to)) = line.split_once(" -> ") {
                let to = to.split([';', ' ']).next().unwrap();
                assert!(declared.contains(&from.to_string()) && declared.contains(&to.to_string()), "{line}");
                edges += 1;
            } else if let Some((node, _)) = line.split_once(" [label=") {
                declared.push(node.to_string());
            }
        }
        assert!(edges > 20, "{edges}");
    }
    assert!(report.dot(Stage::Asm).unwrap_err().contains("asm has no graph"));
}

#[test]
fn reports_are_deterministic() {
    for (loss, given, wrt) in losses() {
        let (first, second) = (report(&*loss, &given, &wrt), report(&*loss, &given, &wrt));
        assert_eq!(first.text(), second.text());
        assert_eq!(first.json(), second.json());
    }
}

#[test]
fn json_has_its_schema_and_everything_else() {
    let report = report(&L1Loss::new(), &[f64("pred", &[3, 4]), f64("label", &[3, 4])], &["pred"]);
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["schema"], lossjit::inspect::SCHEMA);
    assert_eq!(json["symbol"], "l1.value_and_grad.f64[3,4]");
    assert_eq!(json["listings"].as_array().unwrap().len(), 7);
    assert_eq!(json["listings"][1]["stage"], "simplify");
    assert_eq!(json["listings"][1]["parent"], "trace");
    assert_eq!(json["derivations"][1]["output"], "grad.pred");
    assert_eq!(json["cost"]["buffers"][0]["bytes"], 96);
    assert_eq!(json["machine"], serde_json::Value::Null);
}

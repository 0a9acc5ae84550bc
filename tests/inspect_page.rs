//! The inspector's page and pictures as files: well formed, whole, the same every time, and safe with names of strangers.
//! What the page does in a browser is tested in `tests/page`.
#![cfg(feature = "inspect")]

use lossjit::inspect::{Report, Stage};
use lossjit::losses::*;
use lossjit::{Dtype, Expr, Loss, Result, Spec, Tracer, Wanted};
use roxmltree::{Document, Node};
use std::collections::HashSet;

fn f32(name: &str, shape: &[usize]) -> Spec {
    Spec::new(name, Dtype::F32, shape)
}

fn report(loss: &dyn Loss, given: &[Spec], wrt: &[&str]) -> Report {
    Report::new(loss, given, &Wanted::value_and_grad(wrt)).unwrap()
}

fn reports() -> Vec<Report> {
    let pair = [f32("pred", &[64, 1000]), f32("label", &[64, 1000])];
    let classes = Spec::new("label", Dtype::I32, &[64]);
    let labels = Spec::new("label", Dtype::I32, &[16, 10]);
    vec![
        report(&SoftmaxCELoss::new(), &[f32("pred", &[64, 1000]), classes], &["pred"]),
        report(&SoftmaxCELoss::new().sparse_label(false), &pair, &["pred", "label"]),
        report(&SDMLLoss::new(), &[f32("x1", &[64, 100]), f32("x2", &[64, 100])], &["x1", "x2"]),
        report(&CTCLoss::new(), &[f32("pred", &[16, 100, 30]), labels], &["pred"]),
        report(&L2Loss::new(), &[f32("pred", &[1, 1]), f32("label", &[1, 1])], &[]),
        report(&HuberLoss::new(), &pair, &["pred"]),
    ]
}

/// The page read as XML, which it is but for its first line and for what stands in style and script.
fn parsed(page: &str) -> String {
    let mut text = page.strip_prefix("<!doctype html>\n").expect("a page").to_string();
    for element in ["style", "script"] {
        let mut from = 0;
        while let Some(start) = text[from..].find(&format!("<{element}")).map(|at| from + at) {
            let open = start + text[start..].find('>').unwrap() + 1;
            let close = open + text[open..].find(&format!("</{element}>")).expect("closed");
            if !text[start..open].contains("application/json") {
                text.replace_range(open..close, "");
            }
            from = open;
        }
    }
    text
}

/// Names of elements: once each, and all that are referred to are there.
fn check_names(document: &Document) {
    let mut names = HashSet::new();
    let elements = || document.descendants().filter(Node::is_element);
    for id in elements().filter_map(|e| e.attribute("id")) {
        assert!(names.insert(id), "{id} is there twice");
    }
    let mut references = 0;
    for element in elements() {
        for name in ["aria-controls", "aria-labelledby", "data-line", "data-go", "data-from", "data-to", "href"] {
            let value = element.attribute(name).unwrap_or("");
            let value = if name == "href" { value.strip_prefix('#').unwrap_or("") } else { value };
            assert!(value.is_empty() || names.contains(value), "{name} names {value}, which is not there");
            references += usize::from(!value.is_empty());
        }
    }
    assert!(references > 40);
}

#[test]
fn pages_are_well_formed_and_whole() {
    for report in reports() {
        let text = parsed(&report.html());
        let document = Document::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", report.loss));
        check_names(&document);
        for listing in &report.listings {
            let shown = |line: usize| {
                let id = format!("{}-{}", listing.stage, line + 1);
                let found = document.descendants().find(|e| e.attribute("id") == Some(&id)).unwrap();
                found.descendants().filter_map(|n| n.text().filter(|_| n.is_text())).collect::<String>()
            };
            for (place, line) in listing.lines.iter().enumerate().step_by(7) {
                assert_eq!(shown(place), line.text);
            }
        }
    }
}

/// The script looks lines up by place, so each place must be there.
#[test]
fn relations_are_within_their_panes() {
    for report in reports() {
        let page = report.html();
        let start = page.find("id=\"relations\">").unwrap() + "id=\"relations\">".len();
        let json = &page[start..start + page[start..].find("</script>").unwrap()];
        let stages: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
        assert_eq!(stages.len(), 8);
        let length = |name: &serde_json::Value| {
            let stage = stages.iter().find(|stage| stage["name"] == *name).unwrap();
            stage["from"].as_array().unwrap().len() as u64
        };
        for stage in &stages {
            for place in stage["from"].as_array().unwrap().iter().flat_map(|from| from.as_array().unwrap()) {
                assert!(place.as_u64().unwrap() < length(&stage["parent"]));
            }
            let about = stage["about"].as_array().unwrap().len() as u64;
            assert!(about == 0 || about == length(&stage["name"]));
        }
    }
}

#[test]
fn equal_reports_give_equal_pages() {
    let again = reports();
    for (one, other) in reports().iter().zip(&again) {
        assert!(one.html() == other.html(), "{}", one.loss);
        assert!(one.svg(Stage::Joint) == other.svg(Stage::Joint), "{}", one.loss);
    }
}

#[test]
fn nothing_is_asked_of_a_network() {
    for report in reports() {
        let page = report.html();
        assert!(page.contains("default-src 'none'"));
        let namespace = "xmlns=\"http://www.w3.org/2000/svg\"";
        let outside = page.replace(namespace, "").replace("xmlns='http://www.w3.org/2000/svg'", "");
        assert!(!outside.contains("http://") && !outside.contains("https://") && !outside.contains("@import"));
    }
}

#[test]
fn pictures_are_well_formed_and_boxes_do_not_overlap() {
    for report in reports() {
        for stage in [Stage::Trace, Stage::Simplify, Stage::Grad, Stage::Joint, Stage::Nest] {
            let svg = report.svg(stage).unwrap();
            let document = Document::parse(&svg).unwrap();
            let number = |e: &Node, name: &str| e.attribute(name).unwrap().parse::<f64>().unwrap();
            let boxes: Vec<[f64; 4]> = document
                .descendants()
                .filter(|e| e.has_tag_name(("http://www.w3.org/2000/svg", "rect")))
                .map(|e| ["x", "y", "width", "height"].map(|name| number(&e, name)))
                .collect();
            let root = document.root_element();
            let [width, height] = ["width", "height"].map(|name| number(&root, name));
            let listing = report.listing(stage).unwrap();
            let shown: usize = listing.nodes.iter().map(|n| usize::from(!n.leaf) + n.outputs.len()).sum();
            assert_eq!(boxes.len(), shown);
            for (at, [x, y, w, h]) in boxes.iter().enumerate() {
                assert!(*x >= 0.0 && *y >= 0.0 && x + w <= width && y + h <= height);
                for [x2, y2, w2, h2] in &boxes[..at] {
                    let apart = x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y;
                    assert!(apart, "{} {stage}: boxes overlap", report.loss);
                }
            }
        }
        assert_eq!(report.svg(Stage::Asm).unwrap_err(), "asm has no graph; trace, simplify, grad, joint and nest have");
    }
}

/// A loss whose every name tries to be markup.
struct Hostile;

const IMAGE: &str = "<img src=x onerror=alert(1)>";
const SCRIPT: &str = "</script><script>alert('&')</script>";

impl Loss for Hostile {
    fn name(&self) -> &str {
        SCRIPT
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["<i>n", "\"c'&"])?;
        Ok(t.float(IMAGE, &[n, c])?.exp().sum(c).ln())
    }
}

#[test]
fn names_of_strangers_are_text() {
    let report = report(&Hostile, &[f32(IMAGE, &[8, 600])], &[IMAGE]);
    let page = report.html();
    let text = parsed(&page);
    let document = Document::parse(&text).unwrap();
    assert!(!document.descendants().any(|e| ["img", "i\u{3e}n"].contains(&e.tag_name().name())));
    assert_eq!(page.matches("<script").count(), 2, "the relations and the script of the page");
    let heading = document.descendants().find(|e| e.has_tag_name("h1")).unwrap();
    assert_eq!(heading.text(), Some(SCRIPT));
    let name = document.descendants().filter(|e| e.has_tag_name("b")).any(|e| e.text() == Some(IMAGE));
    assert!(name, "the input is named as it is called");
    let svg = report.svg(Stage::Joint).unwrap();
    let picture = Document::parse(&svg).unwrap();
    assert!(picture.descendants().filter(Node::is_text).any(|n| n.text().unwrap().contains(IMAGE)));
}

#[test]
fn too_large_a_graph_is_not_drawn_and_says_so() {
    struct Wide;
    impl Loss for Wide {
        fn name(&self) -> &str {
            "wide"
        }
        fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
            let [n] = t.axes(["n"])?;
            let x = t.float("x", &[n])?;
            let mut terms: Vec<Expr> = (1..200).map(|k| (x * f64::from(k)).tanh()).collect();
            while terms.len() > 1 {
                terms = terms.chunks(2).map(|pair| pair.iter().copied().reduce(|a, b| a + b).unwrap()).collect();
            }
            Ok(terms[0])
        }
    }
    let report = report(&Wide, &[f32("x", &[8])], &[]);
    let problem = report.svg(Stage::Trace).unwrap_err();
    assert!(problem.starts_with("trace has 5") && problem.ends_with("values; pictures have up to 400"), "{problem}");
    assert!(report.html().contains(&problem));
}

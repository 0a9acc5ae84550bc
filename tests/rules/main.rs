//! Every rewrite rule by name: random well-typed instances, both sides evaluated by the oracle; and each rule is seen
//! to fire.

mod chains;
mod instance;
mod pattern;
#[path = "../support/mod.rs"]
mod support;

use instance::instances;
use lossjit::ir::{Graph, Id, Output, Point};
use lossjit::oracle::graph::evaluate;
use lossjit::simplify::{RULES, Rule, Validity, simplify};
use ndarray::ArrayD;
use std::slice::from_ref;
use support::{Case, agree};

/// For rules of the real numbers, relative to the largest magnitude of the left side, which counts as 1 at least.
const TOLERANCE: f64 = 1e-9;

/// The sides agree exactly, or, for a rule of the real numbers, about wherever the left side is a number at all.
fn compare(rule: &Rule, left: &ArrayD<f64>, right: &ArrayD<f64>) -> Result<usize, String> {
    if rule.validity == Validity::Exact {
        agree(from_ref(left), from_ref(right), 0.0)?;
        return Ok(left.len());
    }
    let kept = ndarray::Zip::from(left).and(right).map_collect(|&l, &r| if l.is_finite() { r } else { l });
    agree(from_ref(left), &[kept], TOLERANCE)?;
    Ok(left.iter().filter(|x| x.is_finite()).count())
}

/// The real numbers have no quotient by 0, and rules about them say nothing of it.
fn divides_by_zero(case: &Case) -> bool {
    let graph = &case.graph;
    let divisor = |id: Id| graph.as_point(id).filter(|(p, _)| *p == Point::Div).map(|(_, args)| args[1]);
    let along = |value: Id| Output { name: "divisor".into(), axes: graph.ty(value).axes.iter().collect(), value };
    let divisors = Graph { outputs: graph.ids().filter_map(divisor).map(along).collect(), ..graph.clone() };
    let values = evaluate(&divisors, &case.extents, &case.inputs).expect("as both sides");
    values.iter().flatten().any(|&x| x == 0.0)
}

#[test]
fn both_sides_of_every_rule_are_equal() {
    let mut broken = vec![];
    for rule in RULES {
        let mut compared = 0;
        for case in instances(rule).filter(|c| rule.validity == Validity::Exact || !divides_by_zero(c)) {
            let sides = evaluate(&case.graph, &case.extents, &case.inputs).expect("well typed, no computed reads");
            match compare(rule, &sides[0], &sides[1]) {
                Ok(count) => compared += count,
                Err(problem) => {
                    let equation = format!("{} => {}", rule.left, rule.right);
                    broken.push(format!("{}: {equation}\n{problem} (right, not left)\n{case}", rule.name));
                    break;
                }
            }
        }
        assert!(compared >= 200 || !broken.is_empty(), "{}: only {compared} elements compared", rule.name);
    }
    assert!(broken.is_empty(), "{} rules do not hold:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_rule_fires() {
    let fires = |rule: &Rule| {
        instances(rule).take(50).any(|case| {
            let left = Graph { outputs: case.graph.outputs[..1].to_vec(), ..case.graph };
            simplify(&left).expect("a limit is no error").1.fired.contains_key(rule.name)
        })
    };
    let silent: Vec<&str> = RULES.iter().filter(|rule| !fires(rule)).map(|rule| rule.name).collect();
    assert!(silent.is_empty(), "these never fire: {silent:#?}");
}

#[test]
fn names_are_unique() {
    for (place, rule) in RULES.iter().enumerate() {
        assert!(RULES[..place].iter().all(|r| r.name != rule.name), "{} stands twice", rule.name);
    }
}

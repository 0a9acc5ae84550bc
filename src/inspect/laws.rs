//! Laws: by which equations composites are written out, as far as a formula has any of them.

use super::formula::below;
use crate::ir::{Fold, Graph, Id, Op, Point};

/// What log-sum-exp means, to be said where it first appears.
pub(super) const LSE: [&str; 2] = ["lse_i(x)", "log(sum_i(exp(x)))"];

/// The equations by which a value became what it is written out, each once.
pub(super) fn laws(graph: &Graph, value: Id, written_out: Id) -> Vec<&'static str> {
    let is_lse = |id: Id| matches!(graph.as_fold(id), Some((Fold::Lse, ..)));
    let mut found = [false; 9];
    let values = below(graph, value);
    let exponents = values.iter().filter_map(|&id| match graph.as_point(id) {
        Some((Point::Exp, &[arg])) if is_softmax(graph, arg) => Some(arg),
        _ => None,
    });
    let exponents: Vec<Id> = exponents.collect();
    for id in values {
        found[0] |= is_lse(id);
        match (graph.op(id), &graph.node(id).args[..]) {
            (Op::Point(Point::Sub), [_, b]) if is_lse(*b) && !exponents.contains(&id) => found[1] = true,
            (Op::Point(Point::Sub), [a, _]) if is_lse(*a) => found[2] = true,
            (Op::Point(Point::Softplus), _) => found[4] = true,
            (Op::Point(Point::Add), [a, b]) => found[7] |= is_mixture(graph, *a, *b),
            (Op::Point(Point::Sigmoid), _) => found[5] = true,
            (Op::Point(Point::Abs), [arg]) => found[6] |= matches!(graph.op(*arg), Op::Point(Point::Neg)),
            _ => {}
        }
    }
    found[3] = !exponents.is_empty();
    found[8] = below(graph, written_out).into_iter().any(|id| is_sum_of_logarithms(graph, id));
    let laws = [
        "lse_i(x) = m + log(sum_i(exp(x − m))) with m = amax_i(x)",
        "a − (m + b) = (a − m) − b",
        "(m + b) − c = b + (m − c)",
        "exp(x − lse_i(x)) = exp(x − m) · (1 / sum_i(exp(x − m)))",
        "softplus(x) = max(x, 0) + log1p(exp(−abs(x)))",
        "sigmoid(x) = select(0 ≤ x, 1, e) / (1 + e) with e = exp(−abs(x))",
        "abs(−x) = abs(x)",
        "z · (c + a) + (1 − z) · (c + b) = c + (z · a + (1 − z) · b)",
        "sum_i(log1p(a) + b) = sum_i(log1p(a)) + sum_i(b)",
    ];
    laws.into_iter().zip(found).filter_map(|(law, found)| found.then_some(law)).collect()
}

/// Whether two values are softplus of x and of −x, by weights that add to one.
fn is_mixture(graph: &Graph, a: Id, b: Id) -> bool {
    let factors = |id: Id| match graph.as_point(id) {
        Some((Point::Mul, &[a, b])) => vec![(a, b), (b, a)],
        _ => vec![],
    };
    let is_rest = |id: Id, z: Id| matches!(graph.as_point(id), Some((Point::Sub, &[one, of])) if of == z && graph.as_float(one) == Some(1.0));
    let softplus = |id: Id| graph.as_point(id).filter(|(point, _)| *point == Point::Softplus).map(|(_, args)| args[0]);
    let opposite = |x: Id, y: Id| matches!(graph.as_point(x), Some((Point::Neg, &[of])) if of == y);
    factors(a).into_iter().any(|(p, left)| {
        factors(b).into_iter().any(|(q, right)| {
            let weights = is_rest(q, p) || is_rest(p, q);
            let values = softplus(left).zip(softplus(right));
            weights && values.is_some_and(|(x, y)| opposite(x, y) || opposite(y, x))
        })
    })
}

/// Whether a value is a sum of log1p and nothing else.
fn is_sum_of_logarithms(graph: &Graph, value: Id) -> bool {
    let Some((Fold::Sum, _, body)) = graph.as_fold(value) else { return false };
    matches!(graph.as_point(body), Some((Point::Log1p, _)))
}

/// Whether a value is `x − lse x`.
fn is_softmax(graph: &Graph, value: Id) -> bool {
    let Some((Point::Sub, &[x, lse])) = graph.as_point(value) else { return false };
    matches!(graph.as_fold(lse), Some((Fold::Lse, _, body)) if body == x)
}

//! A layered layout of a directed graph without cycles, after Sugiyama, Tagawa and Toda (1981): each node in a layer
//! below everything it takes, long edges bent around what stands between, few crossings, straight lines where it can be.
//!
//! One library was read first. It gives coordinates of the nodes and drops the bends of long edges, and a graph with
//! shared values is legible by its bends. All ties are broken by number, so that equal graphs are equal pictures.

/// What to place: the width of each node, and edges from a node to one that uses it.
pub struct Request<'r> {
    pub widths: &'r [f64],
    pub edges: &'r [(usize, usize)],
}

/// Where everything goes: layers from top to bottom, horizontal centres in units of the widths.
pub struct Placement {
    /// By node.
    pub layer: Vec<usize>,
    /// By node.
    pub x: Vec<f64>,
    /// By edge, in the order of the request: the horizontal centres at which it passes the layers between its ends.
    pub bends: Vec<Vec<f64>>,
    pub layers: usize,
    pub width: f64,
}

/// Space between neighbours of a layer.
const GAP: f64 = 18.0;
/// What a passing edge takes of a layer's width.
const PASS: f64 = 6.0;
/// Rounds of ordering rows, and of setting points straight.
const ORDERINGS: usize = 24;
const ALIGNMENTS: usize = 400;
/// How much more a passing point wants to stand straight above the next one than a box does.
const STRAIGHT: f64 = 8.0;

/// Places a graph.
///
/// # Panics
/// Where the edges have a cycle or name a node that is not there.
pub fn place(request: &Request) -> Placement {
    let layer = layers(request);
    let mut points = Points::new(request, &layer);
    points.untangle();
    let x = points.align();
    let left = (0..x.len()).map(|p| x[p] - points.width[p] / 2.0).fold(f64::INFINITY, f64::min);
    let right = (0..x.len()).map(|p| x[p] + points.width[p] / 2.0).fold(f64::NEG_INFINITY, f64::max);
    let x: Vec<f64> = x.iter().map(|x| x - left).collect();
    Placement {
        bends: points.chains.iter().map(|chain| chain.iter().map(|&p| x[p]).collect()).collect(),
        layers: points.rows.len(),
        width: if x.is_empty() { 0.0 } else { right - left },
        x: x[..layer.len()].to_vec(),
        layer,
    }
}

/// A layer for each node: below all that it takes, and near to what uses it.
fn layers(request: &Request) -> Vec<usize> {
    let count = request.widths.len();
    let mut layer = vec![0; count];
    let mut settled = false;
    for _ in 0..=count {
        settled = true;
        for &(from, to) in request.edges {
            if layer[to] <= layer[from] {
                layer[to] = layer[from] + 1;
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    assert!(settled, "a cycle");
    let mut takes = vec![0; count];
    let mut users = vec![vec![]; count];
    for &(from, to) in request.edges {
        takes[to] += 1;
        users[from].push(to);
    }
    // Edges to all users share one line, so that a step down shortens one line and lengthens one for each value taken.
    for node in (0..count).rev().filter(|&node| takes[node] <= 1) {
        if let Some(nearest) = users[node].iter().map(|&user| layer[user]).min() {
            layer[node] = nearest - 1;
        }
    }
    layer
}

/// Nodes and the points where edges pass a layer, each with its neighbours in the layers above and below.
struct Points {
    width: Vec<f64>,
    passing: Vec<bool>,
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    rows: Vec<Vec<usize>>,
    /// By edge: the points it passes.
    chains: Vec<Vec<usize>>,
}

impl Points {
    /// Edges of one node pass a layer at one point, so that a value with many users is one line that branches.
    fn new(request: &Request, layer: &[usize]) -> Self {
        let count = layer.len();
        let mut points = Points {
            width: request.widths.to_vec(),
            passing: vec![false; count],
            above: vec![vec![]; count],
            below: vec![vec![]; count],
            rows: vec![vec![]; layer.iter().max().map_or(0, |l| l + 1)],
            chains: vec![],
        };
        for (node, &row) in layer.iter().enumerate() {
            points.rows[row].push(node);
        }
        let mut shared: Vec<Vec<usize>> = vec![vec![]; count];
        for &(from, to) in request.edges {
            let length = layer[to] - layer[from] - 1;
            while shared[from].len() < length {
                let point = points.width.len();
                let before = shared[from].last().copied().unwrap_or(from);
                points.rows[layer[from] + shared[from].len() + 1].push(point);
                points.width.push(PASS);
                points.passing.push(true);
                points.above.push(vec![]);
                points.below.push(vec![]);
                points.connect(before, point);
                shared[from].push(point);
            }
            let chain = shared[from][..length].to_vec();
            points.connect(chain.last().copied().unwrap_or(from), to);
            points.chains.push(chain);
        }
        points
    }

    fn connect(&mut self, from: usize, to: usize) {
        if !self.below[from].contains(&to) {
            self.below[from].push(to);
            self.above[to].push(from);
        }
    }

    /// Orders the rows for few crossings: by the mean place of the neighbours, downwards and upwards in turn, with
    /// neighbours swapped where that helps. The best order seen is kept.
    fn untangle(&mut self) {
        let mut best = (self.crossings(), self.rows.clone());
        for sweep in 0..ORDERINGS {
            let down = sweep % 2 == 0;
            for step in 1..self.rows.len() {
                let row = if down { step } else { self.rows.len() - 1 - step };
                let near = if down { row - 1 } else { row + 1 };
                let place = self.places(near);
                let neighbours = if down { &self.above } else { &self.below };
                let mut keyed: Vec<(f64, usize)> = (self.rows[row].iter().enumerate())
                    .map(|(here, &p)| {
                        let near: Vec<f64> = neighbours[p].iter().map(|n| place[*n] as f64).collect();
                        let mean = near.iter().sum::<f64>() / near.len() as f64;
                        (if near.is_empty() { here as f64 } else { mean }, p)
                    })
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.rows[row] = keyed.into_iter().map(|(_, p)| p).collect();
            }
            self.swap_neighbours();
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.rows.clone());
            }
        }
        self.rows = best.1;
    }

    /// The place of each point of a row in it; of points elsewhere 0.
    fn places(&self, row: usize) -> Vec<usize> {
        let mut place = vec![0; self.width.len()];
        self.rows[row].iter().enumerate().for_each(|(at, &p)| place[p] = at);
        place
    }

    fn swap_neighbours(&mut self) {
        for row in 0..self.rows.len() {
            let mut place = vec![0; self.width.len()];
            for near in [row.wrapping_sub(1), row + 1] {
                for (at, &p) in self.rows.get(near).into_iter().flatten().enumerate() {
                    place[p] = at;
                }
            }
            for at in 1..self.rows[row].len() {
                let (left, right) = (self.rows[row][at - 1], self.rows[row][at]);
                let crossed = |a: usize, b: usize| {
                    let over = |edges: &[Vec<usize>]| inversions(&edges[a], &edges[b], &place);
                    over(&self.above) + over(&self.below)
                };
                if crossed(right, left) < crossed(left, right) {
                    self.rows[row].swap(at - 1, at);
                }
            }
        }
    }

    fn crossings(&self) -> usize {
        let between = |row: usize| {
            let place = self.places(row + 1);
            let points = &self.rows[row];
            let pairs = (0..points.len()).flat_map(|a| (a + 1..points.len()).map(move |b| (a, b)));
            pairs.map(|(a, b)| inversions(&self.below[points[a]], &self.below[points[b]], &place)).sum::<usize>()
        };
        (1..self.rows.len()).map(|row| between(row - 1)).sum()
    }

    /// Horizontal centres: each point as near to its neighbours as the order of its row allows, which is an isotonic
    /// regression; row by row, downwards and upwards in turn, until all rows have had their say.
    fn align(&self) -> Vec<f64> {
        let mut x = vec![0.0; self.width.len()];
        for row in &self.rows {
            let mut edge = 0.0;
            for &p in row {
                x[p] = edge + self.width[p] / 2.0;
                edge += self.width[p] + GAP;
            }
            row.iter().for_each(|&p| x[p] -= edge / 2.0);
        }
        for sweep in 0..ALIGNMENTS {
            for step in 0..self.rows.len() {
                let row = if sweep % 2 == 0 { step } else { self.rows.len() - 1 - step };
                self.settle(&self.rows[row], &mut x);
            }
        }
        x
    }

    fn settle(&self, row: &[usize], x: &mut [f64]) {
        let pull = |p: usize, n: usize| if self.passing[p] && self.passing[n] { STRAIGHT } else { 1.0 };
        let mut offset = 0.0;
        let mut wishes = vec![];
        let mut offsets = vec![];
        for (at, &p) in row.iter().enumerate() {
            if at > 0 {
                offset += (self.width[row[at - 1]] + self.width[p]) / 2.0 + GAP;
            }
            let near = self.above[p].iter().chain(&self.below[p]);
            let (sum, weight) = near.fold((0.0, 0.0), |(s, w), &n| (s + pull(p, n) * x[n], w + pull(p, n)));
            let (wish, weight) = if weight > 0.0 { (sum / weight, weight) } else { (x[p], 0.01) };
            wishes.push((wish - offset, weight));
            offsets.push(offset);
        }
        for ((&p, settled), offset) in row.iter().zip(isotonic(&wishes)).zip(offsets) {
            x[p] = settled + offset;
        }
    }
}

/// Pairs of neighbours that stand in the other order than the two points they belong to.
fn inversions(left: &[usize], right: &[usize], place: &[usize]) -> usize {
    left.iter().map(|&l| right.iter().filter(|&&r| place[r] < place[l]).count()).sum()
}

/// The ascending sequence nearest to the wishes in weighted least squares, by pooling adjacent violators.
fn isotonic(wishes: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = vec![];
    for &(wish, weight) in wishes {
        pools.push((wish, weight, 1));
        while let [.., before, last] = pools[..]
            && before.0 > last.0
        {
            let weight = before.1 + last.1;
            pools.truncate(pools.len() - 2);
            pools.push(((before.0 * before.1 + last.0 * last.1) / weight, weight, before.2 + last.2));
        }
    }
    pools.into_iter().flat_map(|(value, _, count)| std::iter::repeat_n(value, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(count: usize, edges: &[(usize, usize)]) -> Placement {
        place(&Request { widths: &vec![40.0; count], edges })
    }

    #[test]
    fn every_node_is_below_what_it_takes() {
        let edges = [(0, 2), (1, 2), (2, 3), (0, 3), (3, 4), (0, 4)];
        let p = placed(5, &edges);
        assert!(edges.iter().all(|&(from, to)| p.layer[from] < p.layer[to]));
        for (&(from, to), bends) in edges.iter().zip(&p.bends) {
            assert_eq!(bends.len(), p.layer[to] - p.layer[from] - 1);
        }
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let edges = [(0, 3), (1, 3), (2, 3), (0, 4), (1, 5), (2, 6), (3, 7), (4, 7), (5, 7), (6, 7)];
        let p = placed(8, &edges);
        for a in 0..8 {
            for b in 0..a {
                let apart = p.layer[a] != p.layer[b] || (p.x[a] - p.x[b]).abs() >= 40.0 + GAP - 1e-6;
                assert!(apart, "{a} and {b}");
            }
        }
        assert!(p.x.iter().all(|&x| (20.0 - 1e-9..=p.width - 20.0 + 1e-9).contains(&x)));
    }

    #[test]
    fn a_chain_is_straight_and_two_chains_do_not_cross() {
        let p = placed(6, &[(0, 3), (1, 2), (2, 4), (3, 5)]);
        assert!((p.x[0] - p.x[3]).abs() < 1e-6 && (p.x[3] - p.x[5]).abs() < 1e-6);
        assert_eq!((p.x[0] < p.x[1], p.x[5] < p.x[4]), (p.x[3] < p.x[2], p.x[3] < p.x[2]));
    }

    #[test]
    fn pools_violators() {
        assert_eq!(isotonic(&[(1.0, 1.0), (3.0, 1.0), (2.0, 1.0)]), [1.0, 2.5, 2.5]);
        assert_eq!(isotonic(&[(2.0, 3.0), (0.0, 1.0)]), [1.5, 1.5]);
    }

    #[test]
    fn nothing_is_placed_nowhere() {
        let p = placed(0, &[]);
        assert_eq!((p.layers, p.width), (0, 0.0));
    }
}

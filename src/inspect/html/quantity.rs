//! Numbers as people read them.

/// `16.4 M`, `32 000`, `512`.
pub fn count(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        1000..1_000_000 => format!("{}\u{202f}{:03}", number / 1000, number % 1000),
        _ => scaled(number as f64, &["", " k", " M", " G", " T", " P", " E"]),
    }
}

/// `65.5 MB`, `12 B`.
pub fn bytes(number: u64) -> String {
    scaled(number as f64, &[" B", " kB", " MB", " GB", " TB", " PB", " EB"])
}

/// `8.13 ms`.
pub fn seconds(time: f64) -> String {
    scaled(time * 1e9, &[" ns", " µs", " ms", " s"])
}

/// `1 time`, `2 times`, `0.5 times`.
pub fn times(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "1" { "once".into() } else { format!("{text} times") }
}

/// Three digits, in the largest unit in which at least one stands before the point.
fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while unit + 1 < units.len() && value.abs() >= 1000.0 {
        value /= 1000.0;
        unit += 1;
    }
    let text = match value.abs() {
        v if v == v.trunc() => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        assert_eq!([count(512), count(16_384_000), count(32_010)], ["512", "16.4 M", "32\u{202f}010"]);
        assert_eq!([bytes(12), bytes(65_538_048), bytes(2_000)], ["12 B", "65.5 MB", "2 kB"]);
        assert_eq!([seconds(8.13e-3), seconds(2.0), seconds(95e-9)], ["8.13 ms", "2 s", "95 ns"]);
        assert_eq!([times(1.0), times(2.0), times(0.126)], ["once", "2 times", "0.13 times"]);
    }
}

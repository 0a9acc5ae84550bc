//! Tables of text: columns as wide as their widest cell, two spaces apart.

#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Lays out rows under `heads`, which may be empty for a table without any.
pub(crate) fn table(heads: &[&str], aligns: &[Align], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads: Vec<String> = heads.iter().map(|head| head.to_string()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heads).filter(|heads| !heads.is_empty()).chain(rows).collect();
    let wide = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..aligns.len()).map(wide).collect();
    rows.iter().map(|row| line(row, aligns, &widths)).collect()
}

fn line(row: &[String], aligns: &[Align], widths: &[usize]) -> String {
    let cells = row.iter().zip(aligns).zip(widths).map(|((cell, align), &wide)| {
        let space = " ".repeat(wide - width(cell));
        match align {
            Align::Left => format!("{cell}{space}"),
            Align::Right => format!("{space}{cell}"),
        }
    });
    format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "1.5 µs".into()], vec!["long".into(), "12 ns".into()]];
        let text = table(&["name", "t"], &[Align::Left, Align::Right], rows.into_iter());
        assert_eq!(text, "name       t\na     1.5 µs\nlong   12 ns\n");
    }
}

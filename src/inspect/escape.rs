//! Text of strangers in HTML and SVG.

use std::borrow::Cow;

/// The text as content of an element or of a quoted attribute, in HTML and in XML. Control characters, which XML
/// cannot hold, become the replacement character.
pub fn escape(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !matches!(c, '&' | '<' | '>' | '"' | '\'') && (!c.is_control() || c == '\n' || c == '\t');
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if plain(c) => escaped.push(c),
            _ => escaped.push('\u{fffd}'),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_of_markup_is_left() {
        assert_eq!(escape("a_b.c"), "a_b.c");
        assert_eq!(escape("<b a='\"&\0"), "&lt;b a=&#39;&quot;&amp;\u{fffd}");
    }
}

//! Text in lines that fit a terminal. Pure.

/// Breaks lines at blanks so that each is shorter than the window, which not every terminal does at words; what goes on is set in.
pub(super) fn wrapped(text: &str, columns: usize) -> String {
    const INDENT: &str = "  ";
    let mut out = String::with_capacity(text.len() + 16);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let mut used = 0;
        for (at, word) in line.split(' ').enumerate() {
            let length = word.chars().count();
            if at > 0 && used > INDENT.len() && used + 1 + length >= columns {
                out.push('\n');
                out.push_str(INDENT);
                used = INDENT.len();
            } else if at > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_blanks_and_words_stay_whole() {
        assert_eq!(wrapped("one two three", 80), "one two three");
        assert_eq!(wrapped("one two three", 9), "one two\n  three");
        assert_eq!(wrapped("a\n  b", 80), "a\n  b");
        assert_eq!(
            wrapped("the directory /a/very/long/path is gone", 14),
            "the directory\n  /a/very/long/path\n  is gone"
        );
    }
}

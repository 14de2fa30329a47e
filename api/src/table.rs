//! Tables that are written as CSV, and are opened in spreadsheets.
//!
//! A spreadsheet takes a cell that begins with certain characters for a formula, which can run programs
//! and send away what stands beside it. People choose what stands in exports: names, texts, user agents.

/// What a formula may begin with, as OWASP lists it (CSV injection): signs, their full-width forms, and
/// the white space that spreadsheets skip before them.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// A cell that no spreadsheet takes for a formula: an apostrophe is put before what could be one.
pub fn cell(text: String) -> String {
    if text.starts_with(FORMULA) {
        format!("'{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for formula in [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@SUM(1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "＝1",
        ] {
            assert_eq!(cell(formula.to_owned()), format!("'{formula}"));
        }
        for harmless in ["", "curl/8", "a=b", "'=1"] {
            assert_eq!(cell(harmless.to_owned()), harmless);
        }
    }
}

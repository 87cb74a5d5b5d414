//! Cutting a commit that the kernel would not take at once.

use std::fmt::Write as _;

/// How many rules a commit may have in a user namespace, where iptables-nft cannot enlarge its socket's buffer and
/// fails above some 263 of them ("Message too long", measured with 1.8.9).
pub(super) const RULES: usize = 200;

/// The same input with at most `most` rules a commit. The chains are declared in a table's first commit, which
/// flushes them; the rest is appended.
///
/// What was one change becomes several: between them a chain has a part of its rules.
pub(super) fn cut(input: &str, most: usize) -> String {
    let mut output = String::with_capacity(input.len());
    let (mut table, mut rules) = ("", 0);
    for line in input.lines() {
        if line.starts_with('*') {
            (table, rules) = (line, 0);
        } else if line.starts_with('-') {
            if rules == most {
                // Writing to a string cannot fail.
                let _ = write!(output, "COMMIT\n{table}\n");
                rules = 0;
            }
            rules += 1;
        }
        output.push_str(line);
        output.push('\n');
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_declared_once_and_rules_follow_in_order() {
        let input = "*nat\n:A - [0:0]\n-A A 1\n-A A 2\n-A A 3\nCOMMIT\n*filter\n-A B 1\nCOMMIT\n";
        let output = "*nat\n:A - [0:0]\n-A A 1\n-A A 2\nCOMMIT\n*nat\n-A A 3\nCOMMIT\n\
                      *filter\n-A B 1\nCOMMIT\n";
        assert_eq!(cut(input, 2), output);
        assert_eq!(cut(input, 3), input);
    }
}

//! What is left out of lists because it is large.

/// Which of some fields are left out, the longest first, so that the others have so many bytes at most.
pub fn left_out(
    sizes: impl IntoIterator<Item = (usize, &'static str)>,
    most: usize,
) -> Vec<&'static str> {
    let mut kept: Vec<_> = sizes.into_iter().collect();
    kept.sort_unstable();
    let mut bytes: usize = kept.iter().map(|(size, _)| size).sum();
    let mut left_out = Vec::new();
    while bytes > most
        && let Some((size, field)) = kept.pop()
    {
        bytes -= size;
        left_out.push(field);
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_are_left_out_until_the_rest_is_small() {
        let sizes = [(3, "a"), (9, "b"), (5, "c")];
        assert_eq!(left_out(sizes, 17), [""; 0]);
        assert_eq!(left_out(sizes, 16), ["b"]);
        assert_eq!(left_out(sizes, 7), ["b", "c"]);
        assert_eq!(left_out(sizes, 0), ["b", "c", "a"]);
    }
}

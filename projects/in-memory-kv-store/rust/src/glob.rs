//! Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a]` and `\` before any byte.

/// Says whether the whole text fits the pattern. No case folding but when asked for.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    // A mismatch after a star gives the star one byte more. Only the last star can help, so
    // the work is at most pattern times text, whatever a client sends.
    let (mut at, mut position) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            last_star = Some((at, position));
            continue;
        }
        if at == pattern.len() && position == text.len() {
            return true;
        }
        let fits = text.get(position).zip(pattern.get(at));
        let fits = fits.and_then(|(&byte, _)| match_one(&pattern[at..], byte, ignore_case));
        match (fits, last_star) {
            (Some(width), _) => {
                at += width;
                position += 1;
            }
            (None, Some((after_star, tried))) if tried < text.len() => {
                last_star = Some((after_star, tried + 1));
                (at, position) = (after_star, tried + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte with the head of a pattern; answers how long that head is.
fn match_one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |byte: u8| {
        if ignore_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    };
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', ..] => match_class(pattern, byte, fold),
        [b'\\', escaped, ..] => (fold(*escaped) == fold(byte)).then_some(2),
        [plain, ..] => (fold(*plain) == fold(byte)).then_some(1),
        [] => None,
    }
}

/// A class may lack its closing bracket: it then ends with the pattern, as in Redis.
fn match_class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = 1 + usize::from(negated);
    let mut found = false;
    let byte = fold(byte);
    loop {
        match pattern[at.min(pattern.len())..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= fold(escaped) == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (fold(from.min(to)), fold(from.max(to)));
                found |= (from..=to).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= fold(plain) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at.min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b*", "abc", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*d", "aXbXbXc", false),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[abc]x", "bx", true),
            ("[^abc]x", "bx", false),
            ("[a-c]", "b", true),
            ("[c-a]", "b", true),
            ("[a-c", "b", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("h[a-z]llo", "hello", true),
            ("**", "x", true),
            ("*?", "", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes(), false);
            assert_eq!(found, expected, "{pattern} {text}");
        }
        assert!(matches(b"MAX*", b"maxmemory", true));
    }

    #[test]
    fn many_stars_end_soon() {
        assert!(!matches(&b"*a".repeat(1000), &[b'a'; 900], false));
    }
}

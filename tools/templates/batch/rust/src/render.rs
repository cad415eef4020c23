//! The answer: a line for each of the most frequent words.

use std::cmp::Reverse;

use crate::table::Table;

/// Appends the answer.
pub fn render(answer: &mut Vec<u8>, words: &Table, top: usize) {
    for (Reverse(count), word) in most_frequent(words, top) {
        answer.extend_from_slice(word);
        answer.extend_from_slice(format!(" {count}\n").as_bytes());
    }
}

/// Lists the best words in order: by count, the largest first, then by their
/// bytes. It sorts twice as many as are asked for whenever so many have come
/// together, and forgets the worse half: the table may hold millions of words, and
/// nearly all of them are turned away by one look.
fn most_frequent(words: &Table, top: usize) -> Vec<(Reverse<u64>, &[u8])> {
    let mut best = Vec::new();
    let mut least = 1; // what a word must have to be looked at
    for (count, word) in words.entries() {
        if count < least {
            continue;
        }
        best.push((Reverse(count), word));
        if best.len() == 2 * top {
            best.sort_unstable();
            best.truncate(top);
            Reverse(least) = best[top - 1].0;
        }
    }
    best.sort_unstable();
    best.truncate(top);
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::add_text;

    #[test]
    fn the_best_are_found_whatever_their_number() {
        let mut table = Table::new();
        for number in 0..1000 {
            for _ in 0..=number % 10 {
                add_text(&mut table, &format!("w{number:03}")).unwrap();
            }
        }
        let lines: Vec<_> = (1..=10)
            .rev()
            .flat_map(|count| {
                let numbers = (count - 1..1000).step_by(10);
                numbers.map(move |number| format!("w{number:03} {count}\n"))
            })
            .collect();
        for top in [1, 2, 99, 100, 101, 500, 999, 1000, 1001, 1_000_000] {
            let mut answer = Vec::new();
            render(&mut answer, &table, top);
            let wanted = lines[..top.min(lines.len())].concat();
            assert!(answer == wanted.as_bytes(), "top {top}");
        }
    }
}

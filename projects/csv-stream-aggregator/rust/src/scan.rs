//! Finds where fields and records end, 64 bytes at a time, without looking at any field.

/// How much text one set of masks describes: one bit a byte.
pub const CHUNK_BYTES: usize = 64;

/// Where a byte of a chunk is the delimiter, a line feed, a quote, or not ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Masks {
    delimiter: u64,
    line_feed: u64,
    quote: u64,
    high: u64,
}

/// The terminators of all fields of the complete records at the front of some text.
#[derive(Default)]
pub struct RecordIndex {
    /// Offsets of delimiters and line feeds outside quotes.
    pub field_ends: Vec<u32>,
    /// Positions in `field_ends`, one past each record's line feed.
    pub record_ends: Vec<u32>,
    pub has_quote: bool,
    pub has_high: bool,
    /// The scan met quoting that only the exact parser understands, and stopped
    /// in front of that chunk.
    pub irregular: bool,
}

/// What one chunk hands to the next.
struct QuoteState {
    /// All ones when the chunk starts inside a quoted field.
    inside: u64,
    /// 1 when the byte before the chunk was a terminator, or a closing quote.
    after_terminator: u64,
    after_closing: u64,
}

impl RecordIndex {
    /// Indexes `buffer[from..to]`, which must start at a record. Whole chunks are
    /// read: the buffer needs `CHUNK_BYTES` of padding behind `to`.
    pub fn scan(&mut self, buffer: &[u8], from: usize, to: usize, delimiter: u8) {
        self.irregular = false;
        self.has_quote = false;
        self.record_ends.clear();
        // Every byte could be a terminator; a chunk is stored before it is counted.
        if self.field_ends.len() < to - from + CHUNK_BYTES {
            self.field_ends.resize(to - from + CHUNK_BYTES, 0);
        }
        let mut stored = 0;
        let mut high = 0;
        let mut quotes = QuoteState {
            inside: 0,
            after_terminator: 1,
            after_closing: 0,
        };
        for base in (from..to).step_by(CHUNK_BYTES) {
            let Some(chunk) = buffer[base..].first_chunk() else {
                unreachable!("the buffer is padded")
            };
            let mut masks = Masks::of(chunk, delimiter);
            if to - base < CHUNK_BYTES {
                masks = masks.keep(to - base);
            }
            if masks.quote | quotes.inside | quotes.after_closing != 0 {
                self.has_quote = true;
                let Some(outside) = quotes.advance(&masks, &buffer[base..to]) else {
                    self.irregular = true;
                    break;
                };
                masks.delimiter &= outside;
                masks.line_feed &= outside;
            } else {
                quotes.after_terminator = (masks.delimiter | masks.line_feed) >> 63;
            }
            high |= masks.high;
            stored = self.store(&masks, base, stored);
        }
        self.has_high = high != 0;
    }

    /// Appends the terminators of one chunk; `stored` are there already.
    #[inline]
    fn store(&mut self, masks: &Masks, base: usize, stored: usize) -> usize {
        let mut terminators = masks.delimiter | masks.line_feed;
        let mut line_feeds = masks.line_feed;
        while line_feeds != 0 {
            let up_to = line_feeds ^ (line_feeds - 1);
            let count = stored + (terminators & up_to).count_ones() as usize;
            self.record_ends.push(count as u32);
            line_feeds &= line_feeds - 1;
        }
        let count = terminators.count_ones() as usize;
        let base = base as u32;
        // Always in eights: the surplus is overwritten by the next chunk. This
        // saves a hard-to-predict branch for each terminator.
        let out = &mut self.field_ends[stored..stored + CHUNK_BYTES];
        for eight in out.as_chunks_mut::<8>().0 {
            for end in eight {
                *end = base + terminators.trailing_zeros();
                terminators &= terminators.wrapping_sub(1);
            }
            if terminators == 0 {
                break;
            }
        }
        stored + count
    }
}

impl QuoteState {
    /// Computes which bytes of the chunk are outside quotes. That trusts that
    /// quotes come in pairs, and checks what makes it true: each opening quote
    /// stands at the start of a field (or closes and reopens: a doubled quote),
    /// and each closing one is followed by a terminator, a quote, or CR LF.
    fn advance(&mut self, masks: &Masks, text: &[u8]) -> Option<u64> {
        let inside = prefix_xor(masks.quote) ^ self.inside;
        let (opening, closing) = (masks.quote & inside, masks.quote & !inside);
        let terminators = (masks.delimiter | masks.line_feed) & !inside;

        let may_open = terminators << 1 | self.after_terminator | closing << 1 | self.after_closing;
        if opening & !may_open != 0 {
            return None;
        }
        let mut follower = (closing << 1 | self.after_closing) & !(terminators | masks.quote);
        while follower != 0 {
            let at = follower.trailing_zeros() as usize;
            if at >= text.len() {
                break; // the text ends here: no record ends behind it
            }
            if !text[at..].starts_with(b"\r\n") {
                return None;
            }
            follower &= follower - 1;
        }
        self.inside = if inside >> 63 == 1 { u64::MAX } else { 0 };
        self.after_terminator = terminators >> 63;
        self.after_closing = closing >> 63;
        Some(!inside)
    }
}

/// Sets each bit to the parity of the bits up to and with it.
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

impl Masks {
    #[inline]
    fn of(chunk: &[u8; CHUNK_BYTES], delimiter: u8) -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 is there. A build for x86-64-v3 decides this when compiling.
            return unsafe { Self::of_avx2(chunk, delimiter) };
        }
        Self::of_words(chunk, delimiter)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(clippy::cast_ptr_alignment, reason = "the load takes any address")]
    fn of_avx2(chunk: &[u8; CHUNK_BYTES], delimiter: u8) -> Self {
        use std::arch::x86_64::{
            __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
        };
        let [low, high] = chunk.as_chunks::<32>().0 else {
            unreachable!("two halves of 32 bytes")
        };
        let load = |half: &[u8; 32]| {
            // SAFETY: the reference stands for 32 readable bytes; the load needs no alignment.
            unsafe { _mm256_loadu_si256(std::ptr::from_ref(half).cast::<__m256i>()) }
        };
        let (low, high) = (load(low), load(high));
        let join = |low: i32, high: i32| u64::from(low as u32) | u64::from(high as u32) << 32;
        let equal = |byte: u8| {
            let wanted = _mm256_set1_epi8(byte as i8);
            join(
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted)),
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)),
            )
        };
        Self {
            delimiter: equal(delimiter),
            line_feed: equal(b'\n'),
            quote: equal(b'"'),
            high: join(_mm256_movemask_epi8(low), _mm256_movemask_epi8(high)),
        }
    }

    /// The same for other processors: eight bytes at a time inside ordinary words.
    fn of_words(chunk: &[u8; CHUNK_BYTES], delimiter: u8) -> Self {
        let mut found = Self {
            delimiter: 0,
            line_feed: 0,
            quote: 0,
            high: 0,
        };
        for (i, &eight) in chunk.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(eight);
            let at = |bits: u64| gather_bits(bits) << (8 * i);
            found.delimiter |= at(equal_bytes(word, delimiter));
            found.line_feed |= at(equal_bytes(word, b'\n'));
            found.quote |= at(equal_bytes(word, b'"'));
            found.high |= at(word & HIGH_BITS);
        }
        found
    }

    /// Clears everything from the given bit (below 64) on.
    fn keep(self, count: usize) -> Self {
        let valid = (1 << count) - 1;
        Self {
            delimiter: self.delimiter & valid,
            line_feed: self.line_feed & valid,
            quote: self.quote & valid,
            high: self.high & valid,
        }
    }
}

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Sets the high bit of each byte of the word that is equal to the wanted one.
/// The shorter test with a borrow would mark neighbours too; here each must be exact.
fn equal_bytes(word: u64, wanted: u8) -> u64 {
    let different = word ^ (u64::from(wanted) * 0x0101_0101_0101_0101);
    !(((different & !HIGH_BITS) + !HIGH_BITS) | different | !HIGH_BITS)
}

/// Moves the eight high bits of a word into its low byte.
fn gather_bits(word: u64) -> u64 {
    (word >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Outcome, exact_record};

    /// Field ends of each record, by the scan.
    fn scanned(text: &[u8]) -> (Vec<Vec<u32>>, bool) {
        let from = 3; // anywhere
        let padding = [b'"'; CHUNK_BYTES];
        let buffer = [&b"\",\n"[..], text, &padding].concat();
        let mut index = RecordIndex::default();
        index.scan(&buffer, from, from + text.len(), b',');
        let mut first = 0;
        let mut records = Vec::new();
        for &last in &index.record_ends {
            let ends = &index.field_ends[first..last as usize];
            records.push(ends.iter().map(|end| end - from as u32).collect());
            first = last as usize;
        }
        (records, index.irregular)
    }

    /// The same by the exact parser, one record after the other.
    fn exact(text: &[u8]) -> Vec<Vec<u32>> {
        let mut records = Vec::new();
        let (mut at, mut ends) = (0, Vec::new());
        while at < text.len() {
            let (length, outcome) = exact_record(&text[at..], false, b',', &mut ends);
            if outcome != Outcome::WellFormed {
                break;
            }
            let mut record: Vec<u32> = ends.iter().map(|end| end + at as u32).collect();
            at += length;
            // The scan leaves the CR in front of the line feed to its caller.
            if let Some(last) = record.last_mut() {
                *last = at as u32 - 1;
            }
            records.push(record);
        }
        records
    }

    /// A small generator, so that a failure comes back at the next run.
    fn random(state: &mut u64) -> usize {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 33) as usize
    }

    #[test]
    fn the_scan_never_disagrees_with_the_exact_parser() {
        let pieces: [&[u8]; 12] = [
            b",",
            b"\n",
            b"\r\n",
            b"\r",
            b"\"",
            b"\"\"",
            b"\"a,b\"",
            b"\"x\ny\"",
            b"abc",
            b"1.5",
            b"\xc3\xa9",
            b"a long field that fills most of one chunk of sixty-four",
        ];
        let mut state = 1;
        let (mut regular, mut records_seen) = (0, 0);
        for round in 0..20_000 {
            let mut text = Vec::new();
            // Rounds without lone quotes get long; the others break early.
            let choices = if round % 2 == 0 {
                &pieces[..]
            } else {
                &pieces[6..]
            };
            for _ in 0..random(&mut state) % 40 {
                text.extend_from_slice(choices[random(&mut state) % choices.len()]);
                if round % 2 == 1 {
                    text.push(if random(&mut state).is_multiple_of(4) {
                        b'\n'
                    } else {
                        b','
                    });
                }
            }
            let (found, irregular) = scanned(&text);
            let expected = exact(&text);
            assert!(
                expected.starts_with(&found),
                "{:?}",
                text.escape_ascii().to_string()
            );
            if !irregular {
                assert_eq!(found, expected, "{:?}", text.escape_ascii().to_string());
                regular += 1;
            }
            records_seen += found.len();
        }
        assert!(
            regular > 10_000 && records_seen > 50_000,
            "the test must test something"
        );
    }

    #[test]
    fn both_ways_to_compute_masks_agree() {
        let mut state = 2;
        for _ in 0..10_000 {
            let bytes = b",\n\"a\xff\x80,;";
            let chunk: [u8; CHUNK_BYTES] =
                std::array::from_fn(|_| bytes[random(&mut state) % bytes.len()]);
            let masks = Masks::of_words(&chunk, b',');
            assert_eq!(masks, Masks::of(&chunk, b','));
            for (i, byte) in chunk.iter().enumerate() {
                assert_eq!(masks.delimiter >> i & 1 == 1, *byte == b',');
                assert_eq!(masks.line_feed >> i & 1 == 1, *byte == b'\n');
                assert_eq!(masks.quote >> i & 1 == 1, *byte == b'"');
                assert_eq!(masks.high >> i & 1 == 1, *byte >= 0x80);
            }
        }
    }
}

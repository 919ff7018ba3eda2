//! A jsonb object of plain values, written as Postgres stores it: what `jsonb_build_object` gives. Pure.
//!
//! The layout (utils/jsonb.h, unchanged since 9.4): a word with the number of pairs and a mark for objects; a
//! word for each key, in order of length and bytes, then for each value: its type and length, or instead of the
//! length, in every 32nd, where it ends; then keys and values themselves, numbers at multiples of four.

/// A value that can be written here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Number(i64),
    Text(&'a [u8]),
}

const OBJECT: u32 = 0x2000_0000;
const STRING: u32 = 0;
const NUMERIC: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const IS_END: u32 = 0x8000_0000;
const STRIDE: usize = 32;
/// Larger values are left to Postgres, which checks them.
const MOST_BYTES: usize = 0x00FF_FFFF;

/// The keys of objects that are all alike.
pub struct Keys {
    /// Each with its place among the values.
    sorted: Vec<(String, usize)>,
    bytes: usize,
}

impl Keys {
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Keys {
        let mut sorted: Vec<(String, usize)> =
            names.enumerate().map(|(place, name)| (name.to_owned(), place)).collect();
        sorted.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        let bytes = sorted.iter().map(|(name, _)| name.len()).sum();
        Keys { sorted, bytes }
    }

    /// Room that is enough for an object of these values.
    pub fn room(&self, values: &[Value]) -> usize {
        let value =
            |value: &Value| if let Value::Text(text) = value { text.len() } else { 3 + MOST_OF_NUMBER };
        8 + 8 * self.sorted.len() + self.bytes + values.iter().map(value).sum::<usize>()
    }

    /// Writes the object with these values, one for each key, in the order that the keys were given in. Returns
    /// its size; `None` if it is too large. There must be `room`.
    pub fn write(&self, values: &[Value], into: &mut [u8]) -> Option<usize> {
        if self.room(values) > MOST_BYTES {
            return None;
        }
        let count = self.sorted.len();
        let data = 8 + 8 * count;
        let (mut at, mut entry) = (data, 0);
        put(into, 4, &(count as u32 | OBJECT).to_ne_bytes());
        let mut note = |into: &mut [u8], kind: u32, length: usize, end: usize| {
            let length = if entry % STRIDE == 0 { (end - data) as u32 | IS_END } else { length as u32 };
            put(into, 8 + 4 * entry, &(kind | length).to_ne_bytes());
            entry += 1;
        };
        for (name, _) in &self.sorted {
            at = put(into, at, name.as_bytes());
            note(into, STRING, name.len(), at);
        }
        for (_, place) in &self.sorted {
            let from = at;
            let kind = match values[*place] {
                Value::Null => NULL,
                Value::Bool(true) => TRUE,
                Value::Bool(false) => FALSE,
                Value::Text(text) => {
                    at = put(into, at, text);
                    STRING
                }
                Value::Number(number) => {
                    let start = at.next_multiple_of(4);
                    into[at..start].fill(0);
                    let mut digits = [0; MOST_OF_NUMBER];
                    let length = numeric(number, &mut digits);
                    at = put(into, start, &digits[..length]);
                    NUMERIC
                }
            };
            note(into, kind, at - from, at);
        }
        put(into, 0, &stored_length(at).to_ne_bytes());
        Some(at)
    }
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    into[at..at + bytes.len()].copy_from_slice(bytes);
    at + bytes.len()
}

/// The length word of a value of variable length.
fn stored_length(bytes: usize) -> u32 {
    if cfg!(target_endian = "little") { (bytes as u32) << 2 } else { bytes as u32 }
}

/// Bytes of the longest number: length word, header, and five digits to the base of 10,000.
const MOST_OF_NUMBER: usize = 16;

/// A whole number as a numeric; returns its size. (utils/adt/numeric.c: the short form, whose header has the
/// sign and the weight of the first digit. Zeros at the end are not stored.)
fn numeric(number: i64, into: &mut [u8; MOST_OF_NUMBER]) -> usize {
    let mut digits = [0u16; 5];
    let (mut rest, mut count) = (number.unsigned_abs(), 0);
    while rest > 0 {
        digits[count] = (rest % 10_000) as u16;
        (rest, count) = (rest / 10_000, count + 1);
    }
    let zeros = digits[..count].iter().take_while(|digit| **digit == 0).count();
    let sign = if number < 0 { 0x2000 } else { 0 };
    let header = 0x8000 | sign | count.saturating_sub(1) as u16;
    let mut at = put(into, 4, &header.to_ne_bytes());
    for digit in digits[zeros..count].iter().rev() {
        at = put(into, at, &digit.to_ne_bytes());
    }
    put(into, 0, &stored_length(at).to_ne_bytes());
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(names: &[&str], values: &[Value]) -> Vec<u8> {
        let keys = Keys::new(names.iter().copied());
        let mut bytes = vec![0xAA; keys.room(values)];
        let length = keys.write(values, &mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn words(list: &[u32]) -> Vec<u8> {
        list.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn number(value: i64) -> Vec<u8> {
        let mut bytes = [0; MOST_OF_NUMBER];
        let length = numeric(value, &mut bytes);
        bytes[4..length].to_vec()
    }

    #[test]
    fn keys_stand_in_order_of_length_and_bytes() {
        let bytes = written(&["bb", "c", "aa"], &[Value::Text(b"1"), Value::Text(b"22"), Value::Null]);
        let mut expected = words(&[
            stored_length(40),
            OBJECT | 3,
            IS_END | 1, // c ends at 1
            2,          // aa
            2,          // bb
            2,          // 22
            NULL,
            1, // 1
        ]);
        expected.extend(b"caabb221");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn numbers_begin_at_a_multiple_of_four() {
        let bytes = written(&["k"], &[Value::Number(7)]);
        let mut expected = words(&[stored_length(28), OBJECT | 1, IS_END | 1, NUMERIC | 11]);
        expected.extend(b"k\0\0\0");
        expected.extend(stored_length(8).to_ne_bytes());
        expected.extend(0x8000u16.to_ne_bytes());
        expected.extend(7u16.to_ne_bytes());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn every_thirty_second_entry_says_where_it_ends() {
        let names: Vec<String> = (10..50).map(|i| format!("k{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let bytes = written(&names, &[Value::Text(b"ab"); 40]);
        let entry = |i: usize| u32::from_ne_bytes(bytes[8 + 4 * i..12 + 4 * i].try_into().unwrap());
        (0..80).for_each(|i| assert_eq!(entry(i) & IS_END != 0, i % 32 == 0, "entry {i}"));
        assert_eq!((entry(0), entry(1)), (IS_END | 3, 3));
        assert_eq!((entry(31), entry(32)), (3, IS_END | (33 * 3)));
        assert_eq!((entry(63), entry(64)), (2, IS_END | (40 * 3 + 25 * 2)));
    }

    #[test]
    fn numbers_are_digits_to_the_base_of_ten_thousand() {
        let digits = |header: u16, list: &[u16]| -> Vec<u8> {
            std::iter::once(&header).chain(list).flat_map(|word| word.to_ne_bytes()).collect()
        };
        assert_eq!(number(0), digits(0x8000, &[]));
        assert_eq!(number(-1), digits(0xA000, &[1]));
        assert_eq!(number(10_000), digits(0x8001, &[1]));
        assert_eq!(number(120_034), digits(0x8001, &[12, 34]));
        assert_eq!(number(i64::MIN), digits(0xA004, &[922, 3372, 368, 5477, 5808]));
        assert_eq!(number(i64::MAX), digits(0x8004, &[922, 3372, 368, 5477, 5807]));
    }
}

//! Topics and the patterns that match them: words with dots between them. `*` in a pattern stands for one
//! word, `#` for any number of words, none included. Pure; no pattern ever becomes a regular expression.

/// Of a topic or a pattern.
pub const MOST_BYTES: usize = 255;

const ONE_WORD: &str = "*";
const ANY_WORDS: &str = "#";

/// Why a topic or a pattern cannot be.
#[derive(Debug, PartialEq)]
pub struct Malformed(pub &'static str);

/// Is it a topic? Then at least one pattern, itself, matches it.
pub fn check_topic(topic: &str) -> Result<(), Malformed> {
    check_length(topic)?;
    topic.split('.').try_for_each(|word| match word {
        ONE_WORD | ANY_WORDS => Err(Malformed("wildcards are for patterns")),
        word => check_word(word),
    })
}

/// Is it a pattern? Then at least one topic matches it: a wildcard within a word, which no topic's word
/// could equal, is refused, and the shortest topic that matches is no longer than the pattern.
pub fn check_pattern(pattern: &str) -> Result<(), Malformed> {
    check_length(pattern)?;
    pattern.split('.').try_for_each(|word| match word {
        ONE_WORD | ANY_WORDS => Ok(()),
        word if word.contains(['*', '#']) => Err(Malformed("a wildcard must be a word of its own")),
        word => check_word(word),
    })
}

fn check_length(text: &str) -> Result<(), Malformed> {
    if text.len() > MOST_BYTES {
        return Err(Malformed("it must be at most 255 bytes long"));
    }
    Ok(())
}

fn check_word(word: &str) -> Result<(), Malformed> {
    if word.is_empty() {
        return Err(Malformed("it has an empty word"));
    }
    if !word.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return Err(Malformed("its words must consist of letters, digits, _ and -"));
    }
    Ok(())
}

/// Does a pattern match a topic? Both well formed. In steps of at most words times words: only the last `#`
/// ever needs to be tried again.
pub fn matches(pattern: &str, topic: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let topic: Vec<&str> = topic.split('.').collect();
    let (mut p, mut t) = (0, 0);
    // After the last `#`: the place in the pattern, and the word up to which it has swallowed.
    let mut retry: Option<(usize, usize)> = None;
    while t < topic.len() {
        match pattern.get(p) {
            Some(&ANY_WORDS) => {
                p += 1;
                retry = Some((p, t));
            }
            Some(word) if *word == ONE_WORD || *word == topic[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, swallowed)) => {
                    (p, t) = (after, swallowed + 1);
                    retry = Some((after, swallowed + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|word| *word == ANY_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_match_themselves() {
        assert!(matches("orders.created", "orders.created"));
        assert!(!matches("orders.created", "orders.Created"));
        assert!(!matches("orders.created", "orders"));
        assert!(!matches("orders", "orders.created"));
        assert!(!matches("order", "orders"));
    }

    #[test]
    fn a_star_is_one_word() {
        assert!(matches("orders.*", "orders.created"));
        assert!(matches("*.created", "orders.created"));
        assert!(!matches("orders.*", "orders"));
        assert!(!matches("orders.*", "orders.created.eu"));
        assert!(!matches("*", "orders.created"));
        assert!(matches("*.*", "orders.created"));
    }

    #[test]
    fn a_hash_is_any_number_of_words() {
        for topic in ["orders", "orders.created", "orders.created.eu"] {
            assert!(matches("#", topic));
            assert!(matches("orders.#", topic));
            assert!(matches("#.orders.#", topic));
            assert!(matches("#.#", topic));
        }
        assert!(matches("#.eu", "eu"));
        assert!(matches("#.eu", "orders.created.eu"));
        assert!(matches("orders.#.eu", "orders.eu"));
        assert!(!matches("orders.#.eu", "orders.eu.created"));
        assert!(matches("#.a.#.b", "a.x.a.b.y.b"));
        assert!(!matches("#.a.#.b", "a.x.a.b.y"));
        assert!(matches("#.*", "a"));
        assert!(matches("*.#.*", "a.b"));
        assert!(!matches("*.#.*", "a"));
    }

    /// The meaning, spelled out by recursion.
    fn means(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern.split_first(), topic.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => means(rest, topic),
            (Some((&"#", rest)), Some((_, others))) => means(rest, topic) || means(pattern, others),
            (Some((word, rest)), Some((first, others))) => {
                (*word == "*" || word == first) && means(rest, others)
            }
            _ => false,
        }
    }

    fn all_of(words: &[&'static str], most: usize) -> Vec<Vec<&'static str>> {
        let mut all: Vec<Vec<&'static str>> = vec![vec![]];
        let mut last = all.clone();
        for _ in 0..most {
            last = last
                .iter()
                .flat_map(|list| words.iter().map(|word| [list.as_slice(), &[*word]].concat()))
                .collect();
            all.extend(last.clone());
        }
        all.retain(|list| !list.is_empty());
        all
    }

    #[test]
    fn it_is_what_the_words_mean() {
        let topics = all_of(&["a", "b"], 4);
        for pattern in all_of(&["a", "b", "*", "#"], 4) {
            for topic in &topics {
                assert_eq!(
                    matches(&pattern.join("."), &topic.join(".")),
                    means(&pattern, topic),
                    "{pattern:?} {topic:?}"
                );
            }
        }
    }

    #[test]
    fn long_patterns_take_no_time() {
        let pattern = format!("{}b", "#.a.".repeat(60));
        assert!(!matches(&pattern, &["a"; 127].join(".")));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for topic in ["orders", "orders.created", "orders-2.a_b", "Ärger.größe", "1"] {
            assert_eq!(check_topic(topic), Ok(()));
            assert_eq!(check_pattern(topic), Ok(()));
        }
        for both in ["", ".", "a.", ".a", "a..b", "a b", "a.b!", "a\n", "a/b", "%", &"a".repeat(256)] {
            assert!(check_topic(both).is_err(), "{both:?}");
            assert!(check_pattern(both).is_err(), "{both:?}");
        }
        for pattern in ["*", "#", "orders.*", "#.created", "*.#"] {
            assert_eq!(check_pattern(pattern), Ok(()));
            assert_eq!(check_topic(pattern), Err(Malformed("wildcards are for patterns")));
        }
        for pattern in ["orders*", "a.b#", "**", "#*"] {
            assert_eq!(check_pattern(pattern), Err(Malformed("a wildcard must be a word of its own")));
        }
    }
}

//! Lists of database names in settings. Pure.

/// Does a comma-separated list name this one? `*` names all.
pub fn lists(list: &str, name: &str) -> bool {
    list.split(',').map(str::trim).any(|entry| entry == "*" || entry == name)
}

#[cfg(test)]
mod tests {
    use super::lists;

    #[test]
    fn a_list_names_its_entries_and_star_names_all() {
        assert!(lists("*", "shop"));
        assert!(lists("a, shop ,b", "shop"));
        assert!(!lists("a,b", "shop"));
        assert!(!lists("", "shop"));
    }
}

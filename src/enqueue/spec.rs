//! What a trigger enqueues: the options of `attach`, or the arguments of a hand-written trigger. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Columns of the header that an expression may set.
pub const SETTABLE_HEADER: [&str; 9] = [
    "priority",
    "run_at",
    "key",
    "max_attempts",
    "group_key",
    "once",
    "after",
    "after_failure",
    "correlation_id",
];

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Queue column, `payload` or `payload.field` → SQL expression over new and old.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    pub condition: Option<String>,
    pub key: Option<String>,
    pub priority: Option<i32>,
    /// What a job does whose key another waiting job has; none: what the queue says.
    #[serde(default)]
    pub on_conflict: Option<String>,
    /// As an interval in text, which Postgres reads.
    pub delay: Option<String>,
    /// An update counts only if one of these changed.
    #[serde(default)]
    pub columns: Vec<String>,
    #[serde(default)]
    pub ignore_own: bool,
}

/// Why an option cannot be read.
#[derive(Debug, PartialEq)]
pub struct Malformed {
    pub option: String,
    pub reason: String,
}

fn malformed(option: &str, reason: impl Into<String>) -> Malformed {
    Malformed { option: option.into(), reason: reason.into() }
}

impl Spec {
    /// From arguments of the form `option=value`.
    pub fn of_arguments(arguments: &[String]) -> Result<Spec, Malformed> {
        let mut spec = Spec::default();
        for argument in arguments {
            let (option, value) =
                argument.split_once('=').ok_or_else(|| malformed(argument, "expected option=value"))?;
            match option.trim() {
                "set" => {
                    spec.set = serde_json::from_str(value)
                        .map_err(|e| malformed("set", format!("not an object of expressions: {e}")))?;
                }
                "on_conflict" => spec.on_conflict = Some(value.trim().into()),
                "condition" => spec.condition = Some(value.into()),
                "key" => spec.key = Some(value.into()),
                "priority" => {
                    let priority = value.trim().parse().ok().filter(|n| (0..=9).contains(n));
                    spec.priority =
                        Some(priority.ok_or_else(|| malformed("priority", "must be between 0 and 9"))?);
                }
                "delay" => spec.delay = Some(value.into()),
                "columns" => spec.columns = value.split(',').map(|c| c.trim().into()).collect(),
                "ignore_own" => {
                    spec.ignore_own =
                        value.trim().parse().map_err(|_| malformed("ignore_own", "must be true or false"))?;
                }
                other => return Err(malformed(other, "no such option")),
            }
        }
        Ok(spec)
    }

    /// What is said about keys is for jobs that have one.
    pub fn check_key(&self) -> Result<(), Malformed> {
        let has_key = self.key.is_some() || self.set.contains_key("key");
        if let Some(word) = &self.on_conflict {
            if !has_key {
                return Err(malformed("on_conflict", "needs a key"));
            }
            if !["skip", "replace", "debounce", "merge", "error"].contains(&word.as_str()) {
                let reason = format!("must be one of skip, replace, debounce, merge, error, not \"{word}\"");
                return Err(malformed("on_conflict", reason));
            }
        }
        if self.set.contains_key("once") && !has_key {
            return Err(malformed("once", "needs a key"));
        }
        Ok(())
    }
}

/// Reads `insert,update,delete` in any mix and order.
pub fn events(list: &str) -> Result<Vec<&'static str>, Malformed> {
    let mut found = Vec::new();
    for entry in list.split(',') {
        let event = match entry.trim().to_ascii_lowercase().as_str() {
            "insert" => "insert",
            "update" => "update",
            "delete" => "delete",
            other => {
                return Err(malformed(
                    "events",
                    format!("\"{other}\" is not any of insert, update, delete, with commas"),
                ));
            }
        };
        if !found.contains(&event) {
            found.push(event);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn arguments_are_read() {
        let spec = Spec::of_arguments(&arguments(&[
            "set={\"a\": \"new.a\"}",
            "condition=new.a = 1",
            "priority=3",
            "columns=a, b",
            "ignore_own=true",
        ]))
        .unwrap();
        assert_eq!(spec.set["a"], "new.a");
        assert_eq!(spec.condition.as_deref(), Some("new.a = 1"));
        assert_eq!(spec.priority, Some(3));
        assert_eq!(spec.columns, ["a", "b"]);
        assert!(spec.ignore_own);
    }

    #[test]
    fn what_is_said_about_keys_needs_one() {
        let check = |list| Spec::of_arguments(&arguments(list)).unwrap().check_key();
        assert!(check(&["on_conflict=skip", "key=new.id"]).is_ok());
        assert!(check(&["on_conflict=skip", "set={\"key\": \"new.id\"}"]).is_ok());
        assert!(check(&["on_conflict=skip"]).is_err());
        assert!(check(&["on_conflict=none", "key=new.id"]).is_err());
        assert!(check(&["set={\"once\": \"interval '1 day'\"}"]).is_err());
        assert!(check(&[]).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (argument, option) in [
            ("nonsense", "nonsense"),
            ("priority=10", "priority"),
            ("priority=x", "priority"),
            ("set=[1]", "set"),
            ("set={\"a\": 1}", "set"),
            ("ignore_own=maybe", "ignore_own"),
            ("colour=red", "colour"),
        ] {
            assert_eq!(Spec::of_arguments(&arguments(&[argument])).unwrap_err().option, option);
        }
    }

    #[test]
    fn events_are_read_in_any_mix() {
        assert_eq!(events("update, INSERT,update").unwrap(), ["update", "insert"]);
        assert!(events("truncate").is_err());
        assert!(events("").is_err());
    }
}

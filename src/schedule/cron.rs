//! When a schedule runs: cron expressions on the clock of a time zone. Pure; the present time is given.
//!
//! croner knows the calendar. What a change of the clocks means is decided here, by the hour field:
//!
//! - Hours that are named (`30 2 * * *`, `0 9-17 * * *`) are hours on the wall clock. Each named time runs
//!   once: one that the clock leaps over runs at the first instant after the leap, one that comes twice runs
//!   the first time.
//! - With `*` in the hour field (`*/15 * * * *`, `0 */2 * * *`) the schedule goes by elapsed time: it runs
//!   whenever the clock shows a time that fits, in both halves of a repeated hour, and never in the leap.
//!
//! All times are microseconds since 2000-01-01 UTC, as Postgres counts them; ticks are whole seconds.

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

type Micros = i64;

const SECOND: Micros = 1_000_000;
/// 2000-01-01 in seconds since 1970-01-01.
const EPOCH: i64 = 946_684_800;
/// What does not run within so long never runs: 29 February on a given weekday comes within 40 years.
const NEVER_AFTER: Micros = 100 * 366 * 86_400 * SECOND;
/// croner searches up to the year 5000.
const YEARS: std::ops::Range<i32> = 1..4_800;
/// Longer ones are none that anybody wrote.
const MOST_CRON_BYTES: usize = 1_000;
/// A tick that is later than this was missed.
pub const LATE_AFTER: Micros = 60 * SECOND;

/// Why there is no such schedule.
#[derive(Debug, PartialEq)]
pub enum Invalid {
    Cron {
        cron: String,
        cause: String,
    },
    NeverRuns(String),
    TimeZone(String),
    CatchUp(String),
    /// A time outside of the years that can be searched.
    Time,
}

/// What becomes of ticks that nobody fired in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// They are skipped.
    None,
    /// One run stands for all of them.
    One,
    /// Each runs.
    All,
}

impl CatchUp {
    pub fn of(word: &str) -> Result<CatchUp, Invalid> {
        match word {
            "none" => Ok(CatchUp::None),
            "one" => Ok(CatchUp::One),
            "all" => Ok(CatchUp::All),
            _ => Err(Invalid::CatchUp(word.into())),
        }
    }
}

/// What is to be done at a schedule that is due.
#[derive(Debug, PartialEq)]
pub struct Firing {
    /// Jobs to be enqueued; none: the ticks were missed, and are skipped.
    pub jobs: usize,
    /// The last tick that is dealt with by that.
    pub tick: Micros,
    /// The first one after it; `Micros::MAX`: there is none.
    pub next: Micros,
}

pub struct Schedule {
    cron: Cron,
    zone: Tz,
    /// The hours are named.
    by_wall_clock: bool,
}

impl Schedule {
    pub fn new(cron: &str, zone: &str) -> Result<Schedule, Invalid> {
        let zone = time_zone(zone).ok_or_else(|| Invalid::TimeZone(zone.into()))?;
        let invalid = |cause: String| Invalid::Cron { cron: cron.into(), cause };
        if cron.len() > MOST_CRON_BYTES {
            let start: String = cron.chars().take(40).collect();
            let cause = format!("it is longer than {MOST_CRON_BYTES} bytes");
            return Err(Invalid::Cron { cron: start + "…", cause });
        }
        let parsed = parse(cron).map_err(|error| invalid(cause_of(cron, error)))?;
        let fields: Vec<&str> = parsed.as_str().split_whitespace().collect();
        // Seconds, if any, come first.
        let by_wall_clock = !fields[fields.len() - 4].contains('*');
        Ok(Schedule { cron: parsed, zone, by_wall_clock })
    }

    /// The name of the time zone as the time zone database spells it.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// The first tick after a time. `None`: there is none within a hundred years.
    pub fn next(&self, after: Micros) -> Result<Option<Micros>, Invalid> {
        let start = utc(after).ok_or(Invalid::Time)?;
        let start = self.zone.from_utc_datetime(&start);
        let first = self.search(start.naive_local(), false, &start);
        // Where the clock is about to go back, the times before now come once more.
        let again = match self.by_wall_clock {
            false => self.edge_of_repetition(&start).and_then(|edge| {
                let before = edge - TimeDelta::seconds(1);
                self.search(edge.naive_local(), true, &before)
            }),
            true => None,
        };
        let found = first.into_iter().chain(again).min().map(|tick| micros(&tick));
        Ok(found.filter(|tick| tick.saturating_sub(after) <= NEVER_AFTER))
    }

    /// The first instant after `after` at which the wall clock shows a time from `from` on that fits.
    fn search(&self, from: NaiveDateTime, inclusive: bool, after: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let mut shown = self.cron.find_next_occurrence(&from, inclusive).ok()?;
        loop {
            if let Some(tick) = self.instants(shown).into_iter().flatten().find(|tick| tick > after) {
                return Some(tick);
            }
            shown = self.cron.find_next_occurrence(&shown, false).ok()?;
        }
    }

    /// When the schedule runs for a time on the wall clock, in order.
    fn instants(&self, shown: NaiveDateTime) -> [Option<DateTime<Tz>>; 2] {
        match self.zone.from_local_datetime(&shown) {
            LocalResult::Single(instant) => [Some(instant), None],
            LocalResult::Ambiguous(first, _) if self.by_wall_clock => [Some(first), None],
            LocalResult::Ambiguous(first, second) => [Some(first), Some(second)],
            LocalResult::None if self.by_wall_clock => [self.end_of_leap(shown), None],
            LocalResult::None => [None, None],
        }
    }

    /// The first instant after the clock leapt over a time.
    fn end_of_leap(&self, skipped: NaiveDateTime) -> Option<DateTime<Tz>> {
        /// A country that changes sides of the date line leaps over a day.
        const MOST_MINUTES: i64 = 2 * 24 * 60;
        let resolve = |shown: NaiveDateTime| self.zone.from_local_datetime(&shown).earliest();
        let minutes = (1..=MOST_MINUTES).find(|n| resolve(skipped + TimeDelta::minutes(*n)).is_some())?;
        let (mut within, mut after) = ((minutes - 1) * 60, minutes * 60);
        while after - within > 1 {
            let middle = (within + after) / 2;
            match resolve(skipped + TimeDelta::seconds(middle)) {
                Some(_) => after = middle,
                None => within = middle,
            }
        }
        resolve(skipped + TimeDelta::seconds(after))
    }

    /// If this is in the first half of a time that comes twice: the instant at which the clock goes back.
    fn edge_of_repetition(&self, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let LocalResult::Ambiguous(first, second) = self.zone.from_local_datetime(&now.naive_local()) else {
            return None;
        };
        if *now != first {
            return None;
        }
        let offset = |instant: &DateTime<Tz>| instant.offset().fix();
        let (mut before, mut after) = (0, (second - first).num_seconds());
        while after - before > 1 {
            let middle = (before + after) / 2;
            match offset(&(first + TimeDelta::seconds(middle))) == offset(&first) {
                true => before = middle,
                false => after = middle,
            }
        }
        Some(first + TimeDelta::seconds(after))
    }

    /// The next ticks.
    pub fn run(&self, after: Micros, count: usize) -> Result<Vec<Micros>, Invalid> {
        let mut ticks = Vec::new();
        let mut last = after;
        while ticks.len() < count {
            // Beyond the years that can be searched there are none.
            let next = if ticks.is_empty() { self.next(last)? } else { self.next(last).unwrap_or(None) };
            let Some(tick) = next else { break };
            ticks.push(tick);
            last = tick;
        }
        Ok(ticks)
    }

    /// What to do now that tick `first` is due: nothing later than `now` is done, at most `most` ticks are
    /// caught up with, and the next one is after all of these: a clock that is set back repeats none.
    pub fn fire(&self, catch_up: CatchUp, first: Micros, now: Micros, most: usize) -> Firing {
        let next = |after: Micros| self.next(after).ok().flatten().unwrap_or(Micros::MAX);
        let (tick, jobs) = match catch_up {
            CatchUp::All => {
                let mut tick = first;
                let mut jobs = 1;
                while jobs < most && next(tick) <= now {
                    tick = next(tick);
                    jobs += 1;
                }
                (tick, jobs)
            }
            CatchUp::One => (self.last_until(first, now), 1),
            CatchUp::None => {
                let tick = self.last_until(first, now);
                (tick, usize::from(now - tick <= LATE_AFTER))
            }
        };
        Firing { jobs, tick, next: next(tick) }
    }

    /// The last tick up to now, of which there is one. However many there are between, this takes few steps:
    /// whether one is left after a time is true up to the last tick, and false from there on.
    fn last_until(&self, first: Micros, now: Micros) -> Micros {
        let tick_after =
            |seconds: i64| self.next(first + seconds * SECOND).ok().flatten().filter(|tick| *tick <= now);
        let Some(mut last) = tick_after(0) else { return first };
        let (mut before, mut after) = (0, (now - first) / SECOND + 1);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            match tick_after(middle) {
                Some(tick) => (before, last) = (middle, tick),
                None => after = middle,
            }
        }
        last
    }
}

/// By its name, in whatever case.
fn time_zone(name: &str) -> Option<Tz> {
    name.parse().ok().or_else(|| TZ_VARIANTS.into_iter().find(|zone| zone.name().eq_ignore_ascii_case(name)))
}

fn parse(cron: &str) -> Result<Cron, CronError> {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(cron)
}

/// What is wrong, and in which field.
fn cause_of(cron: &str, error: CronError) -> String {
    const NAMES: [&str; 6] = ["second", "minute", "hour", "day of month", "month", "day of week"];
    let fields: Vec<&str> = cron.split_whitespace().collect();
    if let ([word], true) = (&fields[..], cron.contains('@')) {
        return format!("there is no {word}");
    }
    if !(5..=6).contains(&fields.len()) {
        return format!("it has {} fields, not 5 or 6", fields.len());
    }
    for (place, field) in fields.iter().enumerate() {
        let mut alone = vec!["*"; fields.len()];
        alone[place] = field;
        if let Err(error) = parse(&alone.join(" ")) {
            let name = NAMES[NAMES.len() - fields.len() + place];
            return format!("in the {name}, \"{field}\": {}", text_of(error));
        }
    }
    text_of(error)
}

fn text_of(error: CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text,
        other => other.to_string(),
    };
    text.trim_end_matches('.').into()
}

fn utc(time: Micros) -> Option<NaiveDateTime> {
    let seconds = time.div_euclid(SECOND).checked_add(EPOCH)?;
    let time = DateTime::from_timestamp(seconds, 0)?.naive_utc();
    YEARS.contains(&time.year()).then_some(time)
}

fn micros(time: &DateTime<Tz>) -> Micros {
    (time.timestamp() - EPOCH) * SECOND
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;

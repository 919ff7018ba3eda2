//! The jobs of one group, wherever they are, found through the indexes on group_key.

use super::insert::Desc;
use super::ready::{Columns, Row};
use super::relation::Open;
use super::row::text_of_bytes;
use super::scan::{Cursor, Deletion, Fresh, Key, Step};
use super::sweep::{Order, Swept};
use super::time::Micros;
use super::xact;
use super::{Datum, Oid};
use pgrx::pg_sys;

/// A retry is no first attempt.
const SECOND_ATTEMPT: i32 = 2;

/// A partition and its index for groups: (group_key, id) where jobs wait in order, (group_key, attempt)
/// on the scheduled ones, (group_key) else.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    pub table: Oid,
    pub index: Oid,
}

#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub ready: Side,
    pub blocked: Side,
    pub running: Side,
    pub failed: Side,
    pub scheduled: Side,
    pub row_type: Oid,
    pub columns: Columns,
}

/// The tables behind it, open.
pub struct Tables {
    /// In the order of the fields of `Place`, each with its index.
    sides: [(Open, Open); 5],
    row_type: Oid,
    columns: Columns,
    is_plain: bool,
}

/// Tells of changes that are not ours.
const OUR_TRIGGERS: &[&std::ffi::CStr] = &[c"queue_ext_wake"];

impl Tables {
    pub fn open(place: &Place, parent: Oid) -> Tables {
        let waiting =
            [place.ready, place.blocked].map(|side| (Open::table(side.table), Open::index(side.index)));
        let other = [place.running, place.failed, place.scheduled]
            .map(|side| (Open::for_reading(side.table), Open::index(side.index)));
        let ([ready, blocked], [running, failed, scheduled]) = (waiting, other);
        let sides = [ready, blocked, running, failed, scheduled];
        let parent = Open::table(parent);
        let is_plain = !parent.delete_has_side_effects(OUR_TRIGGERS)
            && sides[..2]
                .iter()
                .all(|(table, _)| table.is_plain_heap() && !table.delete_has_side_effects(OUR_TRIGGERS));
        sides[..2].iter().for_each(|(table, _)| table.check_may_delete());
        Tables { sides, row_type: place.row_type, columns: place.columns, is_plain }
    }

    /// Does deleting waiting jobs directly do all that the executor would do?
    pub fn allow_direct_deletion(&self) -> bool {
        self.is_plain
    }
}

/// A group's name.
pub struct Name {
    pub bytes: Vec<u8>,
    text: Datum,
}

impl Name {
    /// Valid in the present memory context.
    pub fn of(bytes: Vec<u8>) -> Name {
        Name { text: text_of_bytes(&bytes), bytes }
    }
}

/// A job of a group that waits its turn.
#[derive(Clone, Copy)]
pub struct Member {
    pub id: i64,
    pub priority: i32,
    /// Else it is ready.
    pub is_blocked: bool,
    place: pg_sys::ItemPointerData,
}

/// An index that is looked into for each group, unless it is known to have nothing at all.
struct Probe<'a> {
    cursor: Cursor<'a>,
    any: Cursor<'a>,
    is_empty: Option<bool>,
}

impl Probe<'_> {
    /// Is there certainly nothing, of whatever group?
    fn is_empty(&mut self) -> bool {
        *self.is_empty.get_or_insert_with(|| {
            let mut entries = FEW;
            self.any.seek(&[Key::TextFrom(text_of_bytes(b""))]);
            matches!(self.any.advance(&mut entries), Step::Over)
        })
    }

    fn has(&mut self, keys: &[Key]) -> bool {
        if self.is_empty() {
            return false;
        }
        self.cursor.seek(keys);
        is_row(&mut self.cursor)
    }
}

/// Entries that the look whether there is anything at all may cost.
const FEW: usize = 20;

fn is_row(cursor: &mut Cursor) -> bool {
    matches!(cursor.advance(&mut usize::MAX.clone()), Step::Row(_))
}

/// Looks at groups, with a snapshot that is renewed when asked.
pub struct Looker<'a> {
    // Before the snapshot: dropped in this order.
    ready: Cursor<'a>,
    blocked: Probe<'a>,
    running: Probe<'a>,
    failed: Probe<'a>,
    scheduled: Probe<'a>,
    snapshot: Fresh,
    desc: Desc,
    columns: Columns,
    /// Transactions that had ended when the snapshot was taken.
    ended: u64,
    /// Jobs that could not be taken because somebody holds them.
    pub held: Vec<i64>,
}

impl<'a> Looker<'a> {
    pub fn of(tables: &'a Tables) -> Looker<'a> {
        let ended = xact::ended();
        let snapshot = Fresh::take();
        let columns = tables.columns;
        let highest = columns.highest();
        let cursor = |side: usize, keys: usize| {
            let (table, index) = &tables.sides[side];
            // SAFETY: the cursors get each new snapshot before the old one is dropped, and are dropped
            // before the last one.
            unsafe { Cursor::of_changing(table, index, &snapshot, keys, highest) }
        };
        let probe = |side: usize, keys: usize| Probe {
            cursor: cursor(side, keys),
            any: cursor(side, 1),
            is_empty: None,
        };
        Looker {
            ready: cursor(0, 2),
            blocked: probe(1, 2),
            running: probe(2, 1),
            failed: probe(3, 1),
            scheduled: probe(4, 2),
            desc: Desc::of(tables.row_type),
            snapshot,
            columns,
            ended,
            held: Vec::new(),
        }
    }

    /// From now on sees all that is committed by now.
    pub fn renew(&mut self) {
        let ended = xact::ended();
        if ended == self.ended {
            return;
        }
        self.ended = ended;
        let snapshot = Fresh::take();
        let mut cursors = vec![&mut self.ready];
        for probe in [&mut self.blocked, &mut self.running, &mut self.failed, &mut self.scheduled] {
            probe.is_empty = None;
            cursors.extend([&mut probe.cursor, &mut probe.any]);
        }
        for cursor in cursors {
            // SAFETY: as in `of`.
            unsafe { cursor.look_through(&snapshot) };
        }
        self.snapshot = snapshot;
    }

    /// Transactions that had ended when it looked last.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Is a job of the group lent to a client?
    pub fn has_leased(&mut self, group: &Name) -> bool {
        self.running.has(&[Key::TextIs(group.text)])
    }

    /// Is there an error row of the group?
    pub fn has_failed(&mut self, group: &Name) -> bool {
        self.failed.has(&[Key::TextIs(group.text)])
    }

    /// Does a job of the group wait for its next attempt?
    pub fn has_retry(&mut self, group: &Name) -> bool {
        self.scheduled.has(&[Key::TextIs(group.text), Key::Int4From(SECOND_ATTEMPT)])
    }

    /// Is no job blocked, of whatever group? No, too, if that takes long to find out.
    pub fn has_none_blocked(&mut self) -> bool {
        self.blocked.is_empty()
    }

    /// The first jobs of the group that are ready, or blocked, from an id on.
    pub fn first(&mut self, group: &Name, is_blocked: bool, from: i64, most: usize) -> Vec<Member> {
        let columns = self.columns;
        let mut members = Vec::new();
        if is_blocked && self.blocked.is_empty() {
            return members;
        }
        let cursor = if is_blocked { &mut self.blocked.cursor } else { &mut self.ready };
        cursor.seek(&[Key::TextIs(group.text), Key::Int8From(from)]);
        let mut entries = usize::MAX;
        while members.len() < most
            && let Step::Row(current) = cursor.advance(&mut entries)
        {
            let number = |column| current.column(column).map_or(0, |value: Datum| value.value());
            members.push(Member {
                id: number(columns.id) as i64,
                priority: i32::from(number(columns.priority) as i16),
                is_blocked,
                place: current.place(),
            });
        }
        members
    }

    /// A column of a job, as text.
    pub fn text_of(&mut self, member: &Member, column: i16) -> Option<String> {
        let cursor = if member.is_blocked { &mut self.blocked.cursor } else { &mut self.ready };
        if !cursor.stand_on(member.place, &self.snapshot) {
            return None;
        }
        // SAFETY: it stands on a row.
        let text = unsafe { cursor.current().text(column) };
        String::from_utf8(text?).ok()
    }

    /// Is any ready job in a group?
    pub fn has_ready_groups(&mut self) -> bool {
        self.ready.seek(&[Key::TextFrom(text_of_bytes(b"")), Key::Int8From(i64::MIN)]);
        is_row(&mut self.ready)
    }

    /// The next group with blocked jobs, in the order of their bytes.
    pub fn next_blocked_group(&mut self, after: Option<&[u8]>) -> Option<Name> {
        let key = match after {
            None => Key::TextFrom(text_of_bytes(b"")),
            Some(after) => Key::TextAfter(text_of_bytes(after)),
        };
        self.blocked.any.seek(&[key]);
        let mut entries = usize::MAX;
        match self.blocked.any.advance(&mut entries) {
            Step::Row(current) => current.text(self.columns.group_key).map(Name::of),
            _ => None,
        }
    }

    /// Takes a job off its partition, as this command.
    pub fn take(&mut self, member: &Member, command: u32) -> Option<Row> {
        let cursor = if member.is_blocked { &mut self.blocked.cursor } else { &mut self.ready };
        if !cursor.stand_on(member.place, &self.snapshot) {
            return None;
        }
        let of = &self.columns;
        let columns = [of.attempt, of.max_attempts, of.run_at];
        let order = Order { command, desc: &self.desc, columns, limit: 1, gone_too: true };
        // SAFETY: it stands on a row.
        let Swept { row, columns: [attempt, max_attempts, run_at], outcome } =
            unsafe { cursor.take_current(&order) };
        if matches!(outcome, Deletion::Busy) {
            self.held.push(member.id);
        }
        row.map(|datum| Row {
            datum,
            id: member.id,
            priority: member.priority,
            attempt: attempt.map_or(0, |value| value.value() as i32),
            max_attempts: max_attempts.map(|value| value.value() as i32),
            run_at: run_at.map(|value| value.value() as Micros),
        })
    }
}

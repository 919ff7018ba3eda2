//! The gate: which jobs of groups a claim takes, and in which order. See the module's header for why it is
//! safe.

use super::closing::is_closed;
use super::released::{self, number_of};
use crate::keys;
use crate::pg::group::{Looker, Member, Name, Tables};
use crate::pg::ready::{Gate, Passage, Row};
use crate::pg::xact;
use crate::queue::Queue;
use crate::queue::statements::Which;
use crate::{claim, limit};
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// Rows that cannot be taken now and are walked past in one claim; beyond that they are to be sorted out.
pub const MOST_PASSED: usize = 256;
/// Jobs of a group that are looked up at once: few at first, more when these are taken.
const FIRST_LOOKED_UP: usize = 2;
const MOST_LOOKED_UP: usize = 512;

struct Group {
    name: Name,
    number: u64,
    /// None of its jobs can be taken, or no more of them.
    is_closed: bool,
    /// They are taken as the scan meets them: that is their order.
    by_scan: bool,
    /// Else: its next jobs, in order.
    next: VecDeque<Member>,
    /// There are no others.
    is_complete: bool,
    /// The one after those waits, perhaps for its key.
    ends_at_blocked: bool,
    /// How many were looked up at once.
    looked_up: usize,
}

pub struct Keeper<'a> {
    queue: &'a Queue,
    tables: &'a OnceCell<Option<Tables>>,
    looker: Option<Looker<'a>>,
    /// Where each group is in `list`, by its number.
    known: HashMap<u64, usize>,
    list: Vec<Group>,
    /// The group met last.
    last: usize,
    /// Priority and id of blocked jobs that are the next of their groups (by place in `list`).
    waiting: BinaryHeap<Reverse<(i32, i64, usize)>>,
    /// Not two of a group: whoever gets them may work on them at the same time.
    one_each: bool,
    /// What a direct claim knows of the ready jobs.
    scan: Option<&'a dyn Scanning>,
    /// Transactions that had ended before the scan took its snapshot.
    ended: u64,
    /// The scan sees all that these did, wherever the floor was.
    shows_all: bool,
    /// The least urgent priority that jobs met so far were known to have.
    least_urgent: Option<usize>,
    passed: usize,
    is_crowded: bool,
}

/// What is known of the ready jobs while they are scanned.
pub trait Scanning {
    /// Will the floor show all that transactions did which have ended by now? To be asked before it is read.
    fn shows_all(&self) -> bool;
    /// Has it been lowered below where the scan began?
    fn was_lowered(&self) -> bool;
    /// May there be jobs that are less urgent?
    fn has_less_urgent(&self, priority: usize) -> bool;
}

/// Are the jobs of a group held back by one of them, for all that this look sees?
pub fn is_held(queue: &Queue, looker: &mut Looker, group: &Name) -> bool {
    looker.has_leased(group)
        || (!queue.options.group_continues && (looker.has_failed(group) || looker.has_retry(group)))
}

/// The tables that looks are made into; `None` if the queue is not stored as it was made.
pub fn open_tables(queue: &Queue) -> Option<Tables> {
    let place = queue.layout.as_ref()?.groups()?;
    Some(Tables::open(&place, queue.oid))
}

impl<'a> Keeper<'a> {
    /// To be called before a scan reads the floor and takes its snapshot.
    pub fn new(
        queue: &'a Queue,
        tables: &'a OnceCell<Option<Tables>>,
        one_each: bool,
        scan: Option<&'a dyn Scanning>,
    ) -> Keeper<'a> {
        // In this order: see `claim::telling`.
        let ended = xact::ended();
        let shows_all = scan.is_some_and(Scanning::shows_all);
        Keeper {
            queue,
            tables,
            looker: None,
            known: HashMap::new(),
            list: Vec::new(),
            last: 0,
            waiting: BinaryHeap::new(),
            one_each,
            scan,
            ended,
            shows_all,
            least_urgent: None,
            passed: 0,
            is_crowded: false,
        }
    }

    /// Did the claim stop before its end because of jobs that cannot run?
    pub fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// May jobs of this group be taken, as far as is known? For a claim that takes none of them. Without a lock
    /// left nothing is known.
    pub fn is_open(&mut self, group: &[u8]) -> bool {
        self.enter(group.to_vec(), None).is_none_or(|place| !self.list[place].is_closed)
    }

    /// The group's place in the list, with its lock and its next jobs if it can be had, for a scan that meets
    /// one of this priority. `None`: this transaction has as many locks as it may.
    fn enter(&mut self, group: Vec<u8>, met: Option<usize>) -> Option<usize> {
        let queue = self.queue;
        let number = number_of(queue.oid, &group);
        if let Some(place) = self.known.get(&number).copied() {
            if self.list[place].name.bytes != group {
                // Two groups with one number, which is one lock: one after the other.
                self.list[place].is_closed = true;
            }
            return Some(place);
        }
        if is_closed(number) {
            self.known.insert(number, self.list.len());
            self.list.push(Group { name: Name::of(group), number, ..Group::default() });
            return Some(self.list.len() - 1);
        }
        if !released::may_lock() {
            return None;
        }
        let mut found = Group { name: Name::of(group), number, ..Group::default() };
        if released::lock(queue.oid, number) {
            let name = &found.name;
            let held = self.look_anew().is_none_or(|looker| {
                is_held(queue, looker, name) && {
                    // Whoever ends that after this look sees that somebody has passed.
                    released::pass(queue.oid);
                    looker.renew();
                    is_held(queue, looker, name)
                }
            });
            if held {
                released::unlock(number);
            } else {
                found.is_closed = false;
                found.by_scan = met.is_some_and(|priority| self.goes_by_scan(priority));
                if !found.by_scan {
                    self.look_up(&mut found, i64::MIN, FIRST_LOOKED_UP);
                }
                if found.is_closed {
                    // Whoever makes its first job ready does so under the lock, and announces it.
                    released::unlock(number);
                }
            }
        }
        self.known.insert(number, self.list.len());
        self.list.push(found);
        Some(self.list.len() - 1)
    }

    /// Are the jobs of each group that is met only now in the order of the scan? So it is if it has met all
    /// more urgent ones already, there are no less urgent and no blocked ones, no transaction has ended since
    /// its snapshot, and nothing that it should see is below where it began. That is so if nobody was just
    /// about to lower the floor for what he had committed; and who lowers it for what he rolled back does so
    /// before he gives the group's lock back, which we have by now.
    fn goes_by_scan(&mut self, priority: usize) -> bool {
        let (Some(scan), Some(looker)) = (self.scan, &mut self.looker) else { return false };
        let misses_some = !self.shows_all || looker.ended() != self.ended || scan.was_lowered();
        if misses_some || !looker.has_none_blocked() {
            return false;
        }
        if self.least_urgent.is_none_or(|known| known < priority) {
            self.least_urgent = (!scan.has_less_urgent(priority)).then_some(priority);
        }
        self.least_urgent.is_some_and(|known| known <= priority)
    }

    /// To be called after a lock was taken: sees all that was committed under it before.
    fn look_anew(&mut self) -> Option<&mut Looker<'a>> {
        match self.looker {
            Some(ref mut looker) => looker.renew(),
            None => {
                let tables = self.tables.get_or_init(|| open_tables(self.queue)).as_ref()?;
                self.looker = Some(Looker::of(tables));
            }
        }
        self.looker.as_mut()
    }

    /// Looks up the group's next jobs, from an id on: ready and blocked ones, by id.
    fn look_up(&mut self, group: &mut Group, from: i64, most: usize) {
        let Some(looker) = &mut self.looker else { return };
        // Not from the floor on: what has become visible is below it until its commit has run its callback,
        // and would be passed by a later one.
        let ready = looker.first(&group.name, false, from, most);
        let blocked = looker.first(&group.name, true, from, most);
        let any_blocked = !blocked.is_empty();
        group.is_complete = ready.len() < most && blocked.len() < most;
        let mut all = ready;
        if any_blocked {
            all.extend(blocked);
            all.sort_unstable_by_key(|member| member.id);
            all.truncate(most);
        }
        if any_blocked
            && limit::by_key(self.queue)
            && let Some(first) = all.iter().position(|member| member.is_blocked)
        {
            all.truncate(first);
            (group.is_complete, group.ends_at_blocked) = (true, true);
        }
        group.next = all.into();
        group.close_if_it_waits();
    }

    /// The next job of an open group whose jobs are looked up.
    fn next_of(&mut self, place: usize) -> Option<Member> {
        if self.list[place].is_closed {
            return None;
        }
        self.list[place].next.front().copied()
    }

    /// Takes that. `None`: it cannot be had, and so no other either.
    fn take_next(&mut self, place: usize, rows: &mut Vec<Row>) -> Option<()> {
        let member = self.next_of(place)?;
        match self.take(&member) {
            Some(row) => rows.push(row),
            None => {
                // Somebody is changing or moving it: whoever does announces the rest.
                self.list[place].is_closed = true;
                return None;
            }
        }
        let group = &mut self.list[place];
        group.next.pop_front();
        if self.one_each {
            group.is_closed = true;
        } else if group.next.is_empty() && !group.is_complete {
            group.looked_up = (group.looked_up * 4).clamp(FIRST_LOOKED_UP, MOST_LOOKED_UP);
            let mut group = std::mem::take(group);
            let most = group.looked_up;
            self.look_up(&mut group, member.id.saturating_add(1), most);
            self.list[place] = group;
        }
        self.list[place].close_if_it_waits();
        Some(())
    }

    fn take(&mut self, member: &Member) -> Option<Row> {
        let plain = self.tables.get().and_then(Option::as_ref).is_some_and(Tables::allow_direct_deletion);
        if plain && !crate::pg::catalog::row_security_applies(self.queue.oid) {
            return self.looker.as_mut()?.take(member, xact::command_to_write());
        }
        let which = if member.is_blocked { Which::BlockedJob } else { Which::ReadyJob };
        claim::take_for_caller(self.queue, which, member.id).map(Row::from)
    }

    fn note_waiting(&mut self, place: usize) {
        let group = &self.list[place];
        if let Some(next) = group.next.front().filter(|next| next.is_blocked && !group.is_closed) {
            self.waiting.push(Reverse((next.priority, next.id, place)));
        }
    }

    /// The claim is over: what is known of its groups is remembered for their end.
    pub fn close(self) {
        keys::want(self.queue.oid, self.looker.iter().flat_map(|looker| looker.held.iter().copied()));
        for group in &self.list {
            let is_settled = match group.next.front() {
                Some(next) => !next.is_blocked,
                None => group.is_complete,
            };
            if !group.is_closed && is_settled {
                released::settle(group.number);
            }
        }
    }
}

impl Group {
    fn close_if_it_waits(&mut self) {
        self.is_closed |= self.ends_at_blocked && self.next.is_empty();
    }
}

impl Default for Group {
    fn default() -> Group {
        Group {
            name: Name::of(Vec::new()),
            number: 0,
            is_closed: true,
            by_scan: false,
            next: VecDeque::new(),
            is_complete: true,
            ends_at_blocked: false,
            looked_up: 0,
        }
    }
}

impl Gate for Keeper<'_> {
    fn meet(
        &mut self,
        group: Vec<u8>,
        priority: usize,
        id: i64,
        rows: &mut Vec<Row>,
        limit: usize,
    ) -> Passage {
        let Some(place) = self.enter(group, Some(priority)) else {
            self.is_crowded = true;
            return Passage::Enough { taken: false };
        };
        self.last = place;
        if self.list[place].by_scan && !self.list[place].is_closed {
            self.list[place].is_closed = self.one_each;
            return Passage::Take;
        }
        let mut taken = false;
        while let Some(next) = self.next_of(place).filter(|next| next.id <= id) {
            if self.take_next(place, rows).is_some() {
                taken = next.id == id;
                if rows.len() >= limit {
                    return Passage::Enough { taken };
                }
            }
        }
        self.note_waiting(place);
        if taken || !self.list[place].is_closed {
            return Passage::Done;
        }
        self.passed += 1;
        if self.passed >= MOST_PASSED {
            self.is_crowded = true;
            return Passage::Enough { taken: false };
        }
        Passage::Stays
    }

    fn lost(&mut self) {
        if let Some(group) = self.list.get_mut(self.last) {
            group.is_closed = true;
        }
    }

    fn bound(&self, priority: usize) -> i64 {
        match self.waiting.peek() {
            Some(Reverse((first, id, _))) if *first == priority as i32 => *id,
            Some(Reverse((first, _, _))) if *first < priority as i32 => i64::MIN,
            _ => i64::MAX,
        }
    }

    fn fill(&mut self, before: (i32, i64), rows: &mut Vec<Row>, limit: usize) -> bool {
        while rows.len() < limit
            && let Some(Reverse((priority, id, place))) = self.waiting.peek().copied()
            && (priority, id) < before
        {
            self.waiting.pop();
            let group = &self.list[place];
            if !group.is_closed && group.next.front().is_some_and(|next| next.id == id) {
                self.take_next(place, rows);
                self.note_waiting(place);
            }
        }
        rows.len() >= limit
    }

    fn is_full(&self) -> bool {
        self.is_crowded
    }
}

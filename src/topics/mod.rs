//! Topics: one publish, a job for each subscribed queue, in the publisher's transaction.
//!
//! The queues are locked, in the order of their oids, as any enqueue locks them, before the first job is
//! written. So a queue that is being dropped is waited for, and passed over if it is gone: a publish goes to
//! the queues that there are. Rights and payload are checked by each queue as if the publisher enqueued
//! there: nobody can write by a topic where he could not write directly, and nobody's publish is lost
//! silently because he may not. That lets who subscribes stop who publishes, and read what is published, so
//! `queue.subscribe` is granted by superusers only.

pub mod attach;
pub mod fire;
pub mod pattern;
pub mod subscriptions;

use crate::enqueue::{Header, Place, circle, payload};
use crate::error::{Error, SqlResult, required};
use crate::pg::cache::{self, Stale};
use crate::pg::entry::Call;
use crate::pg::trigger::Firing;
use crate::pg::{Datum, Oid, array, catalog, spi};
use crate::queue::{self, Queue};
use crate::{raw_function, sql_function};
use pgrx::pg_sys;
use std::rc::Rc;

sql_function!(subscribe);
sql_function!(unsubscribe);
raw_function!(publish, publish_one);
raw_function!(subscriptions_changed, announce_subscriptions);

/// Something that is known of tables may be no longer true.
pub fn forget(stale: &Stale) {
    if !matches!(stale, Stale::Nothing) {
        fire::forget_compiled();
        subscriptions::forget(stale);
    }
}

/// `queue.publish`
fn publish_one(call: &Call) -> SqlResult<Datum> {
    let topic: String = required("topic", call.arg(0))?;
    check_topic(&topic)?;
    let mut header = Header::of_call(call, Place::PUBLISH)?;
    let payload = array::detoasted(required("payload", call.datum(1))?);
    Ok(Datum::from(deliver(&topic, &[payload], &mut header, None)?))
}

pub fn check_topic(topic: &str) -> Result<(), Error> {
    pattern::check_topic(topic).map_err(|pattern::Malformed(reason)| Error::BadTopic {
        what: "topic",
        text: topic.into(),
        reason,
        hint: "For example orders.created.",
    })
}

/// Puts the payloads on every queue subscribed to the topic, and says how many those are. `but`: a queue to
/// leave out.
pub fn deliver(topic: &str, payloads: &[Datum], header: &mut Header, but: Option<Oid>) -> SqlResult<i64> {
    header.more.get_or_insert_default().topic = Some(topic.into());
    let queues = recipients(topic, but)?;
    for queue in &queues {
        payload::insert(queue.oid, payloads, header)?;
    }
    Ok(queues.len() as i64)
}

/// The subscribed queues, locked; the caller may insert into each.
fn recipients(topic: &str, but: Option<Oid>) -> Result<Vec<Rc<Queue>>, Error> {
    let mut open = Vec::new();
    for oid in subscriptions::queues_of(topic).iter().filter(|oid| Some(**oid) != but) {
        catalog::lock_definition(*oid);
        if catalog::relation_name(*oid).is_none() {
            // Dropped since, and its subscriptions with it.
            continue;
        }
        let queue = queue::open(*oid)?;
        queue.require(catalog::INSERT, "INSERT")?;
        open.push(queue);
    }
    Ok(open)
}

fn check_pattern(pattern: &str) -> Result<(), Error> {
    pattern::check_pattern(pattern).map_err(|pattern::Malformed(reason)| Error::BadTopic {
        what: "pattern",
        text: pattern.into(),
        reason,
        hint: "For example orders.*: * is one word, # any number of words.",
    })
}

const TYPES: [Oid; 2] = [pg_sys::TEXTOID, pg_sys::REGCLASSOID];

/// `queue.subscribe`
fn subscribe(topic: Option<&str>, queue: Option<Oid>) -> SqlResult<()> {
    const SUBSCRIBE: &str =
        "INSERT INTO queue.subscriptions (pattern, queue) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let (pattern, queue) = (required("topic", topic)?, required("queue", queue)?);
    check_pattern(pattern)?;
    spi::connect(|| {
        let queue = queue::open_owned(queue)?;
        circle::check_subscription(queue.oid, pattern)?;
        // Locked: it cannot be dropped before its subscription is there to go with it.
        let queue = queue.locked()?;
        let args = [spi::arg(pattern), spi::arg(queue.oid)];
        if queue::as_extension(|| spi::run(SUBSCRIBE, &TYPES, &args)).is_empty() {
            return Err(
                Error::AlreadySubscribed { queue: queue.name.clone(), pattern: pattern.into() }.into()
            );
        }
        Ok(())
    })
}

/// `queue.unsubscribe`
fn unsubscribe(topic: Option<&str>, queue: Option<Oid>) -> SqlResult<()> {
    const UNSUBSCRIBE: &str = "DELETE FROM queue.subscriptions WHERE pattern = $1 AND queue = $2";
    let (pattern, queue) = (required("topic", topic)?, required("queue", queue)?);
    spi::connect(|| {
        let queue = queue::open_owned(queue)?;
        let args = [spi::arg(pattern), spi::arg(queue.oid)];
        if queue::as_extension(|| spi::run(UNSUBSCRIBE, &TYPES, &args)).is_empty() {
            return Err(Error::NotSubscribed { queue: queue.name.clone(), pattern: pattern.into() }.into());
        }
        Ok(())
    })
}

/// `queue.subscriptions_changed`: after each statement on queue.subscriptions, a restored dump included.
fn announce_subscriptions(call: &Call) -> SqlResult<Datum> {
    let firing = Firing::of(call)
        .ok_or_else(|| Error::TriggerUse("queue.subscriptions_changed must be called as a trigger".into()))?;
    cache::announce(firing.table());
    Ok(call.no_row())
}

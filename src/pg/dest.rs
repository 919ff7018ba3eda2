//! A receiver of query results that calls a closure for each row, while the query is still running: none
//! of them is kept in memory.

use super::spi::Arg;
use pgrx::pg_sys;
use pgrx::prelude::*;

#[repr(C)]
struct Receiver<'a> {
    base: pg_sys::DestReceiver,
    row: Vec<Arg>,
    on_row: &'a mut dyn FnMut(&[Arg]),
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    this: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: Postgres hands back the receiver it was given, whose base is the first field of a
    // `Receiver` that outlives the execution; the slot is valid for this call.
    unsafe {
        let receiver = &mut *this.cast::<Receiver>();
        pg_sys::slot_getallattrs(slot);
        let columns = (*slot).tts_nvalid as usize;
        let values = std::slice::from_raw_parts((*slot).tts_values, columns);
        let nulls = std::slice::from_raw_parts((*slot).tts_isnull, columns);
        let row = values.iter().zip(nulls).map(|(value, is_null)| (!is_null).then_some(*value));
        receiver.row.clear();
        receiver.row.extend(row);
        (receiver.on_row)(&receiver.row);
    }
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(
    _this: *mut pg_sys::DestReceiver,
    _operation: i32,
    _desc: pg_sys::TupleDesc,
) {
}

#[pg_guard]
unsafe extern "C-unwind" fn done(_this: *mut pg_sys::DestReceiver) {}

type Receive = unsafe extern "C-unwind" fn(*mut pg_sys::TupleTableSlot, *mut pg_sys::DestReceiver) -> bool;

/// The part that Postgres knows of a receiver.
pub fn receiver(receive: Receive) -> pg_sys::DestReceiver {
    pg_sys::DestReceiver {
        receiveSlot: Some(receive),
        rStartup: Some(startup),
        rShutdown: Some(done),
        rDestroy: Some(done),
        mydest: pg_sys::CommandDest::DestNone,
    }
}

/// Executes a plan, handing the columns of each row to the closure; they are valid during its call.
///
/// # Safety
/// The plan is valid and has as many parameters as there are arguments.
pub unsafe fn execute_into(plan: pg_sys::SPIPlanPtr, args: &[Arg], on_row: &mut dyn FnMut(&[Arg])) {
    let mut receiver = Receiver { base: receiver(receive), row: Vec::new(), on_row };
    // SAFETY: by the contract above the parameter list has as many entries as the plan has parameters;
    // the types are those of the plan, flags as for any constant; the receiver outlives the call.
    unsafe {
        let params = parameters(plan, args);
        let options =
            pg_sys::SPIExecuteOptions { params, dest: (&raw mut receiver).cast(), ..Default::default() };
        let code = pg_sys::SPI_execute_plan_extended(plan, &options);
        if code < 0 {
            pgrx::error!("could not execute a statement: SPI result {code}");
        }
    }
}

/// Arguments as the executor takes them.
///
/// # Safety
/// The plan is valid and has as many parameters as there are arguments.
pub unsafe fn parameters(plan: pg_sys::SPIPlanPtr, args: &[Arg]) -> pg_sys::ParamListInfo {
    if args.is_empty() {
        return std::ptr::null_mut();
    }
    // SAFETY: the list has as many entries as the plan has parameters; the types are those of the plan,
    // flags as for any constant.
    unsafe {
        let params = pg_sys::makeParamList(args.len() as i32);
        let list = (*params).params.as_mut_slice(args.len());
        for (number, (entry, arg)) in list.iter_mut().zip(args).enumerate() {
            entry.value = arg.unwrap_or(pg_sys::Datum::from(0));
            entry.isnull = arg.is_none();
            entry.pflags = pg_sys::PARAM_FLAG_CONST as u16;
            entry.ptype = pg_sys::SPI_getargtypeid(plan, number as i32);
        }
        params
    }
}

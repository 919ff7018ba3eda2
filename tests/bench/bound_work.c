/*
 * What bounds the time from a commit to the start of its job: a process in C that sleeps until the session that commits
 * wakes it, deletes the row that is next in the order of an index, and calls a function with it. No queue, no roles, no
 * other places to look at, nothing looked up by name, and no statement: the function is called directly.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(only_work);
PG_FUNCTION_INFO_V1(wake_at_commit);

typedef struct Work
{
	Oid			database, role, jobs, index, function;
} Work;

static int	to_wake = 0;

static void
at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && to_wake != 0)
		SetLatch(&BackendPidGetProc(to_wake)->procLatch);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		to_wake = 0;
}

/* (pid int) returns int: the process is woken when this transaction has committed */
Datum
wake_at_commit(PG_FUNCTION_ARGS)
{
	static bool is_registered = false;

	if (!is_registered)
		RegisterXactCallback(at_end, NULL);
	is_registered = true;
	to_wake = PG_GETARG_INT32(0);
	PG_RETURN_INT32(to_wake);
}

/* The first job from this id on is run; false if there is none. */
static bool
run(Work *work, FmgrInfo *function, int64 *next)
{
	Relation	jobs, index;
	TupleTableSlot *slot;
	ScanKeyData keys[2];
	IndexScanDesc scan;
	bool		found;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	jobs = table_open(work->jobs, RowExclusiveLock);
	index = index_open(work->index, RowExclusiveLock);
	slot = table_slot_create(jobs, NULL);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(5));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(*next));
	scan = index_beginscan(jobs, index, GetActiveSnapshot(), 2, 0);
	index_rescan(scan, keys, 2, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
	{
		TM_FailureData failure;
		bool		is_null;

		*next = DatumGetInt64(slot_getattr(slot, 1, &is_null)) + 1;
		if (heap_delete(jobs, &slot->tts_tid, GetCurrentCommandId(true), InvalidSnapshot, false, &failure, false) == TM_Ok)
			FunctionCall1(function, heap_copy_tuple_as_datum(((HeapTupleTableSlot *) slot)->tuple, jobs->rd_att));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(jobs, NoLock);
	PopActiveSnapshot();
	CommitTransactionCommand();
	return found;
}

PGDLLEXPORT void
only_work_main(Datum arg)
{
	Work	   *work = (Work *) MyBgworkerEntry->bgw_extra;
	FmgrInfo	function;
	int64		next = 1;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(work->database, work->role, 0);
	StartTransactionCommand();
	fmgr_info_cxt(work->function, &function, TopMemoryContext);
	CommitTransactionCommand();
	for (;;)
	{
		while (run(work, &function, &next))
			CHECK_FOR_INTERRUPTS();
		WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* (jobs regclass, its index regclass, function regprocedure, library text) returns int: the pid of a process at work */
Datum
only_work(PG_FUNCTION_ARGS)
{
	Work	   *work;
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	work = (Work *) worker.bgw_extra;
	work->database = MyDatabaseId;
	work->role = GetUserId();
	work->jobs = PG_GETARG_OID(0);
	work->index = PG_GETARG_OID(1);
	work->function = PG_GETARG_OID(2);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_name, "only_work", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "only_work", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "only_work_main", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, text_to_cstring(PG_GETARG_TEXT_PP(3)), sizeof(worker.bgw_library_name));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle) || WaitForBackgroundWorkerStartup(handle, &pid) != BGWH_STARTED)
		elog(ERROR, "the process does not start");
	PG_RETURN_INT32(pid);
}

/*
 * When this session's last transaction committed, which no SQL tells: the moment from which others see what it did,
 * after the flush, and before the client hears of it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(committed_before);

static TimestampTz committed = 0;

static void
at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		committed = GetCurrentTimestamp();
}

/* Of the transaction before this one; null in the first that asks. */
Datum
committed_before(PG_FUNCTION_ARGS)
{
	static bool is_registered = false;

	if (!is_registered)
		RegisterXactCallback(at_end, NULL);
	is_registered = true;
	if (committed == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(committed);
}

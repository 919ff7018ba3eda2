/*
 * hold_commits(file): from now on each commit of this session that wrote something waits, once it is visible to
 * others and before callbacks that were registered earlier are called, until the file is gone.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(hold_commits);

static char *file;

static void
at_end(XactEvent event, void *arg)
{
	/* Not for ever: the test may have ended without removing it. */
	for (int i = 0; event == XACT_EVENT_COMMIT && i < 6000 && access(file, F_OK) == 0; i++)
		usleep(10000);
}

Datum
hold_commits(PG_FUNCTION_ARGS)
{
	file = MemoryContextStrdup(TopMemoryContext, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	RegisterXactCallback(at_end, NULL);
	PG_RETURN_VOID();
}

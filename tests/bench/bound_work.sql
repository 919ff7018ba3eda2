-- A process that is woken by a commit, deletes the next row and calls a function with it (bound_work.c).
CREATE FUNCTION wake_at_commit(pid int) RETURNS int LANGUAGE c AS :'library', 'wake_at_commit';
CREATE FUNCTION only_work(jobs regclass, index regclass, function regprocedure, library text DEFAULT :'library') RETURNS int
    LANGUAGE c AS :'library', 'only_work';

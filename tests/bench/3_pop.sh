# Four clients take jobs for good. Both queues are new, so that no index has a dead entry but those of the measurement.
pop_100_hand() { times 100 "$(full_and_bench hand 200000 4 "$(pop_by_hand 100)" 450)"; }
pop_100_ours() { times 100 "$(full_and_bench mail 200000 4 "SELECT * FROM queue.pop('mail', 100);" 450)"; }
pop_100_typed() { times 100 "$(full_and_bench mail 200000 4 "SELECT * FROM queue.pop_as(NULL::mail, 100);" 450)"; }
pop_1_hand() { full_and_bench hand 50000 4 "$(pop_by_hand 1)" 4000; }
pop_1_ours() { full_and_bench mail 50000 4 "SELECT * FROM queue.pop('mail', 1);" 4000; }

# What bounds them: the same rows from a table of a hundred, and a commit that writes; the same rows deleted in the order
# of the index by C that does nothing else, each call a hundred of its own; and rows deleted by their place.
make_library bound
given() { echo "WITH mark AS (INSERT INTO marks VALUES (1)) SELECT * FROM $1 LIMIT $2;"; }
pop_100_given() { times 100 "$(bench 4 "$(given jobs_given 100)" --transactions=1000)"; }
pop_100_rows_given() { times 100 "$(bench 4 "$(given rows_given 100)" --transactions=1000)"; }
pop_100_by_place() {
    sql -c 'CALL fill_pile(200000)' -c 'VACUUM ANALYZE pile, hundreds'
    times 100 "$(bench 4 "DELETE FROM pile WHERE ctid = ANY ((SELECT places FROM hundreds WHERE n = (SELECT nextval('turn')))::tid[])
        RETURNING *;" --transactions=450)"
}
pop_100_taken() {
    sql -c "CALL fill('mail', 200000)" -c 'VACUUM ANALYZE mail' -c 'CALL take_from_first()'
    times 100 "$(bench 4 "SELECT * FROM only_take('mail_ready', $next_hundred, 100);" --transactions=450)"
}
pop_1_given() { bench 4 "$(given jobs_given 1)" --transactions=4000; }

in_turn pop_100_hand pop_100_ours pop_100_given pop_100_typed pop_100_taken pop_100_by_place pop_100_rows_given
row "pop, 100 at a time, clients: 4, jobs" pop_100_hand pop_100_ours 3
row "— bound: such rows and a commit, without any queue" pop_100_hand pop_100_given
row "pop_as, 100 at a time, clients: 4, jobs" pop_100_hand pop_100_typed 3
row "— bound: such rows and a commit, without any queue" pop_100_hand pop_100_rows_given
row "— bound: C that only deletes and returns such rows, in the order of the index" pop_100_hand pop_100_taken
row "— to compare: such rows deleted by their place, in SQL" pop_100_hand pop_100_by_place
in_turn pop_1_hand pop_1_ours pop_1_given
row "pop, 1 at a time, clients: 4, jobs" pop_1_hand pop_1_ours 1.15
row "— bound: such a row and a commit, without any queue" pop_1_hand pop_1_given

# Four clients take jobs for good. Both queues are new, so that no index has a dead entry but those of the measurement.
pop_100_hand() { times 100 "$(full_and_bench hand 200000 4 "$(pop_by_hand 100)" 450)"; }
pop_100_ours() { times 100 "$(full_and_bench mail 200000 4 "SELECT * FROM queue.pop('mail', 100);" 450)"; }
pop_100_typed() { times 100 "$(full_and_bench mail 200000 4 "SELECT * FROM queue.pop_as(NULL::mail, 100);" 450)"; }
pop_1_hand() { full_and_bench hand 50000 4 "$(pop_by_hand 1)" 4000; }
pop_1_ours() { full_and_bench mail 50000 4 "SELECT * FROM queue.pop('mail', 1);" 4000; }

in_turn pop_100_hand pop_100_ours pop_100_typed
row "pop, 100 at a time, clients: 4, jobs" pop_100_hand pop_100_ours 3
row "pop_as, 100 at a time, clients: 4, jobs" pop_100_hand pop_100_typed 3
compare "pop, 1 at a time, clients: 4, jobs" pop_1_hand pop_1_ours 1.15

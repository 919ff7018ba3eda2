# How long one caller waits for an answer, on an idle queue: CALL queue.call to the end. By hand: the same session
# puts the job and takes it off again, in two transactions, without anybody to hand it to.
sql -c "SELECT queue.create_queue('echo')" \
    -c "CREATE FUNCTION answer(job echo) RETURNS jsonb LANGUAGE sql AS 'SELECT job.payload'" \
    -c "SELECT queue.register_processor('echo', 'answer(echo)')" \
    -c "CALL queue.call('echo')" >/dev/null

calls=200
mean_ms() { awk -v tps="$(bench 1 "$1" --transactions="$calls")" 'BEGIN { print 1000 / tps }'; }
by_itself() { mean_ms "$(insert_into hand) $(pop_by_hand 1)"; }
called() { mean_ms "CALL queue.call('echo', '{\"n\": 1}');"; }

in_turn by_itself called
by_itself=() called=()
for ((round = 0; round < rounds; round++)); do
    by_itself[round]=${rates[by_itself,$round]}
    called[round]=${rates[called,$round]}
done
time_row "call to answer, mean" "$(median "${by_itself[@]}")" "$(median "${called[@]}")"

# What the first statement of a session takes, in which it learns of the tables that it uses.
make_orders
rounds=21

# first_ms SQL: after a connection is there.
first_ms() { psql --no-psqlrc -XAt -v ON_ERROR_STOP=1 -c 'SELECT 1' -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'; }
first_hand() { first_ms "$(insert_into hand)"; }
first_ours() { first_ms "$(insert_into mail)"; }
first_pop_hand() { first_ms "$(pop_by_hand 1)"; }
first_pop_ours() { first_ms "SELECT * FROM queue.pop('mail', 1)"; }
first_trigger_hand() { first_ms "$(insert_one orders_hand)"; }
first_attached() { first_ms "$(insert_one orders_attached)"; }

# first_row LABEL BY_HAND WITH_QUEUE_EXT: the medians.
first_row() {
    local by_hand=() ours=() round
    for ((round = 0; round < rounds; round++)); do
        by_hand[round]=${rates[$2,$round]}
        ours[round]=${rates[$3,$round]}
    done
    time_row "$1" "$(median "${by_hand[@]}")" "$(median "${ours[@]}")"
}

sql -c "CALL fill('hand', 1000)" -c "CALL fill('mail', 1000)" -c 'VACUUM ANALYZE hand, mail'
in_turn first_hand first_ours first_pop_hand first_pop_ours first_trigger_hand first_attached
first_row 'first INSERT of a session' first_hand first_ours
first_row 'first pop of a session' first_pop_hand first_pop_ours
first_row 'first INSERT of a session: trigger by hand, attached' first_trigger_hand first_attached
rounds=5

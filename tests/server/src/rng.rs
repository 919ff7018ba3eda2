//! One seed decides everything that is decided at random: each session has a generator of its own, made from
//! the seed and the session's number. (splitmix64: a few lines, and more than random enough.)

pub struct Rng(u64);

impl Rng {
    pub fn of(seed: u64, session: u64) -> Rng {
        let mut rng = Rng(seed ^ session.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        least + (self.next() % (most - least + 1) as u64) as i64
    }

    pub fn percent(&mut self, chance: i64) -> bool {
        self.between(1, 100) <= chance
    }

    /// Picks by weight.
    pub fn weighted<T: Copy>(&mut self, list: &[(i64, T)]) -> T {
        let mut at = self.between(1, list.iter().map(|(weight, _)| weight).sum());
        for (weight, what) in list {
            at -= weight;
            if at <= 0 {
                return *what;
            }
        }
        unreachable!("the weights add up")
    }
}

//! Records of tokens for benches: rows of length one, alike as those of late-interaction models of text are.
//!
//! A record has a few of the topics that all share, and a topic its own words. Each row is the vector of a word, drawn
//! with the skew of natural language (Zipf, 1935), moved by what its record has in common, by its neighbours, and by
//! noise of its own. Everything follows from the seed.

use otolith::Matrix;
use otolith::random::unit;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Words, topics, words of a topic, topics of a record.
const WORDS: usize = 4_000;
const TOPICS: usize = 200;
const WORDS_OF_TOPIC: usize = 80;
const TOPICS_OF_RECORD: usize = 2;
/// The share of rows whose word is of no topic.
const COMMON: f64 = 0.3;
/// How long, beside a word of length one, are what a record's rows have in common, what neighbours do, and noise.
const OF_RECORD: f32 = 0.25;
const OF_NEIGHBOURS: f32 = 0.6;
const OWN: f32 = 0.8;

/// Draws records, one after the other.
pub(crate) struct Tokens {
    draws: ChaCha8Rng,
    words: Vec<Vec<f32>>,
    topics: Vec<Vec<usize>>,
    dim: usize,
}

impl Tokens {
    pub(crate) fn new(seed: u64, dim: usize) -> Tokens {
        let mut tokens = Tokens { draws: ChaCha8Rng::seed_from_u64(seed), words: Vec::new(), topics: Vec::new(), dim };
        tokens.words = (0..WORDS).map(|_| tokens.gaussian(1.0)).collect();
        tokens.topics = (0..TOPICS).map(|_| (0..WORDS_OF_TOPIC).map(|_| tokens.below(WORDS)).collect()).collect();
        tokens
    }

    /// Draws a record of so many rows.
    pub(crate) fn record(&mut self, rows: usize) -> Matrix {
        let topics: [usize; TOPICS_OF_RECORD] = std::array::from_fn(|_| self.below(TOPICS));
        let own = self.gaussian(OF_RECORD);
        let mut near = self.gaussian(OF_NEIGHBOURS);
        let mut values = Vec::with_capacity(rows * self.dim);
        for _ in 0..rows {
            let word = if unit(&mut self.draws) < COMMON {
                self.zipf(WORDS)
            } else {
                let topic = topics[self.below(TOPICS_OF_RECORD)];
                let word = self.zipf(WORDS_OF_TOPIC);
                self.topics[topic][word]
            };
            // A walk that keeps its length: seven tenths of it stay.
            let step = self.gaussian(OF_NEIGHBOURS);
            near.iter_mut().zip(step).for_each(|(near, step)| *near = 0.7 * *near + 0.714 * step);
            let noise = self.gaussian(OWN);
            let mut row: Vec<f32> = (0..self.dim).map(|k| self.words[word][k] + own[k] + near[k] + noise[k]).collect();
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row.iter_mut().for_each(|value| *value /= length);
            values.extend(row);
        }
        Matrix::from_rows(rows, self.dim, values).unwrap()
    }

    /// A vector of independent normal numbers, of about this length.
    pub(crate) fn gaussian(&mut self, length: f32) -> Vec<f32> {
        let scale = f64::from(length) / (self.dim as f64).sqrt();
        // Box and Muller, "A note on the generation of random normal deviates", 1958.
        let normal = |draws: &mut ChaCha8Rng| {
            (-2.0 * (1.0 - unit(draws)).ln()).sqrt() * (std::f64::consts::TAU * unit(draws)).cos()
        };
        (0..self.dim).map(|_| (scale * normal(&mut self.draws)) as f32).collect()
    }

    fn below(&mut self, count: usize) -> usize {
        (unit(&mut self.draws) * count as f64) as usize
    }

    /// A number below `count`, each about as likely as one over its place: the inverse of the integral of 1 / x.
    fn zipf(&mut self, count: usize) -> usize {
        ((count as f64 + 1.0).powf(unit(&mut self.draws)) - 1.0) as usize
    }
}
